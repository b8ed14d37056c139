//! Why a command did not do what was asked, in words for people and with a code for scripts.

use crate::exit::Exit;
use std::io;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// An end that is not the wished one.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, why, and what to do next.
    pub text: String,
}

impl Failure {
    /// With this code and text.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// Something that was typed or written is faulty.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// With a line more.
    pub(crate) fn and(mut self, line: &str) -> Self {
        self.text = format!("{}\n  {line}", self.text);
        self
    }

    /// An answer without what it must have: a server of another kind or age.
    pub(crate) fn odd(what: &str) -> Self {
        Self::new(
            Exit::Unavailable,
            format!("the server's answer has no {what}: is it a brain server of this version?"),
        )
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Closed, ""),
            _ => Self::usage(format!("cannot write: {error}")),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::new(exit_of(&status), text_of(&status))
    }
}

fn exit_of(status: &Status) -> Exit {
    match status.code() {
        Code::Ok => Exit::Done,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::Aborted
        | Code::PermissionDenied
        | Code::Unauthenticated => Exit::Refused,
        // Tonic tells a deadline that passed here as CANCELLED, and a connection that broke as UNKNOWN.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::Unknown
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Exit::Unavailable,
    }
}

fn text_of(status: &Status) -> String {
    let details = status.get_error_details();
    let mut lines = Vec::new();
    match details.bad_request() {
        Some(request) if !request.field_violations.is_empty() => {
            let faults = request.field_violations.len();
            lines.push(format!("the request has {}:", if faults == 1 { "a fault" } else { "faults" }));
            let fault = |fault: &tonic_types::FieldViolation| format!("  {} {}", fault.field, fault.description);
            lines.extend(request.field_violations.iter().map(fault));
        }
        _ => lines.push(message(status)),
    }
    if let Some(failure) = details.precondition_failure() {
        let violations = failure.violations.iter().filter(|violation| violation.description != status.message());
        lines.extend(violations.map(|violation| format!("  {}: {}", violation.subject, violation.description)));
    }
    if let Some(info) = details.error_info() {
        let reason = &info.reason;
        if reason != "INVALID_REQUEST" {
            lines.push(format!("  reason: {reason}"));
        }
    }
    if let Some(hint) = hint(&details) {
        lines.push(format!("  next: {hint}"));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        lines.push(format!("  try again in {} s", delay.as_secs().max(1)));
    }
    lines.join("\n")
}

fn message(status: &Status) -> String {
    match (status.code(), status.message()) {
        (Code::Cancelled | Code::DeadlineExceeded, _) => "the server did not answer in time".to_owned(),
        (Code::Unimplemented, _) => "the server does not know this call: it is older than this command".to_owned(),
        (code, "") => format!("{code}"),
        (_, message) => message.to_owned(),
    }
}

fn hint(details: &ErrorDetails) -> Option<String> {
    let info = details.error_info()?;
    frees(&info.reason, info.metadata.get("subject").map_or("", String::as_str))
}

/// The command that frees what stands in the way for that reason, where there is one.
pub(crate) fn frees(reason: &str, subject: &str) -> Option<String> {
    let project = subject.strip_prefix("projects/").and_then(|rest| rest.split('/').next()).unwrap_or("PROJECT");
    Some(match reason {
        "PROJECT_PINNED" => format!("brain unpin {project}"),
        "PROJECT_FROZEN" => format!("brain thaw {project}"),
        "VERSION_QUARANTINED" => {
            format!(
                "brain lift {project} {}",
                subject.split_once("/releases/").map_or("VERSION", |(_, version)| version)
            )
        }
        "LINE_STOPPED" => "brain line get".to_owned(),
        "OUTSIDE_DEPLOY_WINDOWS" => "brain deploy … --outside-windows WHY".to_owned(),
        "DEPLOYMENT_IN_PROGRESS" => format!("brain status {project} --watch"),
        "IMAGE_NOT_AVAILABLE" => format!("brain releases {project}"),
        "NO_WATCHER" | "HEAD_UNKNOWN" => "brain agents list".to_owned(),
        _ => return None,
    })
}

/// Whether a watch that ended so may be opened again.
pub(crate) fn is_passing(status: &Status) -> bool {
    let passing = [Code::Unavailable, Code::Aborted, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded];
    passing.contains(&status.code()) || status.code() == Code::Internal
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::project::Violation;
    use brain_proto::error;
    use std::time::Duration;

    #[test]
    fn every_fault_of_a_request_is_on_a_line_of_its_own() {
        let violation = |field: &str| Violation { field: field.to_owned(), description: "is required".to_owned() };
        let failure = Failure::from(error::invalid(vec![violation("project.name"), violation("project.target")]));
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.text, "the request has faults:\n  project.name is required\n  project.target is required");
    }

    #[test]
    fn what_is_refused_tells_the_reason_once_and_the_command_that_frees_it() {
        let refused = error::precondition("PROJECT_PINNED", "projects/user", "projects/user is pinned to 0.0.4");
        let failure = Failure::from(refused);
        assert_eq!(failure.exit, Exit::Refused);
        let expected = "projects/user is pinned to 0.0.4\n  reason: PROJECT_PINNED\n  next: brain unpin user";
        assert_eq!(failure.text, expected);
    }

    #[test]
    fn a_server_that_will_be_back_says_when() {
        let failure = Failure::from(error::unavailable("SHUTTING_DOWN", "shutting down", Duration::from_secs(2)));
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.text.ends_with("try again in 2 s"), "{}", failure.text);
    }
}

//! How changes of definitions are refused.

use super::super::{RETRY_AFTER, command_status, shutting_down};
use crate::{directory::DefinitionError, project::CommandError};
use brain_core::state::DefinitionRefusal;
use brain_proto::error;
use tonic::{Code, Status};

/// Who is named in the log.
pub(super) fn by(requested_by: String) -> String {
    if requested_by.is_empty() { super::CALLER.to_owned() } else { requested_by }
}

pub(super) fn status(id: &str, failure: DefinitionError) -> Status {
    let project = format!("projects/{id}");
    let message = format!("{project}: {failure}");
    match failure {
        DefinitionError::Invalid(violations)
        | DefinitionError::Refused(CommandError::Definition(DefinitionRefusal::Fixed(violations))) => {
            error::invalid(violations)
        }
        DefinitionError::Exists(_) => {
            let message = format!("{project} exists with another definition: UpdateProject changes it");
            error::already_exists(&project, &message)
        }
        DefinitionError::Missing(_) | DefinitionError::Refused(CommandError::Deleted) => error::not_found(&project),
        DefinitionError::Stale(_) => error::plain(Code::Aborted, "ETAG_MISMATCH", format!("{message}; read it again")),
        DefinitionError::Needed { .. } => {
            error::precondition("PROJECT_NEEDED", &project, format!("{message}: change their depends_on first"))
        }
        DefinitionError::Refused(CommandError::Definition(DefinitionRefusal::InProgress { number, .. })) => {
            let first = format!("{project}/deployments/{number}");
            error::precondition("DEPLOYMENT_IN_PROGRESS", &first, message)
        }
        DefinitionError::Refused(CommandError::Definition(DefinitionRefusal::Running(_))) => {
            error::precondition("PROJECT_RUNNING", &project, message)
        }
        DefinitionError::Refused(other) => command_status(other),
        DefinitionError::Store(failure) => error::unavailable("STORE_UNAVAILABLE", failure.to_string(), RETRY_AFTER),
        DefinitionError::ShuttingDown => shutting_down(),
    }
}

//! What must not be deployed: pins, quarantines, freezes, and approvals that are required.

use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    name::{project, project_id, short},
    output::time,
    policy,
    session::Session,
};
use brain_proto::{
    name,
    v1::{
        FreezeProjectRequest, LiftQuarantineRequest, PinProjectRequest, Project, QuarantineReleaseRequest,
        SetRequiredApprovalsRequest, ThawProjectRequest, UnpinProjectRequest,
    },
};
use clap::Args;

pub(super) mod held;

/// Keep a project on one version: no other is deployed, by people or by policy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain pin user                                   on what serves
  brain pin user 0.0.4 --reason '0.0.5 leaks'")]
pub(crate) struct Pin {
    /// Project
    project: String,
    /// Version or tag [default: the one that serves]
    version: Option<String>,
    /// Why, for the board and the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Pin {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (name, version) = (project(&self.project)?, self.version.unwrap_or_default());
        let request = PinProjectRequest { name, version, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.projects().pin_project(ask(request)).await?.into_inner();
        changed(session, "PinProjectResponse", &answer, answer.project.as_ref())
    }
}

/// Lift a project's pin
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain unpin user")]
pub(crate) struct Unpin {
    /// Project
    project: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Unpin {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = project(&self.project)?;
        let request = UnpinProjectRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.projects().unpin_project(ask(request)).await?.into_inner();
        changed(session, "UnpinProjectResponse", &answer, answer.project.as_ref())
    }
}

/// Keep the image that a release has now from being deployed
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain quarantine user 0.0.5 --reason 'loses orders'")]
pub(crate) struct Quarantine {
    /// Project
    project: String,
    /// Tag of the release
    version: String,
    /// Why, for the board and the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Quarantine {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = name::release(&project_id(&self.project)?, &self.version);
        let request = QuarantineReleaseRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.projects().quarantine_release(ask(request)).await?.into_inner();
        changed(session, "QuarantineReleaseResponse", &answer, answer.project.as_ref())
    }
}

/// Lift the quarantine of a release, also one that a failed deployment has set
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain lift user 0.0.5")]
pub(crate) struct Lift {
    /// Project
    project: String,
    /// Tag of the release
    version: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Lift {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = name::release(&project_id(&self.project)?, &self.version);
        let request = LiftQuarantineRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.projects().lift_quarantine(ask(request)).await?.into_inner();
        changed(session, "LiftQuarantineResponse", &answer, answer.project.as_ref())
    }
}

/// Let nothing new be deployed in a project, until it is thawed or a time comes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain freeze user --reason holidays
  brain freeze user --for 12h
  brain freeze user --until 2030-01-02T08:00:00Z

Going back stays allowed, and a deployment under way goes on.")]
pub(crate) struct Freeze {
    /// Project
    project: String,
    /// When it ends by itself
    #[arg(long, value_name = "TIME", conflicts_with = "span")]
    until: Option<jiff::Timestamp>,
    /// After how long it ends by itself: 90s, 30m, 12h, 3d
    #[arg(long = "for", value_name = "LENGTH", value_parser = length)]
    span: Option<i64>,
    /// Why, for the board and the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

fn length(text: &str) -> Result<i64, String> {
    policy::seconds(text).ok_or_else(|| "write it as 90s, 30m, 12h or 3d".to_owned())
}

impl Freeze {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self { project: typed, until, span, reason } = self;
        let seconds =
            until.map(|time| time.as_second()).or(span.map(|span| time::now().as_second().saturating_add(span)));
        let end_time = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let (name, requested_by) = (project(&typed)?, session.who.clone());
        let request = FreezeProjectRequest { name, end_time, requested_by, reason };
        let answer = session.client.projects().freeze_project(ask(request)).await?.into_inner();
        changed(session, "FreezeProjectResponse", &answer, answer.project.as_ref())
    }
}

/// End a project's freeze
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain thaw user")]
pub(crate) struct Thaw {
    /// Project
    project: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Thaw {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = project(&self.project)?;
        let request = ThawProjectRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.projects().thaw_project(ask(request)).await?.into_inner();
        changed(session, "ThawProjectResponse", &answer, answer.project.as_ref())
    }
}

/// Set how many other people have to approve each new deployment of a project
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain approvals user 1      then `brain approve user`
  brain approvals user 0      none is needed")]
pub(crate) struct Approvals {
    /// Project
    project: String,
    /// People other than the one who asks, at most 10; 0: none
    count: u32,
    /// Why, for the board and the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Approvals {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self { project: typed, count, reason } = self;
        let (name, requested_by) = (project(&typed)?, session.who.clone());
        let request = SetRequiredApprovalsRequest { name, count, requested_by, reason };
        let answer = session.client.projects().set_required_approvals(ask(request)).await?.into_inner();
        changed(session, "SetRequiredApprovalsResponse", &answer, answer.project.as_ref())
    }
}

/// What holds a project now.
pub(super) fn changed(
    session: &Session,
    name: &str,
    answer: &impl prost::Message,
    project: Option<&Project>,
) -> Result<Exit, Failure> {
    let project = project.ok_or_else(|| Failure::odd("project"))?;
    if !session.out.is_for_people() {
        session.out.message(name, answer)?;
        return Ok(Exit::Done);
    }
    let lines = project.holds.as_ref().map(held::lines).unwrap_or_default();
    let id = short(&project.name);
    if lines.is_empty() {
        session.out.line(format!("{id}: nothing is held"))?;
    } else {
        session.out.line(format!("{id}:"))?;
        session.out.lines(lines.iter().map(|line| format!("  {line}")))?;
    }
    Ok(Exit::Done)
}

//! `brain windows`: when deployments may begin.

use super::holds::{changed, held};
use crate::{client::ask, exit::Exit, failure::Failure, name::project, policy, session::Session};
use brain_proto::v1::{DeployWindow, GetProjectRequest, SetDeployWindowsRequest};
use clap::{Args, Subcommand};

/// Show and set when a project's deployments may begin
#[derive(Debug, Subcommand)]
pub(crate) enum Windows {
    /// The windows of a project
    #[command(after_help = "Examples:\n  brain windows get user")]
    Get(Get),
    /// Set all windows of a project
    #[command(after_help = "\
Examples:
  brain windows set user --window '0 9 * * MON-FRI, 8h, America/New_York'
  brain windows set user --window '0 9 * * MON-THU, 8h, UTC' --window '0 9 * * FRI, 4h, UTC'")]
    Set(Set),
    /// Let deployments begin at any time
    #[command(after_help = "Examples:\n  brain windows clear user")]
    Clear(Clear),
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Project
    project: String,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Project
    project: String,
    /// When one opens (cron, in five fields), how long it stays open, and its time zone
    #[arg(long, required = true, value_name = "CRON, LENGTH, ZONE", value_parser = window)]
    window: Vec<DeployWindow>,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// Project
    project: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Windows {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (typed, windows, reason) = match self {
            Self::Get(Get { project: typed }) => return get(session, &typed).await,
            Self::Set(Set { project, window, reason }) => (project, window, reason),
            Self::Clear(Clear { project, reason }) => (project, Vec::new(), reason),
        };
        let request =
            SetDeployWindowsRequest { name: project(&typed)?, windows, requested_by: session.who.clone(), reason };
        let answer = session.client.projects().set_deploy_windows(ask(request)).await?.into_inner();
        changed(session, "SetDeployWindowsResponse", &answer, answer.project.as_ref())
    }
}

async fn get(session: &Session, typed: &str) -> Result<Exit, Failure> {
    let request = GetProjectRequest { name: project(typed)? };
    let project = session.client.projects().get_project(ask(request)).await?.into_inner().project;
    let windows = project.and_then(|project| project.holds).and_then(|holds| holds.deploy_windows);
    if !session.out.is_for_people() {
        session.out.message("DeployWindows", &windows.unwrap_or_default())?;
        return Ok(Exit::Done);
    }
    match windows {
        None => session.out.line("deployments may begin at any time")?,
        Some(windows) => session.out.line(held::windows(&windows))?,
    }
    Ok(Exit::Done)
}

/// `0 9 * * MON-FRI, 8h, UTC`. A cron expression may have commas, so it is what is left before the last two.
fn window(text: &str) -> Result<DeployWindow, String> {
    let faulty = || format!("{text:?} is no window: write '0 9 * * MON-FRI, 8h, America/New_York'");
    let mut parts = text.rsplitn(3, ',').map(str::trim);
    let (Some(zone), Some(length), Some(cron)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(faulty());
    };
    let seconds = policy::seconds(length).ok_or_else(faulty)?;
    let duration = Some(prost_types::Duration { seconds, nanos: 0 });
    Ok(DeployWindow { cron: cron.to_owned(), duration, time_zone: zone.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_cron_expression_a_length_and_a_zone() {
        let read = window("0 9,13 * * MON-FRI, 8h, America/New_York").unwrap();
        assert_eq!((read.cron.as_str(), read.time_zone.as_str()), ("0 9,13 * * MON-FRI", "America/New_York"));
        assert_eq!(read.duration.map(|duration| duration.seconds), Some(28_800));
        assert!(window("0 9 * * *").is_err() && window("0 9 * * *, long, UTC").is_err());
    }
}

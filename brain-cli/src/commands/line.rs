//! `brain line`: the switch over all projects.

use crate::{client::ask, exit::Exit, failure::Failure, output::time, session::Session};
use brain_proto::v1::{self, GetLineRequest, HoldOrigin, ReleaseLineRequest, StopLineRequest};
use clap::{Args, Subcommand};

/// Stop all deployments at once, and let them go on
#[derive(Debug, Args)]
pub(crate) struct Line {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How the line stands; this is also what `brain line` does by itself
    #[command(after_help = "Examples:\n  brain line get\n  brain line get -o json | jq .line.stopped")]
    Get,
    /// Let nothing new begin in any project
    #[command(after_help = "\
Examples:
  brain line stop --reason 'an outage'
  brain line stop --pause-running        deployments under way are paused too

Going back and cancelling stay allowed.")]
    Stop(Stop),
    /// Let the line run again
    #[command(after_help = "Examples:\n  brain line release --reason 'it is over'")]
    Release(Release),
}

#[derive(Debug, Args)]
struct Stop {
    /// Pause deployments under way too
    #[arg(long)]
    pause_running: bool,
    /// Why, for the board and the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
struct Release {
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Line {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client.line();
        let requested_by = session.who.clone();
        match self.what.unwrap_or(What::Get) {
            What::Get => {
                let answer = client.get_line(ask(GetLineRequest {})).await?.into_inner();
                told(session, "GetLineResponse", &answer, answer.line.as_ref())
            }
            What::Stop(Stop { pause_running, reason }) => {
                let request = StopLineRequest { requested_by, reason, pause_running };
                let answer = client.stop_line(ask(request)).await?.into_inner();
                told(session, "StopLineResponse", &answer, answer.line.as_ref())
            }
            What::Release(Release { reason }) => {
                let request = ReleaseLineRequest { requested_by, reason };
                let answer = client.release_line(ask(request)).await?.into_inner();
                told(session, "ReleaseLineResponse", &answer, answer.line.as_ref())
            }
        }
    }
}

fn told(session: &Session, name: &str, answer: &impl prost::Message, line: Option<&v1::Line>) -> Result<Exit, Failure> {
    if session.out.is_for_people() {
        session.out.line(sentence(line))?;
    } else {
        session.out.message(name, answer)?;
    }
    Ok(Exit::Done)
}

/// How the line stands, in a sentence.
pub(super) fn sentence(line: Option<&v1::Line>) -> String {
    match line {
        Some(line) if line.stopped => {
            let running = if line.pause_running { ", and deployments under way are paused" } else { "" };
            let origin = line.origin.as_ref().map(origin).unwrap_or_default();
            format!("the line is stopped {origin}: nothing new begins{running}; brain line release")
        }
        _ => "the line runs".to_owned(),
    }
}

/// "by ann, 5 min ago: an outage".
pub(super) fn origin(origin: &HoldOrigin) -> String {
    let HoldOrigin { set_by, reason, set_time } = origin;
    let since = set_time.map(|time| format!(", {} ago", time::age(Some(time), time::now()))).unwrap_or_default();
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("by {set_by}{since}{why}")
}

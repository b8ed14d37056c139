//! The commands, one module for each subject.

use crate::{dev::Dev, exit::Exit, failure::Failure, session::Session};
use clap::Subcommand;

mod agents;
mod apply;
mod board;
mod deploy;
mod events;
mod holds;
mod line;
mod project;
mod releases;
mod setup;
mod status;
mod steer;
mod tag;
mod windows;

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Board(board::Board),
    Status(status::Status),
    #[command(subcommand)]
    Project(project::Project),
    Apply(apply::Apply),
    Releases(releases::Releases),
    Tag(tag::Tag),
    Deploy(Box<deploy::Deploy>),
    Pause(steer::Pause),
    Resume(steer::Resume),
    Promote(steer::Promote),
    Cancel(steer::Cancel),
    Approve(steer::Approve),
    Rollback(steer::Rollback),
    Pin(holds::Pin),
    Unpin(holds::Unpin),
    Quarantine(holds::Quarantine),
    Lift(holds::Lift),
    Freeze(holds::Freeze),
    Thaw(holds::Thaw),
    Approvals(holds::Approvals),
    Line(line::Line),
    #[command(subcommand)]
    Windows(windows::Windows),
    Events(events::Events),
    Agents(agents::Agents),
    Dev(Box<Dev>),
    Completions(setup::Completions),
    Man(setup::Man),
}

impl Command {
    /// Runs what needs neither settings nor a server; answers the command otherwise.
    pub(crate) async fn without_server(self) -> Result<Option<Self>, Failure> {
        match self {
            Self::Dev(dev) => Ok(dev.without_server().await?.map(|dev| Self::Dev(Box::new(dev)))),
            Self::Completions(completions) => completions.run().map(|()| None),
            Self::Man(man) => man.run().map(|()| None),
            other => Ok(Some(other)),
        }
    }

    /// Tells faults that can be seen without a server, before one is asked.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Apply(apply) => apply.check(),
            Self::Deploy(deploy) => deploy.check(),
            _ => Ok(()),
        }
    }

    /// Runs it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Board(board) => board.run(session).await,
            Self::Status(status) => status.run(session).await,
            Self::Project(project) => project.run(session).await,
            Self::Apply(apply) => apply.run(session).await,
            Self::Releases(releases) => releases.run(session).await,
            Self::Tag(tag) => tag.run(session).await,
            Self::Deploy(deploy) => deploy.run(session).await,
            Self::Pause(pause) => pause.run(session).await,
            Self::Resume(resume) => resume.run(session).await,
            Self::Promote(promote) => promote.run(session).await,
            Self::Cancel(cancel) => cancel.run(session).await,
            Self::Approve(approve) => approve.run(session).await,
            Self::Rollback(rollback) => rollback.run(session).await,
            Self::Pin(pin) => pin.run(session).await,
            Self::Unpin(unpin) => unpin.run(session).await,
            Self::Quarantine(quarantine) => quarantine.run(session).await,
            Self::Lift(lift) => lift.run(session).await,
            Self::Freeze(freeze) => freeze.run(session).await,
            Self::Thaw(thaw) => thaw.run(session).await,
            Self::Approvals(approvals) => approvals.run(session).await,
            Self::Line(line) => line.run(session).await,
            Self::Windows(windows) => windows.run(session).await,
            Self::Events(events) => events.run(session).await,
            Self::Agents(agents) => agents.run(session).await,
            Self::Dev(dev) => dev.run(session).await,
            Self::Completions(_) | Self::Man(_) => Ok(Exit::Done),
        }
    }
}

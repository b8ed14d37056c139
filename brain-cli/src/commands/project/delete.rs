//! `brain project delete`: brain forgets a project.

use crate::{
    client::ask,
    confirm::confirm,
    exit::Exit,
    failure::Failure,
    name::{project, short},
    session::Session,
};
use brain_proto::v1::DeleteProjectRequest;
use clap::Args;

/// Forget a project; nothing is done to what is on AWS
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain project delete user
  brain project delete user --leave-running --yes --reason 'another team has it now'

Its load balancer, its instances and all else on AWS stay as they are. A new project of the same name finds them again.")]
pub(crate) struct Delete {
    /// Project
    project: String,
    /// Also when something runs, which then goes on without brain
    #[arg(long)]
    leave_running: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Delete {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = project(&self.project)?;
        if !self.yes {
            confirm(&format!("Forget {}?", short(&name)))?;
        }
        let request = DeleteProjectRequest {
            name: name.clone(),
            etag: String::new(),
            leave_running: self.leave_running,
            requested_by: session.who.clone(),
            reason: self.reason,
        };
        let answer = session.client.projects().delete_project(ask(request)).await?.into_inner();
        if session.out.is_for_people() {
            session.out.line(format!("{} is deleted; what is on AWS is as it was", short(&name)))?;
        } else {
            session.out.message("DeleteProjectResponse", &answer)?;
        }
        Ok(Exit::Done)
    }
}

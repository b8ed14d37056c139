//! Steering a deployment: pause, resume, promote, cancel, approve, roll back.

use crate::{
    client::ask,
    exit::Exit,
    failure::{Failure, is_passing},
    name::{Typed, project, short_deployment},
    progress,
    session::Session,
};
use brain_proto::v1::{
    ApproveDeploymentRequest, CancelDeploymentRequest, Deployment, GetDeploymentRequest, GetDeploymentResponse,
    PauseDeploymentRequest, PromoteDeploymentRequest, ResumeDeploymentRequest, RollbackProjectRequest, Step,
    step::Action,
};
use clap::Args;
use std::time::Duration;
use tonic::Status;

/// Whether and how patiently a deployment is watched.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Watch {
    /// Watch it until it ends; Ctrl-C stops watching, never the deployment
    #[arg(long, short)]
    watch: bool,
    /// With --watch: seconds for which a server that is away is waited for
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
}

impl Watch {
    pub(crate) fn is_wanted(self) -> bool {
        self.watch
    }

    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Pause a deployment where it stands, also within a step
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain pause user --reason 'to look'
  brain pause user/3

What runs runs on, and no time counts. `brain resume user` goes on.")]
pub(crate) struct Pause {
    /// Deployment: user/3, or user for its latest one
    deployment: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Pause {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = Typed::parse(&self.deployment)?.deployment(session).await?;
        let request = PauseDeploymentRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.deployments().pause_deployment(ask(request)).await?.into_inner();
        told(session, "PauseDeploymentResponse", &answer, answer.deployment.as_ref())
    }
}

/// Go on with a paused deployment; at a hold this promotes it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain resume user
  brain resume user --watch")]
pub(crate) struct Resume {
    /// Deployment: user/3, or user for its latest one
    deployment: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    watch: Watch,
}

impl Resume {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = Typed::parse(&self.deployment)?.deployment(session).await?;
        let request = ResumeDeploymentRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.deployments().resume_deployment(ask(request)).await?.into_inner();
        told_or_watched(session, "ResumeDeploymentResponse", &answer, answer.deployment.as_ref(), self.watch).await
    }
}

/// Pass over the bake, gates or hold that a deployment stands at or comes to next
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain promote user
  brain promote user --to-end --reason 'figures are fine'
  brain promote user/3 --step 14     said again, nothing more is passed over

It names the step to the server: a deployment that has passed it meanwhile is left as it is. Once the step is passed over, the
same command without --step means the next one.")]
pub(crate) struct Promote {
    /// Deployment: user/3, or user for its latest one
    deployment: String,
    /// Pass over everything that lies ahead
    #[arg(long)]
    to_end: bool,
    /// Number of the step that is meant, as `brain status` shows it [default: the next that waits]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    step: u32,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    watch: Watch,
}

impl Promote {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = Typed::parse(&self.deployment)?.deployment(session).await?;
        let Self { to_end, step, reason, watch, .. } = self;
        let step = if to_end || step > 0 { step } else { next_wait(session, &name).await? };
        let request =
            PromoteDeploymentRequest { name: name.clone(), requested_by: session.who.clone(), reason, to_end, step };
        let answer = session.client.deployments().promote_deployment(ask(request)).await;
        let answer = answer.map_err(|status| unanswered(status, &name, step))?.into_inner();
        told_or_watched(session, "PromoteDeploymentResponse", &answer, answer.deployment.as_ref(), watch).await
    }
}

/// Number of the step that a deployment stands at or comes to next, of those that only wait: whatever happens to the request
/// on its way, it passes over no other. 0 where there is none, which the server says.
async fn next_wait(session: &Session, name: &str) -> Result<u32, Failure> {
    let request = GetDeploymentRequest { name: name.to_owned() };
    let answer = session.client.deployments().get_deployment(ask(request)).await?.into_inner();
    let GetDeploymentResponse { deployment, plan } = answer;
    let from = deployment.ok_or_else(|| Failure::odd("deployment"))?.step;
    Ok(first_wait(&plan.ok_or_else(|| Failure::odd("plan"))?.steps, from))
}

fn first_wait(steps: &[Step], from: u32) -> u32 {
    let waits = |step: &Step| matches!(step.action, Some(Action::Bake(_) | Action::Gate(_) | Action::Hold(_)));
    let first = (1..).zip(steps).find(|&(number, step)| number >= from && waits(step));
    first.map_or(0, |(number, _)| number)
}

/// Where the answer is lost the step may be passed over, and the same command would mean the next one.
fn unanswered(status: Status, name: &str, step: u32) -> Failure {
    let lost = is_passing(&status) && step > 0;
    let failure = Failure::from(status);
    if !lost {
        return failure;
    }
    let short = short_deployment(name);
    failure.and(&format!("next: brain promote {short} --step {step} passes over no other step, also said again"))
}

/// End a deployment: with --rollback the old version comes back, otherwise all stays as it stands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain cancel user --rollback --reason 'wrong version'
  brain cancel user/3                 leaves both versions as they are now")]
pub(crate) struct Cancel {
    /// Deployment: user/3, or user for its latest one
    deployment: String,
    /// Bring the old version back, traffic first
    #[arg(long)]
    rollback: bool,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    watch: Watch,
}

impl Cancel {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = Typed::parse(&self.deployment)?.deployment(session).await?;
        let Self { rollback, reason, watch, .. } = self;
        let request = CancelDeploymentRequest { name, requested_by: session.who.clone(), reason, rollback };
        let answer = session.client.deployments().cancel_deployment(ask(request)).await?.into_inner();
        told_or_watched(session, "CancelDeploymentResponse", &answer, answer.deployment.as_ref(), watch).await
    }
}

/// Approve a deployment that waits for approvals; not one's own
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain approve user
  brain approve user/3 --as bob --reason 'tried on staging'")]
pub(crate) struct Approve {
    /// Deployment: user/3, or user for its latest one
    deployment: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Approve {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = Typed::parse(&self.deployment)?.deployment(session).await?;
        let request = ApproveDeploymentRequest { name, requested_by: session.who.clone(), reason: self.reason };
        let answer = session.client.deployments().approve_deployment(ask(request)).await?.into_inner();
        told(session, "ApproveDeploymentResponse", &answer, answer.deployment.as_ref())
    }
}

/// Go back to the release before, or to a version that has served
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain rollback user --watch
  brain rollback user 0.0.3 --reason '0.0.5 leaks'

Without bakes, gates and holds on the way; allowed while the project is frozen or the line is stopped.")]
pub(crate) struct Rollback {
    /// Project
    project: String,
    /// Version or tag to go back to [default: the release before]
    version: Option<String>,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Id that makes it safe to say this again [default: a new one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    #[command(flatten)]
    watch: Watch,
}

impl Rollback {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = RollbackProjectRequest {
            parent: project(&self.project)?,
            version: self.version.unwrap_or_default(),
            request_id: self.request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            requested_by: session.who.clone(),
            reason: self.reason,
        };
        let id = request.request_id.clone();
        let mut deployments = session.client.deployments();
        let asked = async { Ok(deployments.rollback_project(ask(request)).await?.into_inner()) };
        let answer = progress::answered(asked, &id).await?;
        told_or_watched(session, "RollbackProjectResponse", &answer, answer.deployment.as_ref(), self.watch).await
    }
}

fn told(
    session: &Session,
    name: &str,
    answer: &impl prost::Message,
    deployment: Option<&Deployment>,
) -> Result<Exit, Failure> {
    let deployment = deployment.ok_or_else(|| Failure::odd("deployment"))?;
    if !session.out.is_for_people() {
        session.out.message(name, answer)?;
        return Ok(Exit::Done);
    }
    let Deployment { name, docker_image, headline, .. } = deployment;
    session.out.line(format!("{docker_image} ({}): {headline}", short_deployment(name)))?;
    Ok(Exit::Done)
}

async fn told_or_watched(
    session: &Session,
    name: &str,
    answer: &impl prost::Message,
    deployment: Option<&Deployment>,
    watch: Watch,
) -> Result<Exit, Failure> {
    match deployment {
        Some(deployment) if watch.is_wanted() => progress::follow(session, &deployment.name, watch.patience()).await,
        _ => told(session, name, answer, deployment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::{BakeStep, GateStep, HoldStep, ScaleStep, VerifyStep};

    #[test]
    fn a_promotion_means_the_wait_that_a_deployment_stands_at_or_comes_to_next() {
        let actions = [
            Action::Scale(ScaleStep::default()),
            Action::Bake(BakeStep::default()),
            Action::Hold(HoldStep::default()),
            Action::Verify(VerifyStep::default()),
            Action::Gate(GateStep::default()),
            Action::Scale(ScaleStep::default()),
        ];
        let steps = actions.map(|action| Step { action: Some(action), ..Default::default() });
        let meant = [1, 2, 3, 4, 5, 6, 7].map(|at| first_wait(&steps, at));
        assert_eq!(meant, [2, 2, 3, 5, 5, 0, 0]);
    }

    #[test]
    fn whoever_gets_no_answer_is_told_how_to_pass_over_nothing_else() {
        let lost = |step| unanswered(Status::unavailable("gone"), "projects/user/deployments/3", step).text;
        assert!(lost(14).contains("next: brain promote user/3 --step 14"), "{}", lost(14));
        assert!(!lost(0).contains("--step"), "{}", lost(0));
        let refused = unanswered(Status::failed_precondition("no"), "projects/user/deployments/3", 14);
        assert!(!refused.text.contains("--step"), "{}", refused.text);
    }
}

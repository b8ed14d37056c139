//! `brain deploy`: brings a version into production, or shows how it would.

use super::steer;
use crate::{
    client::ask,
    exit::Exit,
    failure::{self, Failure},
    name::{project, short_deployment},
    output::time,
    policy::Policy,
    progress,
    session::Session,
};
use brain_proto::{
    channel::Pauses,
    v1::{
        CreateDeploymentRequest, CreateDeploymentResponse, DeploymentBarrier, Drift, PlanDeploymentRequest,
        PlanDeploymentResponse, PlannedCall, PlannedStep, create_deployment_request as create,
        plan_deployment_request as plan,
    },
};
use clap::Args;
use console::Style;
use std::time::Duration;
use tokio::time::sleep;

/// Times that a request whose answer was lost is sent again, with the same id.
const TRIES: u32 = 5;

/// Deploy a version: `user 0.0.5`, or its image `flowcommerce/user:0.0.5`
///
/// The server makes a plan, a deployer carries it out. Traffic moves step by step on what the load balancer says; what fails
/// is taken back. Without --watch the command ends once the deployment is accepted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain deploy user 0.0.5 --watch                      until it ends: 0 succeeded, 1 failed or rolled back
  brain deploy flowcommerce/user:0.0.5                 by its image
  brain deploy user 0.0.5 --plan                       every step and AWS call, and nothing is done
  brain deploy user 0.0.5 --steps 10%:5m,50%:5m:hold   a tenth for five minutes, then a half, then somebody promotes
  brain deploy user 0.0.5 --request-id build-1734      said again, it is the same deployment")]
pub(crate) struct Deploy {
    /// Project, or image with its tag
    #[arg(value_name = "PROJECT|IMAGE")]
    what: String,
    /// Version or tag; not with an image
    version: Option<String>,
    /// Show the plan, also of what could not be deployed now and why (exit code 3 then), and do nothing
    #[arg(long, conflicts_with_all = ["watch", "request_id"])]
    plan: bool,
    /// Id that makes it safe to say this again: it answers the first deployment [default: a new one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Mend what differs from the project's definition on AWS
    #[arg(long)]
    repair_drift: bool,
    /// Take resources of the right names that are nobody's
    #[arg(long)]
    adopt: bool,
    /// Why, for the record
    #[arg(long, value_name = "WHY", conflicts_with = "plan")]
    reason: Option<String>,
    /// Begin although no deploy window is open, and why
    #[arg(long, value_name = "WHY")]
    outside_windows: Option<String>,
    #[command(flatten)]
    watch: steer::Watch,
    #[command(flatten)]
    policy: Policy,
}

/// What is to be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Version { parent: String, version: String },
    Image(String),
}

impl What {
    fn of(what: &str, version: Option<&str>) -> Result<Self, Failure> {
        match (what.contains(':'), version) {
            (true, None) => Ok(Self::Image(what.to_owned())),
            (true, Some(_)) => Err(Failure::usage(format!("{what:?} has its tag already: leave the version out"))),
            (false, Some(version)) => Ok(Self::Version { parent: project(what)?, version: version.to_owned() }),
            (false, None) => Err(Failure::usage(format!(
                "no version is named\n  next: brain releases {what} tells which there are, then brain deploy {what} VERSION"
            ))),
        }
    }
}

impl Deploy {
    /// Faults of the command line and of a policy's file.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        What::of(&self.what, self.version.as_deref())?;
        self.policy.read().map(drop)
    }

    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let what = What::of(&self.what, self.version.as_deref())?;
        if self.plan {
            return self.show_plan(session, what).await;
        }
        let out = session.out;
        let watch = self.watch;
        let request = self.request(what, session)?;
        let id = request.request_id.clone();
        let answer = progress::answered(create(session, request), &id).await?;
        let deployment = answer.deployment.clone().ok_or_else(|| Failure::odd("deployment"))?;
        if watch.is_wanted() {
            return progress::follow(session, &deployment.name, watch.patience()).await;
        }
        if !out.is_for_people() {
            out.message("CreateDeploymentResponse", &answer)?;
            return Ok(Exit::Done);
        }
        let short = short_deployment(&deployment.name);
        out.line(format!("{} is being deployed: {short}, {}", deployment.docker_image, deployment.headline))?;
        out.line(format!("  watch it: brain status {short} --watch"))?;
        Ok(Exit::Done)
    }

    fn request(self, what: What, session: &Session) -> Result<CreateDeploymentRequest, Failure> {
        let rollout_policy = self.policy.read()?;
        let (parent, what) = match what {
            What::Version { parent, version } => (parent, create::What::Version(version)),
            What::Image(image) => (String::new(), create::What::Image(image)),
        };
        Ok(CreateDeploymentRequest {
            parent,
            what: Some(what),
            request_id: self.request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            requested_by: session.who.clone(),
            rollout_policy,
            outside_windows: self.outside_windows.unwrap_or_default(),
            repair_drift: self.repair_drift,
            adopt: self.adopt,
            reason: self.reason.unwrap_or_default(),
        })
    }

    async fn show_plan(self, session: &Session, what: What) -> Result<Exit, Failure> {
        let (parent, what) = match what {
            What::Version { parent, version } => (parent, plan::What::Version(version)),
            What::Image(image) => (String::new(), plan::What::Image(image)),
        };
        let request = PlanDeploymentRequest {
            parent,
            what: Some(what),
            rollout_policy: self.policy.read()?,
            outside_windows: self.outside_windows.unwrap_or_default(),
            repair_drift: self.repair_drift,
            adopt: self.adopt,
        };
        let answer = session.client.deployments().plan_deployment(ask(request)).await?.into_inner();
        if session.out.is_for_people() {
            session.out.lines(plan_lines(&answer))?;
        } else {
            session.out.message("PlanDeploymentResponse", &answer)?;
        }
        Ok(if answer.barriers.is_empty() { Exit::Done } else { Exit::Refused })
    }
}

/// Asks until an answer comes: with the same id it is one deployment however often it is asked for.
async fn create(session: &Session, request: CreateDeploymentRequest) -> Result<CreateDeploymentResponse, Failure> {
    let mut pauses = Pauses::default();
    let mut tries = 1;
    loop {
        match session.client.deployments().create_deployment(ask(request.clone())).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if failure::is_passing(&status) && tries < TRIES => sleep(pauses.after(Duration::ZERO)).await,
            Err(status) => return Err(status.into()),
        }
        tries += 1;
    }
}

/// What forbids it now, and every step with what it would do now.
fn plan_lines(answer: &PlanDeploymentResponse) -> Vec<String> {
    let steps = answer.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
    let mut lines: Vec<String> = answer.barriers.iter().flat_map(barrier).collect();
    lines.push(format!("{} steps; nothing is done", steps.len()));
    let width = steps.len().to_string().len();
    for (index, step) in steps.iter().enumerate() {
        let timeout = step.timeout.map(|timeout| format!("within {}", time::length(timeout))).unwrap_or_default();
        let timeout = Style::new().dim().apply_to(timeout);
        lines.push(format!("{:>width$}  {}  {timeout}", index + 1, step.description));
        let planned = answer.steps.get(index).map(planned).unwrap_or_default();
        lines.extend(planned.into_iter().map(|line| format!("{:width$}    {line}", "")));
    }
    if !answer.note.is_empty() {
        lines.push(format!("what AWS would be asked is not known: {}", answer.note));
    }
    lines
}

fn barrier(barrier: &DeploymentBarrier) -> Vec<String> {
    let DeploymentBarrier { reason, subject, description } = barrier;
    let told = Style::new().yellow().apply_to(format!("It could not be deployed now: {description}")).to_string();
    let next = failure::frees(reason, subject).map(|command| format!("  next: {command}"));
    std::iter::once(told).chain(next).collect()
}

fn planned(step: &PlannedStep) -> Vec<String> {
    let PlannedStep { calls, fault, drift } = step;
    let mut lines = Vec::new();
    for PlannedCall { call, resource, differences } in calls {
        lines.push(Style::new().cyan().apply_to(format!("{call} {resource}")).to_string());
        lines.extend(differences.iter().map(|difference| format!("  {difference}")));
    }
    for Drift { resource, difference, .. } in drift {
        lines.push(Style::new().yellow().apply_to(format!("differs: {resource}: {difference}")).to_string());
    }
    if !fault.is_empty() {
        lines.push(Style::new().red().apply_to(format!("cannot: {fault}")).to_string());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_needs_its_project_and_an_image_its_tag() {
        let of = |what: &str, version: Option<&str>| What::of(what, version).map_err(|failure| failure.exit);
        let user = What::Version { parent: "projects/user".to_owned(), version: "0.0.5".to_owned() };
        assert_eq!(of("user", Some("0.0.5")), Ok(user));
        assert_eq!(of("flowcommerce/user:0.0.5", None), Ok(What::Image("flowcommerce/user:0.0.5".to_owned())));
        assert_eq!(of("flowcommerce/user:0.0.5", Some("0.0.5")), Err(Exit::Usage));
        assert_eq!(of("user", None), Err(Exit::Usage));
    }

    #[test]
    fn what_stands_in_the_way_comes_before_the_plan_with_the_command_that_frees_it() {
        console::set_colors_enabled(false);
        let frozen = DeploymentBarrier {
            reason: "PROJECT_FROZEN".to_owned(),
            subject: "projects/user".to_owned(),
            description: "the project is frozen, by ann".to_owned(),
        };
        let lines = plan_lines(&PlanDeploymentResponse { barriers: vec![frozen], ..Default::default() });
        let expected = [
            "It could not be deployed now: the project is frozen, by ann",
            "  next: brain thaw user",
            "0 steps; nothing is done",
        ];
        assert_eq!(lines, expected);
    }
}

//! What requests to deploy and to steer say, checked whole, and how they are refused.

use super::super::{Api, command_status};
use crate::project::{CommandError, Project};
use brain_core::{
    deployment::{
        Fact, IllegalEvent,
        beginning::Approval,
        control::{Control, ControlUsed},
    },
    hold::Barrier,
    id::ProjectId,
    image::parse_tagged,
    project::Violation,
    state::{Misfit, Refusal, Wish},
};
use brain_proto::{
    convert::{deployment_to_proto, policy_from_proto},
    error, name, v1,
};
use std::sync::Arc;
use tonic::Status;

const REQUEST_ID_MAX: usize = 64;
const REQUESTED_BY_MAX: usize = 100;
const REASON_MAX: usize = 500;
/// Longest tag or version that is looked for.
pub(in crate::api) const TAG_MAX: usize = 250;

/// What is to be deployed.
pub(super) enum What {
    Version(String),
    Image(String),
}

/// A request to deploy, as it came.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) parent: String,
    pub(super) what: Option<What>,
    pub(super) request_id: String,
    pub(super) requested_by: String,
    pub(super) reason: String,
    pub(super) rollout_policy: Option<v1::RolloutPolicy>,
    pub(super) outside_windows: String,
    pub(super) repair_drift: bool,
    pub(super) adopt: bool,
}

/// Faults of a request, all of which are answered at once.
#[derive(Default)]
pub(in crate::api) struct Faults(Vec<Violation>);

impl Faults {
    pub(in crate::api) fn add(&mut self, field: &str, description: impl Into<String>) {
        self.0.push(Violation { field: field.to_owned(), description: description.into() });
    }

    pub(in crate::api) fn check(&mut self, ok: bool, field: &str, description: &str) {
        if !ok {
            self.add(field, description);
        }
    }

    pub(in crate::api) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Further faults; of a field that has one already none is told twice.
    pub(in crate::api) fn extend(&mut self, more: Vec<Violation>) {
        let known = self.0.len();
        for fault in more {
            if !self.0[..known].iter().any(|told| told.field == fault.field) {
                self.0.push(fault);
            }
        }
    }

    /// Who asks, under which id.
    pub(in crate::api) fn request(&mut self, request_id: &str, requested_by: &str) {
        if request_id.len() > REQUEST_ID_MAX {
            self.add("request_id", format!("must be at most {REQUEST_ID_MAX} characters"));
        }
        if requested_by.chars().count() > REQUESTED_BY_MAX || requested_by.contains(char::is_control) {
            self.add("requested_by", format!("must be one line of at most {REQUESTED_BY_MAX} characters"));
        }
    }

    pub(in crate::api) fn reason(&mut self, reason: &str) {
        self.why("reason", reason);
    }

    fn why(&mut self, field: &str, why: &str) {
        if why.chars().count() > REASON_MAX || why.contains(char::is_control) {
            self.add(field, format!("must be one line of at most {REASON_MAX} characters"));
        }
    }

    pub(in crate::api) fn project(&mut self, field: &str, text: &str) -> Option<ProjectId> {
        name::parse_project(text).map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// The value, if nothing is wrong.
    pub(in crate::api) fn end<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(error::invalid(self.0)),
        }
    }
}

impl Api {
    /// Project and wish of a request to deploy, checked whole.
    pub(super) fn wanted(&self, asked: Asked) -> Result<(Arc<Project>, Wish), Status> {
        let Asked {
            parent,
            what,
            request_id,
            requested_by,
            reason: why,
            rollout_policy,
            outside_windows,
            repair_drift,
            adopt,
        } = asked;
        let mut faults = Faults::default();
        faults.request(&request_id, &requested_by);
        faults.reason(&why);
        faults.why("outside_windows", &outside_windows);
        let outside_windows = Some(outside_windows).filter(|why| !why.is_empty());
        let id = if parent.is_empty() { None } else { faults.project("parent", &parent) };
        let (repository, tag) = match what {
            Some(What::Version(tag)) => {
                faults.check(!parent.is_empty(), "parent", "is required with a version");
                if tag.is_empty() || tag.len() > TAG_MAX {
                    faults.add("version", format!("must be 1 to {TAG_MAX} characters"));
                }
                (None, tag)
            }
            Some(What::Image(image)) => match parse_tagged(&image) {
                Ok((repository, tag)) => (Some(repository), tag),
                Err(error) => {
                    faults.add("image", error.to_string());
                    (None, String::new())
                }
            },
            None => {
                faults.add("version", "or image is required");
                (None, String::new())
            }
        };
        // The policy's rules depend on the project, which may be named by the image alone.
        let project = match (&id, &repository) {
            (Some(id), _) => self.directory.get(id),
            (None, Some(repository)) if parent.is_empty() => self.project_of(repository.as_str()).ok(),
            _ => None,
        };
        let mut policy = None;
        if let (Some(project), Some(draft)) = (&project, rollout_policy) {
            let target = project.read().state.spec.target.clone();
            match policy_from_proto(draft).validate_for(&target) {
                Ok(valid) => policy = Some(valid),
                Err(violations) => faults.0.extend(violations),
            }
        }
        faults.end(Some(()))?;
        let project = match (project, id, &repository) {
            (Some(project), ..) => project,
            (None, Some(id), _) => self.project(&id)?,
            (None, None, Some(repository)) => self.project_of(repository.as_str())?,
            (None, None, None) => return Err(error::invalid_field("parent", "is required")),
        };
        let expected = project.read().state.spec.image_repository.clone();
        match repository {
            Some(repository) if repository != expected => {
                let description = format!("must be of the project's repository, {expected}");
                Err(error::invalid_field("image", description))
            }
            _ => Ok((
                project,
                Wish { tag, requested_by, why, request_id, policy, outside_windows, repair_drift, adopt, unseen: true },
            )),
        }
    }

    /// Uses a control on a deployment.
    pub(super) async fn control(
        &self,
        deployment: &str,
        by: String,
        why: String,
        control: Control,
    ) -> Result<v1::Deployment, Status> {
        let mut faults = Faults::default();
        faults.request("", &by);
        faults.reason(&why);
        let named = name::parse_deployment(deployment).map_err(|error| faults.add("name", error.to_string())).ok();
        let (id, number) = faults.end(named)?;
        let project = self.project(&id)?;
        super::find(&project, &project.read().state, number)?;
        let by = if by.is_empty() { "unknown".to_owned() } else { by };
        let used = ControlUsed { at: self.shared.clock.now(), by: by.clone(), why, control, request_id: String::new() };
        let answer = project.fact(by, number, Fact::Controlled(used)).await.await;
        let changed = answer.unwrap_or(Err(CommandError::ShuttingDown));
        let changed = changed.map_err(|failure| refused(&project, failure))?;
        Ok(deployment_to_proto(&project.read().state.spec, &changed))
    }

    /// Approves a deployment.
    pub(super) async fn approve(&self, deployment: &str, by: String, why: String) -> Result<v1::Deployment, Status> {
        let mut faults = Faults::default();
        faults.request("", &by);
        faults.check(!by.trim().is_empty(), "requested_by", "is required: an approval has a name");
        faults.reason(&why);
        let named = name::parse_deployment(deployment).map_err(|error| faults.add("name", error.to_string())).ok();
        let (id, number) = faults.end(named)?;
        let project = self.project(&id)?;
        super::find(&project, &project.read().state, number)?;
        let approval = Approval { at: self.shared.clock.now(), by: by.clone(), why };
        let answer = project.fact(by, number, Fact::Approved(approval)).await.await;
        let changed = answer.unwrap_or(Err(CommandError::ShuttingDown));
        let changed = changed.map_err(|failure| refused(&project, failure))?;
        Ok(deployment_to_proto(&project.read().state.spec, &changed))
    }

    /// The one project of that image repository.
    fn project_of(&self, repository: &str) -> Result<Arc<Project>, Status> {
        let mut fitting = self
            .directory
            .all()
            .into_iter()
            .filter(|project| project.read().state.spec.image_repository.as_str() == repository);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(error::not_found(&format!("project with the image repository {repository}"))),
            _ => Err(error::invalid_field(
                "parent",
                format!("is required: several projects have images of {repository}"),
            )),
        }
    }

    pub(super) fn deployment_named(&self, name: &str) -> Result<(Arc<Project>, u64), Status> {
        let (id, number) = name::parse_deployment(name).map_err(|error| error::invalid_field("name", error))?;
        Ok((self.project(&id)?, number))
    }
}

/// How a command about a deployment was refused.
pub(in crate::api) fn refused(project: &Project, failure: CommandError) -> Status {
    let refusal = match failure {
        CommandError::Refused(refusal) => refusal,
        CommandError::Misfit(Misfit::Illegal(
            number,
            illegal @ (IllegalEvent::Ended
            | IllegalEvent::NothingToPromote
            | IllegalEvent::NotNext { .. }
            | IllegalEvent::NothingToApprove
            | IllegalEvent::OwnApproval),
        )) => {
            let named = name::deployment(&project.id, number);
            let reason = match illegal {
                IllegalEvent::NothingToPromote => "NOTHING_TO_PROMOTE",
                IllegalEvent::NotNext { .. } => "ANOTHER_STEP_WAITS_FIRST",
                IllegalEvent::NothingToApprove => "NOTHING_TO_APPROVE",
                IllegalEvent::OwnApproval => "OWN_APPROVAL",
                _ => "DEPLOYMENT_ENDED",
            };
            return error::precondition(reason, &named, format!("{named}: {illegal}"));
        }
        other => return command_status(other),
    };
    if let Refusal::UnknownRelease(tag) = &refusal {
        return error::not_found(&name::release(&project.id, tag));
    }
    let v1::DeploymentBarrier { reason, subject, description } = told(project, &refusal);
    error::precondition(&reason, &subject, description)
}

/// What forbids a deployment, beside its plan.
pub(super) fn barrier(project: &Project, refusal: &Refusal) -> v1::DeploymentBarrier {
    let mut barrier = told(project, refusal);
    if let Refusal::InProgress { .. } = refusal {
        barrier.description += "; the plan begins from where that one stands now";
    }
    barrier
}

fn told(project: &Project, refusal: &Refusal) -> v1::DeploymentBarrier {
    let (whole, description) = (name::project(&project.id), refusal.to_string());
    let (reason, subject) = match refusal {
        Refusal::UnknownRelease(tag) => ("NOT_FOUND", name::release(&project.id, tag)),
        Refusal::NoImage { image } => ("IMAGE_NOT_AVAILABLE", image.clone()),
        Refusal::InProgress { number, .. } => {
            let subject = name::deployment(&project.id, *number);
            let (reason, description) = ("DEPLOYMENT_IN_PROGRESS".to_owned(), format!("{subject}: {description}"));
            return v1::DeploymentBarrier { reason, subject, description };
        }
        Refusal::Held(barrier) => match barrier {
            Barrier::Pinned(_) => ("PROJECT_PINNED", whole),
            Barrier::Quarantined(held) => ("VERSION_QUARANTINED", name::release(&project.id, &held.hold.tag)),
            Barrier::Frozen(_) => ("PROJECT_FROZEN", whole),
            Barrier::LineStopped(_) => ("LINE_STOPPED", whole),
            Barrier::Windows { .. } => ("OUTSIDE_DEPLOY_WINDOWS", whole),
        },
        Refusal::NothingServes => ("NOTHING_SERVES", whole),
        Refusal::NothingBefore => ("NOTHING_TO_GO_BACK_TO", whole),
    };
    v1::DeploymentBarrier { reason: reason.to_owned(), subject, description }
}

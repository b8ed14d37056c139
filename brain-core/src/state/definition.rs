//! Another definition of a project, and the project's end.

use super::ProjectState;
use crate::{
    event::Change,
    observation::PollTarget,
    project::{ProjectSpec, Violation},
    time::Timestamp,
    traffic::LoadBalancerKind,
};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a definition cannot change now, or a project not be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DefinitionRefusal {
    /// A deployment that is in progress follows the definition.
    #[error(
        "deployment {number} of {tag} is in progress{}: wait for its end, or cancel it",
        if fields.is_empty() { String::new() } else { format!(" and follows {}", fields.join(", ")) }
    )]
    InProgress {
        /// Its number.
        number: u64,
        /// What it deploys.
        tag: String,
        /// The changed parts that it follows; none for a deletion.
        fields: Vec<&'static str>,
    },
    /// What was made on AWS by the first deployment cannot become what these fields ask for.
    #[error("a project that was deployed keeps what its resources on AWS are made of")]
    Fixed(Vec<Violation>),
    /// Something runs.
    #[error("{0} runs, and nobody would see or steer it any more: say leave_running to leave all of it as it is")]
    Running(String),
}

impl ProjectState {
    /// Decides another definition; nothing when it is no other one. `fields`: the paths that differ, for the log.
    pub fn redefine(
        &self,
        spec: ProjectSpec,
        fields: Vec<String>,
        why: String,
    ) -> Result<Option<Change>, DefinitionRefusal> {
        if spec == self.spec {
            return Ok(None);
        }
        let fixed = if self.deployments.is_empty() { Vec::new() } else { fixed(&self.spec, &spec) };
        if !fixed.is_empty() {
            return Err(DefinitionRefusal::Fixed(fixed));
        }
        if let Some(active) = self.active() {
            let followed = [
                ("target", spec.target != self.spec.target),
                ("image_repository", spec.image_repository != self.spec.image_repository),
                ("rollout_policy", spec.rollout_policy != self.spec.rollout_policy),
                ("depends_on", spec.depends_on != self.spec.depends_on && !active.awaits.is_empty()),
            ];
            let fields: Vec<&str> =
                followed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
            if !fields.is_empty() {
                return Err(DefinitionRefusal::InProgress { number: active.number, tag: active.tag.clone(), fields });
            }
        }
        Ok(Some(Change::ProjectChanged { spec: Box::new(spec), fields, why }))
    }

    /// Decides the project's end. With `leave_running` what runs goes on, unseen.
    pub fn delete(&self, leave_running: bool, why: String) -> Result<Change, DefinitionRefusal> {
        if let Some(active) = self.active() {
            let (number, tag) = (active.number, active.tag.clone());
            return Err(DefinitionRefusal::InProgress { number, tag, fields: Vec::new() });
        }
        let runs = self.may_run();
        if !runs.is_empty() && !leave_running {
            return Err(DefinitionRefusal::Running(runs.into_iter().collect::<Vec<&str>>().join(", ")));
        }
        Ok(Change::ProjectDeleted { why })
    }

    /// Versions that run as it was last observed, and that deployments have left running while nobody observes.
    fn may_run(&self) -> BTreeSet<&str> {
        let seen = self.production.iter().flat_map(|production| &production.services);
        let mut versions: BTreeSet<&str> = seen.map(|service| service.version.as_str()).collect();
        if self.observed_since_the_end().is_none() || self.unobserved.is_some() {
            versions.extend(self.serving.iter().map(|service| service.version.as_str()));
        }
        versions
    }

    /// What was read from another place than the new definition names is unknown again, until it is polled. Tags are kept:
    /// a repository that only moved has them all, and the first look at another one says which are gone.
    pub(super) fn redefined(&mut self, spec: &ProjectSpec) {
        let (old, new) = (&self.spec.source, &spec.source);
        if (&old.git_url, &old.branch) != (&new.git_url, &new.branch) {
            self.head = None;
            self.source_moved = None;
            self.tag_failure = None;
            self.poll_failures.remove(&PollTarget::Source);
        }
        if self.spec.image_repository != spec.image_repository {
            self.images.clear();
            self.poll_failures.remove(&PollTarget::Images);
        }
        let place = |spec: &ProjectSpec| {
            let target = &spec.target;
            (target.region.clone(), target.role_arn.clone(), target.load_balancer_kind)
        };
        if place(&self.spec) != place(spec) {
            self.production = None;
            self.unobserved = None;
        }
        self.spec = spec.clone();
    }

    /// What is left is its place on AWS, what may run there, and the number of the last deployment: AWS knows what was asked
    /// for under each.
    pub(super) fn deleted(&mut self, at: Timestamp) {
        let (numbered, serving) = (self.last_number(), self.serving_unseen());
        let mut spec = self.spec.clone();
        (spec.target.environment, spec.target.command, spec.depends_on) = Default::default();
        (spec.target.ecs_agent_settings, spec.rollout_policy.steps) = Default::default();
        *self = Self { deleted: Some(at), numbered, serving, ..Self::new(spec, self.created) };
    }

    /// A project of a deleted one's name.
    pub(super) fn created_again(&mut self, spec: &ProjectSpec, at: Timestamp) {
        let (numbered, serving) = (self.numbered, std::mem::take(&mut self.serving));
        *self = Self { numbered, serving, ..Self::new(spec.clone(), at) };
    }

    /// Number of the latest deployment under this name; 0: there was none.
    pub(super) fn last_number(&self) -> u64 {
        self.deployments.back().map_or(self.numbered, |latest| latest.number)
    }
}

/// Faults of a definition for a project that was deployed. Its resources are found by what these say, and would be left behind.
fn fixed(old: &ProjectSpec, new: &ProjectSpec) -> Vec<Violation> {
    let account = |spec: &ProjectSpec| {
        let role = spec.target.role_arn.clone()?;
        role.split(':').nth(4).map(str::to_owned)
    };
    let (from, to) = (&old.target, &new.target);
    let same = [
        ("region", from.region == to.region),
        ("host_port", from.host_port == to.host_port),
        ("launch_kind", from.launch_kind == to.launch_kind),
        ("load_balancer_kind", from.load_balancer_kind == to.load_balancer_kind),
        ("vpc_id", from.vpc_id == to.vpc_id),
        ("subnet_ids", from.subnet_ids == to.subnet_ids),
        ("role_arn", account(old) == account(new)),
        // Its listener would have to be made anew, and nobody be served meanwhile.
        (
            "certificate_arn",
            from.load_balancer_kind != LoadBalancerKind::Classic || from.certificate_arn == to.certificate_arn,
        ),
    ];
    let changed = same.into_iter().filter(|(_, same)| !same).map(|(field, _)| format!("target.{field}"));
    // What was deployed goes back by digests of that repository.
    let repository = (old.image_repository != new.image_repository).then(|| "image_repository".to_owned());
    let fault = |field: String| Violation {
        field: format!("project.{field}"),
        description:
            "is fixed since the first deployment, by which the resources on AWS were made: make another project \
                      beside this one"
                .to_owned(),
    };
    changed.chain(repository).map(fault).collect()
}

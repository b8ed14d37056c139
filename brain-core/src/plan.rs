//! Plans: every step, name and count of a deployment, chosen before the first step runs.
//!
//! A plan leaves whoever carries it out no choices, so a step that is carried out twice does the same thing.

use crate::{
    drift::SetUp,
    gate::Gate,
    image::Digest,
    names::{self, ResourceNames},
    policy::{RolloutPolicy, Stage},
    project::ProjectSpec,
    shift::{Counts, moves},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// The steps of a deployment or of its rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Names of the AWS resources.
    pub names: ResourceNames,
    /// What served when the plan was made.
    pub from: Vec<ServiceCount>,
    /// What serves when the plan is done. Services that are to have no task are left out.
    pub to: Vec<ServiceCount>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Longest time of each step.
    pub step_timeout: Duration,
    /// What its set-up does with differences.
    #[serde(default, skip_serializing_if = "SetUp::is_default")]
    pub set_up: SetUp,
    /// Whether resources of the right names that are not brain's become so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
}

/// A service and its desired count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCount {
    /// ECS service name.
    pub service: String,
    /// Version that it runs.
    pub version: String,
    /// Desired tasks.
    pub count: u32,
}

/// One step: a goal that can be observed, and reached by acting once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The security group and its rules exist.
    SecurityGroup,
    /// The classic load balancer exists.
    LoadBalancer,
    /// The launch template exists.
    LaunchTemplate,
    /// The auto-scaling group exists.
    AutoScalingGroup {
        /// Instances that a new group begins with.
        instances: u32,
        /// Upper bound of the group.
        max_instances: u32,
    },
    /// The cluster exists.
    Cluster,
    /// The version's task definition is registered.
    TaskDefinition {
        /// Version.
        version: String,
        /// Image, pinned by digest.
        image: String,
    },
    /// The version's service exists; a new one at desired count 0.
    Service {
        /// Service name.
        service: String,
        /// Version.
        version: String,
        /// Image, pinned by digest.
        image: String,
        /// Idempotency token for AWS.
        client_token: String,
    },
    /// So many instances have joined the cluster.
    Capacity {
        /// Instances.
        instances: u32,
    },
    /// The service's desired count is set.
    Scale {
        /// Service name.
        service: String,
        /// Desired count.
        desired: u32,
        /// When lowering: healthy tasks of other services plus `desired` that there must be.
        floor: u32,
    },
    /// The service runs exactly so many tasks, all healthy.
    Verify {
        /// Service name.
        service: String,
        /// Healthy tasks.
        healthy: u32,
        /// Task failures after which the step has failed; 0: not counted.
        max_task_failures: u32,
    },
    /// The service has served its share for a while, and all of it is healthy at the end.
    Bake {
        /// Service name.
        service: String,
        /// Healthy tasks.
        healthy: u32,
        /// How long.
        duration: Duration,
        /// Task failures after which the step has failed.
        max_task_failures: u32,
    },
    /// A gate passes.
    Gate {
        /// The gate.
        gate: Gate,
        /// Service of the new version.
        new: String,
        /// Services of the old versions, the one with the most tasks first.
        old: Vec<String>,
    },
    /// A person has promoted the deployment.
    Hold,
    /// Empty instances are given back.
    ReturnCapacity {
        /// Instances that stay.
        instances: u32,
    },
}

/// What is to be deployed.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// Number of the deployment.
    pub deployment: u64,
    /// Tag of the release.
    pub tag: &'a str,
    /// Digest of its image.
    pub digest: &'a Digest,
}

impl Plan {
    /// The same plan, with what its set-up may do.
    #[must_use]
    pub fn allowing(self, set_up: SetUp, adopt: bool) -> Self {
        Self { set_up, adopt, ..self }
    }
}

impl Step {
    /// Whether it is about what a project has once.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        match self {
            Self::SecurityGroup
            | Self::LoadBalancer
            | Self::LaunchTemplate
            | Self::AutoScalingGroup { .. }
            | Self::Cluster => true,
            Self::TaskDefinition { .. }
            | Self::Service { .. }
            | Self::Capacity { .. }
            | Self::Scale { .. }
            | Self::Verify { .. }
            | Self::Bake { .. }
            | Self::Gate { .. }
            | Self::Hold
            | Self::ReturnCapacity { .. } => false,
        }
    }

    /// Whether it only waits, so that a person may pass it over.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        matches!(self, Self::Bake { .. } | Self::Gate { .. } | Self::Hold)
    }

    /// Time that the step takes by itself, beyond which its timeout counts.
    #[must_use]
    pub fn least(&self) -> Duration {
        match self {
            Self::Bake { duration, .. } => *duration,
            _ => Duration::ZERO,
        }
    }
}

/// The plan that brings `goal` to full strength by `policy`, from the services that serve now.
#[must_use]
pub fn plan(spec: &ProjectSpec, policy: &RolloutPolicy, goal: Goal<'_>, serving: &[ServiceCount]) -> Plan {
    let desired = spec.target.desired_count;
    let service = names::service(&spec.id, goal.tag, goal.digest);
    let image = spec.image_repository.with_digest(goal.digest);
    let from: Vec<ServiceCount> = serving.iter().filter(|old| old.count > 0).cloned().collect();
    let mut steps = set_up_steps(spec);
    steps.extend([
        Step::TaskDefinition { version: goal.tag.to_owned(), image: image.clone() },
        Step::Service {
            client_token: names::client_token(&spec.id, goal.deployment, &service),
            service: service.clone(),
            version: goal.tag.to_owned(),
            image,
        },
    ]);
    let to = ServiceCount { service: service.clone(), version: goal.tag.to_owned(), count: desired };
    let shifting = Shifting {
        floor: policy.floor(desired),
        ceiling: policy.ceiling(desired),
        watched: service.clone(),
        max_task_failures: policy.max_task_failures,
    };
    let mut counts = counts_of(&from);
    let already = counts.get(&service).copied().unwrap_or(0);
    let full = Stage::passed(desired);
    // Where nothing serves there is no traffic to move in stages.
    let mut stages = if from.is_empty() { vec![full] } else { policy.stages(desired) };
    stages.retain(|stage| stage.count > already || stage.count == desired);
    for stage in stages {
        let target = stage_counts(&counts, &service, stage.count, desired);
        shifting.append(&mut steps, &counts, &target);
        let old = old_services(&from, &target, &service);
        shifting.wait(&mut steps, &service, old, stage);
        counts = target;
    }
    // Even where nothing moved, the goal is only reached when it is seen to be.
    shifting.verify(&mut steps, &service, desired);
    steps.push(Step::ReturnCapacity { instances: desired });
    Plan {
        names: ResourceNames::of(&spec.id),
        from,
        to: vec![to],
        steps,
        step_timeout: policy.step_timeout,
        set_up: SetUp::default(),
        adopt: false,
    }
}

/// What a project has once, in the order in which it is made.
fn set_up_steps(spec: &ProjectSpec) -> Vec<Step> {
    vec![
        Step::SecurityGroup,
        Step::LoadBalancer,
        Step::LaunchTemplate,
        Step::AutoScalingGroup { instances: spec.target.desired_count, max_instances: spec.target.max_instances },
        Step::Cluster,
    ]
}

/// A look at the set-up alone.
#[must_use]
pub fn look_at_set_up(spec: &ProjectSpec) -> Plan {
    Plan {
        names: ResourceNames::of(&spec.id),
        from: Vec::new(),
        to: Vec::new(),
        steps: set_up_steps(spec),
        step_timeout: spec.rollout_policy.step_timeout,
        set_up: SetUp::Check,
        adopt: false,
    }
}

/// The plan that undoes `failed` after its steps up to `cursor` were carried out and that one was begun: the old services
/// back to their counts, traffic first, the new service to 0. Has no steps when nothing was touched that needs undoing.
#[must_use]
pub fn rollback(spec: &ProjectSpec, policy: &RolloutPolicy, failed: &Plan, cursor: usize) -> Plan {
    let original = counts_of(&failed.from);
    let reached = counts_at(failed, cursor);
    let mut steps = Vec::new();
    let mut counts = reached.begun.clone();
    // Tasks that were never seen healthy carry no traffic: they go first and make room.
    for (service, count) in &reached.begun {
        let verified = reached.verified.get(service).copied().unwrap_or(0);
        if *count > verified && !original.contains_key(service) {
            steps.push(Step::Scale { service: service.clone(), desired: verified, floor: 0 });
            counts.insert(service.clone(), verified);
        }
    }
    let old_total: u32 = original.values().sum();
    let shifting = Shifting {
        floor: policy.floor(spec.target.desired_count).min(old_total),
        ceiling: policy.ceiling(spec.target.desired_count.max(old_total)),
        watched: String::new(),
        max_task_failures: 0,
    };
    let mut target = original.clone();
    for service in counts.keys() {
        target.entry(service.clone()).or_insert(0);
    }
    shifting.append(&mut steps, &counts, &target);
    for service in reached.begun.keys().filter(|service| !original.contains_key(*service)) {
        shifting.verify(&mut steps, service, 0);
    }
    for (service, count) in &original {
        shifting.verify(&mut steps, service, *count);
    }
    let moved = |step: &Step| matches!(step, Step::Capacity { .. } | Step::Scale { .. });
    if failed.steps.iter().take(cursor + 1).any(moved) {
        let instances = if old_total == 0 { spec.target.desired_count } else { old_total };
        steps.push(Step::ReturnCapacity { instances });
    } else {
        // No instance was asked for and no count changed: there is nothing to undo.
        steps.clear();
    }
    Plan {
        names: failed.names.clone(),
        from: serving_at(failed, cursor),
        to: failed.from.clone(),
        steps,
        step_timeout: failed.step_timeout,
        set_up: failed.set_up,
        adopt: failed.adopt,
    }
}

/// What serves after the plan's steps before `cursor` were carried out: counts that were set.
#[must_use]
pub fn serving_at(plan: &Plan, cursor: usize) -> Vec<ServiceCount> {
    let versions: BTreeMap<&str, &str> =
        plan.from.iter().chain(&plan.to).map(|count| (count.service.as_str(), count.version.as_str())).collect();
    counts_at(plan, cursor)
        .begun
        .into_iter()
        .map(|(service, count)| {
            let version = versions.get(service.as_str()).copied().unwrap_or_default().to_owned();
            ServiceCount { service, version, count }
        })
        .collect()
}

/// How one shift is carried out.
struct Shifting {
    floor: u32,
    ceiling: u32,
    /// The new service, whose failing tasks count.
    watched: String,
    max_task_failures: u32,
}

impl Shifting {
    fn append(&self, steps: &mut Vec<Step>, from: &Counts, to: &Counts) {
        let floor = self.floor.min(from.values().sum());
        for step in moves(from, to, floor, self.ceiling) {
            if step.raises() {
                steps.push(Step::Capacity { instances: step.total });
            }
            let floor = if step.raises() { 0 } else { floor };
            steps.push(Step::Scale { service: step.service.clone(), desired: step.to, floor });
            self.verify(steps, &step.service, step.to);
        }
    }

    fn verify(&self, steps: &mut Vec<Step>, service: &str, healthy: u32) {
        let max_task_failures = if service == self.watched { self.max_task_failures } else { 0 };
        let step = Step::Verify { service: service.to_owned(), healthy, max_task_failures };
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    }

    /// What has to be so before traffic moves on.
    fn wait(&self, steps: &mut Vec<Step>, service: &str, old: Vec<String>, stage: Stage) {
        if !stage.bake.is_zero() {
            steps.push(Step::Bake {
                service: service.to_owned(),
                healthy: stage.count,
                duration: stage.bake,
                max_task_failures: self.max_task_failures,
            });
        }
        for gate in stage.gates {
            steps.push(Step::Gate { gate, new: service.to_owned(), old: old.clone() });
        }
        if stage.hold {
            steps.push(Step::Hold);
        }
    }
}

/// Counts during and after the steps of a plan.
struct Reached {
    /// As set, the step at the cursor taken to be carried out.
    begun: Counts,
    /// As seen healthy.
    verified: Counts,
}

fn counts_at(plan: &Plan, cursor: usize) -> Reached {
    let mut begun = counts_of(&plan.from);
    let mut verified = begun.clone();
    for (index, step) in plan.steps.iter().enumerate().take(cursor + 1) {
        match step {
            Step::Service { service, .. } => {
                begun.entry(service.clone()).or_insert(0);
            }
            Step::Scale { service, desired, .. } => {
                begun.insert(service.clone(), *desired);
                if verified.get(service).is_some_and(|count| count > desired) {
                    verified.insert(service.clone(), *desired);
                }
            }
            Step::Verify { service, healthy, .. } if index < cursor => {
                verified.insert(service.clone(), *healthy);
            }
            _ => {}
        }
    }
    Reached { begun, verified }
}

fn counts_of(services: &[ServiceCount]) -> Counts {
    services.iter().map(|service| (service.service.clone(), service.count)).collect()
}

/// The services that the new one is compared with, the one with the most tasks first: those that still serve, or after the
/// last stage those that did.
fn old_services(from: &[ServiceCount], counts: &Counts, new: &str) -> Vec<String> {
    let left = |old: &ServiceCount| counts.get(&old.service).copied().unwrap_or(0);
    let mut old: Vec<&ServiceCount> = from.iter().filter(|old| old.service != new).collect();
    if old.iter().any(|old| left(old) > 0) {
        old.retain(|old| left(old) > 0);
    }
    old.sort_by_key(|old| std::cmp::Reverse((left(old), old.count)));
    old.into_iter().map(|old| old.service.clone()).collect()
}

/// Counts when `stage` of `desired` tasks are the new service's: the old ones share the rest, first ones first to give.
fn stage_counts(counts: &Counts, service: &str, stage: u32, desired: u32) -> Counts {
    let mut left = desired - stage;
    let mut target: Counts = counts
        .iter()
        .rev()
        .filter(|(name, _)| *name != service)
        .map(|(name, count)| {
            let kept = left.min(*count);
            left -= kept;
            (name.clone(), kept)
        })
        .collect();
    target.insert(service.to_owned(), stage);
    target
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecurityGroup => f.write_str("set up the security group"),
            Self::LoadBalancer => f.write_str("set up the load balancer"),
            Self::LaunchTemplate => f.write_str("set up the launch template"),
            Self::AutoScalingGroup { .. } => f.write_str("set up the auto-scaling group"),
            Self::Cluster => f.write_str("set up the cluster"),
            Self::TaskDefinition { version, .. } => write!(f, "register the task definition of {version}"),
            Self::Service { service, .. } => write!(f, "set up service {service}"),
            Self::Capacity { instances } => write!(f, "have {instances} instances"),
            Self::Scale { service, desired, .. } => write!(f, "scale {service} to {desired}"),
            Self::Verify { service, healthy: 0, .. } => write!(f, "see {service} drained"),
            Self::Verify { service, healthy, .. } => write!(f, "see {healthy} healthy tasks of {service}"),
            Self::Bake { service, duration, .. } => write!(f, "watch {service} for {} s", duration.as_secs()),
            Self::Gate { gate, .. } => write!(f, "pass gate {}", gate.name),
            Self::Hold => f.write_str("wait for a person to promote"),
            Self::ReturnCapacity { instances } => write!(f, "give empty instances back, keep {instances}"),
        }
    }
}

#[cfg(test)]
mod tests;

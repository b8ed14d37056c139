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
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

mod back;
mod earlier;
mod known;
mod shifting;
#[cfg(test)]
mod tests;

pub use back::{rollback, rollback_again};
pub use known::{Known, serving_at};
use known::{beginning, counts_of};
use shifting::{Shifting, old_services, stage_counts, unproven};

/// The steps of a deployment or of its rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Names of the AWS resources.
    pub names: ResourceNames,
    /// What the plan begins from, which its first steps set where it was not certain.
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
    /// Whether its way back is planned by what is known of each service. That of plans which earlier releases made is not,
    /// so that their events are told again as they happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settles: bool,
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
    /// What is known of them where that is less than that all of them serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
}

/// One step: a goal that can be observed, and reached by acting once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// There is room for the whole plan. It only reads.
    Preflight {
        /// Most instances at a time.
        instances: u32,
        /// What the group's upper bound is raised to.
        max_instances: u32,
        /// Tasks that the project had for certain when the plan was made.
        serving: u32,
    },
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
        /// Whether it may be lowered all the same while none of its tasks is healthy: it was not seen to serve.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        idle: bool,
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
            Self::Preflight { .. }
            | Self::TaskDefinition { .. }
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
    let floor = policy.floor(desired);
    let from = beginning(serving, floor);
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
    let to = ServiceCount { service: service.clone(), version: goal.tag.to_owned(), count: desired, known: None };
    let mut unproven = unproven(&from);
    // Its own failures are counted, and it is what others give way to.
    unproven.retain(|other| *other != service);
    let shifting = Shifting {
        floor,
        keeps: floor,
        ceiling: policy.ceiling(desired),
        watched: service.clone(),
        unproven,
        max_task_failures: policy.max_task_failures,
    };
    shifting.settle(&mut steps, &from);
    let mut counts = counts_of(&from);
    let already = counts.get(&service).copied().unwrap_or(0);
    let full = Stage::passed(desired);
    // Where nothing serves there is no traffic to move in stages.
    let nothing = from.iter().all(|old| old.count == 0);
    let mut stages = if nothing { vec![full] } else { policy.stages(desired) };
    stages.retain(|stage| stage.count > already || stage.count == desired);
    for stage in stages {
        let target = stage_counts(&counts, &service, stage.count, desired, &shifting.unproven);
        shifting.append(&mut steps, &counts, &target);
        let old = old_services(&from, &target, &service);
        shifting.wait(&mut steps, &service, old, stage);
        counts = target;
    }
    // Even where nothing moved, the goal is only reached when it is seen to be.
    shifting.close(&mut steps, &service, desired, desired);
    steps.push(Step::ReturnCapacity { instances: desired });
    let most =
        steps.iter().filter_map(|step| if let Step::Capacity { instances } = step { Some(*instances) } else { None });
    if let Some(instances) = most.max() {
        let serving = from.iter().map(|old| old.known().least).sum();
        steps.insert(0, Step::Preflight { instances, max_instances: spec.target.max_instances, serving });
    }
    Plan {
        names: ResourceNames::of(&spec.id),
        from,
        to: vec![to],
        steps,
        step_timeout: policy.step_timeout,
        set_up: SetUp::default(),
        adopt: false,
        settles: true,
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
        settles: false,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preflight { instances, .. } => write!(f, "see that there is room for {instances} instances"),
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

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
    traffic::TargetGroup,
    words::counted,
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

mod back;
mod earlier;
mod known;
mod shifting;
#[cfg(test)]
mod tests;
mod watching;
mod weighing;

pub use back::{rollback, rollback_again};
pub use known::{Known, serving_at};
use known::{beginning, counts_of};
use shifting::{Shifting, giving, old_services, stage_counts};
pub use watching::Watching;
use weighing::{Places, Weighing};

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
    /// The rules by which what is reported of it is judged: [`EDITION`] when it was made. Where they change, what happened to
    /// older plans is told again as it happened.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub edition: u32,
}

/// The rules of today. Since 1, capacity that is not given back fails no deployment. Since 2, the way back does not wait for a
/// version that is not well by itself, and a person's pause on top of the line's outlasts it.
pub const EDITION: u32 = 2;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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
    /// Its target group behind an application load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<TargetGroup>,
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
    /// The load balancer exists; an application one with its two target groups and the listener.
    LoadBalancer,
    /// The rule of an application load balancer exists, which forwards everything to the two target groups.
    Rule {
        /// The group that a new rule sends everything to.
        group: TargetGroup,
        /// Whether an existing one is to send everything there too: otherwise its weights are set on the way.
        settled: bool,
    },
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
        /// Its target group behind an application load balancer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<TargetGroup>,
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
    /// Requests are weighted, and that is read back: a target group has so many percent of them, the other one the rest.
    Weigh {
        /// The service that its percentage is told of.
        service: String,
        /// Its target group.
        group: TargetGroup,
        /// Percent.
        percent: u32,
        /// Healthy tasks that the group has to have before it gets more, unless nobody else is healthy.
        healthy: u32,
        /// Whether that is not waited for: a group without a healthy task gets nothing while the other has one, and nothing is
        /// changed where the group that gains has none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        follows_health: bool,
    },
    /// The service runs exactly so many tasks, all healthy; or at most so many.
    Verify {
        /// Service name.
        service: String,
        /// Healthy tasks.
        healthy: u32,
        /// Task failures after which the step has failed; 0: not counted.
        max_task_failures: u32,
        /// Whether fewer, and tasks that are not healthy, are enough: what gives way may be unwell, and has only to go.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_most: bool,
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
        /// Failures of the new version's tasks after which the step has failed, whatever the gate says; 0: not counted.
        #[serde(default, skip_serializing_if = "is_zero")]
        max_task_failures: u32,
    },
    /// A person has promoted the deployment. What the steps before have seen of the new version is watched meanwhile.
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
            | Self::Rule { .. }
            | Self::LaunchTemplate
            | Self::AutoScalingGroup { .. }
            | Self::Cluster => true,
            Self::Preflight { .. }
            | Self::TaskDefinition { .. }
            | Self::Service { .. }
            | Self::Capacity { .. }
            | Self::Scale { .. }
            | Self::Weigh { .. }
            | Self::Verify { .. }
            | Self::Bake { .. }
            | Self::Gate { .. }
            | Self::Hold
            | Self::ReturnCapacity { .. } => false,
        }
    }

    /// Its kind, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Preflight { .. } => "preflight",
            Self::SecurityGroup => "security_group",
            Self::LoadBalancer => "load_balancer",
            Self::Rule { .. } => "rule",
            Self::LaunchTemplate => "launch_template",
            Self::AutoScalingGroup { .. } => "auto_scaling_group",
            Self::Cluster => "cluster",
            Self::TaskDefinition { .. } => "task_definition",
            Self::Service { .. } => "service",
            Self::Capacity { .. } => "capacity",
            Self::Scale { .. } => "scale",
            Self::Weigh { .. } => "weigh",
            Self::Verify { .. } => "verify",
            Self::Bake { .. } => "bake",
            Self::Gate { .. } => "gate",
            Self::Hold => "hold",
            Self::ReturnCapacity { .. } => "return_capacity",
        }
    }

    /// Whether it only waits, so that a person may pass it over.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        matches!(self, Self::Bake { .. } | Self::Gate { .. } | Self::Hold)
    }

    /// Whether it moves traffic.
    #[must_use]
    pub fn moves_traffic(&self) -> bool {
        matches!(self, Self::Scale { .. } | Self::Weigh { .. })
    }

    /// Whether traffic has moved when it is done: a count that was set moves it once its tasks are healthy.
    #[must_use]
    pub fn settles_traffic(&self) -> bool {
        self.moves_traffic() || matches!(self, Self::Verify { .. })
    }

    /// Time that the step takes by itself, beyond which its timeout counts.
    #[must_use]
    pub fn least(&self) -> Duration {
        match self {
            Self::Bake { duration, .. } => *duration,
            Self::Gate { gate, .. } => gate.looks_back(),
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
    let places = Places::of(spec.target.load_balancer_kind, &service, &from);
    let group = places.as_ref().map(|places| places.new);
    let mut steps = set_up_steps(spec, places.as_ref());
    let mut unproven = giving(&from);
    // Its own failures are counted, and it is what others give way to.
    unproven.retain(|other| *other != service);
    let mut shifting = Shifting {
        floor,
        keeps: floor,
        ceiling: policy.ceiling(desired),
        watched: service.clone(),
        unproven,
        max_task_failures: policy.max_task_failures,
        bears_the_sick: true,
        weighing: None,
    };
    let to =
        ServiceCount { service: service.clone(), version: goal.tag.to_owned(), count: desired, known: None, group };
    let make = [
        Step::TaskDefinition { version: goal.tag.to_owned(), image: image.clone() },
        Step::Service {
            client_token: names::client_token(&spec.id, goal.deployment, &service),
            service: service.clone(),
            version: goal.tag.to_owned(),
            image,
            group,
        },
    ];
    let mut counts = counts_of(&from);
    let already = counts.get(&service).copied().unwrap_or(0);
    match &places {
        // The new service cannot be in its group before that is empty.
        Some(Places { keeps: Some(keeps), .. }) => {
            counts = shifting.evacuate(&mut steps, serving, &from, keeps, desired);
            steps.extend(make);
        }
        Some(_) => {
            steps.extend(make);
            // Requests leave what is unproven, the new version too: where weights stand is not certain.
            let others: Vec<ServiceCount> = from.iter().filter(|count| count.service != service).cloned().collect();
            shifting.weighing = Weighing::back_to(&others, &from, &shifting.unproven);
            if let Some(weighing) = shifting.weighing.take().filter(|_| from.iter().any(|count| count.known.is_some()))
            {
                weighing.relieve(&mut steps, serving, floor);
            }
            shifting.settle(&mut steps, &from);
        }
        None => {
            steps.extend(make);
            shifting.settle(&mut steps, &from);
        }
    }
    shifting.weighing = group.map(|group| Weighing::towards(&service, group, &from, &shifting.unproven));
    // Where nothing serves there is no traffic to move in stages.
    let nothing = from.iter().all(|old| old.count == 0);
    for stage in stages(policy, desired, already, places.is_some(), nothing) {
        let left = if places.is_some() { stage.kept(desired, shifting.ceiling) } else { desired - stage.count };
        let target = stage_counts(&counts, &service, stage.count, left, &shifting.unproven);
        shifting.append(&mut steps, &counts, &target, stage.percent);
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
        names: ResourceNames::for_spec(spec),
        from,
        to: vec![to],
        steps,
        step_timeout: policy.step_timeout,
        set_up: SetUp::default(),
        adopt: false,
        settles: true,
        edition: EDITION,
    }
}

/// The stages that are still to come for a version that has so many tasks already: one that it stands at too, of which nobody
/// knows that its waits were passed.
fn stages(policy: &RolloutPolicy, desired: u32, already: u32, weighted: bool, nothing: bool) -> Vec<Stage> {
    if nothing {
        return vec![Stage::passed(desired, desired)];
    }
    let mut stages = if weighted { policy.weighted_stages(desired) } else { policy.stages(desired) };
    stages.retain(|stage| stage.count >= already || stage.count == desired);
    stages
}

/// What a project has once, in the order in which it is made.
fn set_up_steps(spec: &ProjectSpec, places: Option<&Places>) -> Vec<Step> {
    let rule = places.map(|places| Step::Rule { group: places.serving, settled: places.settled });
    let mut steps = vec![Step::SecurityGroup, Step::LoadBalancer];
    steps.extend(rule);
    steps.extend([
        Step::LaunchTemplate,
        Step::AutoScalingGroup { instances: spec.target.desired_count, max_instances: spec.target.max_instances },
        Step::Cluster,
    ]);
    steps
}

/// A look at the set-up alone, while that serves.
#[must_use]
pub fn look_at_set_up(spec: &ProjectSpec, serving: &[ServiceCount]) -> Plan {
    // No service has that name: only where the others are is asked for.
    let places = Places::of(spec.target.load_balancer_kind, "", serving);
    Plan {
        names: ResourceNames::for_spec(spec),
        from: Vec::new(),
        to: Vec::new(),
        steps: set_up_steps(spec, places.as_ref()),
        step_timeout: spec.rollout_policy.step_timeout,
        set_up: SetUp::Check,
        adopt: false,
        settles: false,
        edition: EDITION,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preflight { instances, .. } => write!(f, "see that there is room for {instances} instances"),
            Self::SecurityGroup => f.write_str("set up the security group"),
            Self::LoadBalancer => f.write_str("set up the load balancer"),
            Self::Rule { .. } => f.write_str("set up the rule of the load balancer"),
            Self::LaunchTemplate => f.write_str("set up the launch template"),
            Self::AutoScalingGroup { .. } => f.write_str("set up the auto-scaling group"),
            Self::Cluster => f.write_str("set up the cluster"),
            Self::TaskDefinition { version, .. } => write!(f, "register the task definition of {version}"),
            Self::Service { service, .. } => write!(f, "set up service {service}"),
            Self::Capacity { instances } => write!(f, "have {}", counted(*instances, "instance")),
            Self::Scale { service, desired, .. } => write!(f, "scale {service} to {desired}"),
            Self::Weigh { service, percent, .. } => write!(f, "send {percent}% of requests to {service}"),
            Self::Verify { service, healthy: 0, .. } => write!(f, "see {service} drained"),
            Self::Verify { service, healthy, at_most: true, .. } => {
                write!(f, "see no more than {} of {service}", counted(*healthy, "task"))
            }
            Self::Verify { service, healthy, .. } => {
                write!(f, "see {} of {service}", counted(*healthy, "healthy task"))
            }
            Self::Bake { service, duration, .. } => write!(f, "watch {service} for {} s", duration.as_secs()),
            Self::Gate { gate, .. } => write!(f, "pass gate {}", gate.name),
            Self::Hold => f.write_str("wait for a person to promote"),
            Self::ReturnCapacity { instances } => write!(f, "give empty instances back, keep {instances}"),
        }
    }
}

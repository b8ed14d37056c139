//! Plans and their steps.

use super::{
    ConvertError,
    drift::{set_up_from_proto, set_up_to_proto},
    duration_from_proto, duration_to_proto,
    gate::{gate_from_proto, gate_to_proto},
};
use crate::v1::{self, step::Action};
use brain_core::{
    names::{ResourceNames, TargetGroupNames},
    plan::{Plan, ServiceCount, Step},
    traffic::TargetGroup,
};
use std::time::Duration;

/// A plan, each step with its description.
#[must_use]
pub fn plan_to_proto(plan: &Plan) -> v1::Plan {
    // How its way back is planned, and what is known of counts, is the server's business.
    let Plan { names, from, to, steps, step_timeout, set_up, adopt, settles: _, edition: _ } = plan;
    v1::Plan {
        names: Some(names_to_proto(names)),
        from: from.iter().map(count_to_proto).collect(),
        to: to.iter().map(count_to_proto).collect(),
        steps: steps.iter().map(|step| step_to_proto(step, *step_timeout)).collect(),
        set_up: set_up_to_proto(*set_up).into(),
        adopt: *adopt,
    }
}

/// A plan as brain sent it.
pub fn plan_from_proto(plan: v1::Plan) -> Result<Plan, ConvertError> {
    let set_up = set_up_from_proto(plan.set_up());
    let v1::Plan { names, from, to, steps, set_up: _, adopt } = plan;
    let timeouts = steps.iter().filter_map(|step| step.timeout).map(duration_from_proto);
    Ok(Plan {
        step_timeout: timeouts.max().unwrap_or_default(),
        names: names_from_proto(names.ok_or_else(|| ConvertError::missing("plan.names"))?),
        from: from.into_iter().map(count_from_proto).collect(),
        to: to.into_iter().map(count_from_proto).collect(),
        steps: steps.into_iter().map(step_from_proto).collect::<Result<_, _>>()?,
        set_up,
        adopt,
        settles: false,
        edition: 0,
    })
}

/// Names of AWS resources.
#[must_use]
pub fn names_to_proto(names: &ResourceNames) -> v1::ResourceNames {
    let ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
        target_groups,
    } = names.clone();
    let (target_group_a, target_group_b) = target_groups.map(|groups| (groups.a, groups.b)).unwrap_or_default();
    v1::ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
        target_group_a,
        target_group_b,
    }
}

/// Names of AWS resources.
#[must_use]
pub fn names_from_proto(names: v1::ResourceNames) -> ResourceNames {
    let v1::ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
        target_group_a,
        target_group_b,
    } = names;
    let none = target_group_a.is_empty() || target_group_b.is_empty();
    let target_groups = (!none).then_some(TargetGroupNames { a: target_group_a, b: target_group_b });
    ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
        target_groups,
    }
}

/// A target group, or none.
pub(super) fn group_to_proto(group: Option<TargetGroup>) -> v1::TargetGroup {
    match group {
        None => v1::TargetGroup::Unspecified,
        Some(TargetGroup::A) => v1::TargetGroup::A,
        Some(TargetGroup::B) => v1::TargetGroup::B,
    }
}

/// A target group; one that this version does not know is none.
pub(super) fn group_from_proto(group: i32) -> Option<TargetGroup> {
    match v1::TargetGroup::try_from(group) {
        Ok(v1::TargetGroup::A) => Some(TargetGroup::A),
        Ok(v1::TargetGroup::B) => Some(TargetGroup::B),
        Ok(v1::TargetGroup::Unspecified) | Err(_) => None,
    }
}

fn group_required(group: i32) -> Result<TargetGroup, ConvertError> {
    group_from_proto(group).ok_or_else(|| ConvertError::missing("plan.steps.target_group"))
}

fn count_to_proto(count: &ServiceCount) -> v1::ServiceCount {
    let ServiceCount { service, version, count, known: _, group } = count.clone();
    v1::ServiceCount { service, version, count, target_group: group_to_proto(group).into() }
}

fn count_from_proto(count: v1::ServiceCount) -> ServiceCount {
    let v1::ServiceCount { service, version, count, target_group } = count;
    ServiceCount { service, version, count, known: None, group: group_from_proto(target_group) }
}

fn step_to_proto(step: &Step, timeout: Duration) -> v1::Step {
    let description = step.to_string();
    let action = match step.clone() {
        Step::Preflight { instances, max_instances, serving } => {
            Action::Preflight(v1::PreflightStep { instances, max_instances, serving })
        }
        Step::SecurityGroup => Action::SecurityGroup(v1::SecurityGroupStep {}),
        Step::LoadBalancer => Action::LoadBalancer(v1::LoadBalancerStep {}),
        Step::Rule { group, settled } => {
            Action::Rule(v1::RuleStep { target_group: group_to_proto(Some(group)).into(), settled })
        }
        Step::LaunchTemplate => Action::LaunchTemplate(v1::LaunchTemplateStep {}),
        Step::AutoScalingGroup { instances, max_instances } => {
            Action::AutoScalingGroup(v1::AutoScalingGroupStep { instances, max_instances })
        }
        Step::Cluster => Action::Cluster(v1::ClusterStep {}),
        Step::TaskDefinition { version, image } => Action::TaskDefinition(v1::TaskDefinitionStep { version, image }),
        Step::Service { service, version, image, client_token, group } => {
            let target_group = group_to_proto(group).into();
            Action::Service(v1::ServiceStep { service, version, image, client_token, target_group })
        }
        Step::Capacity { instances } => Action::Capacity(v1::CapacityStep { instances }),
        Step::Scale { service, desired, floor, idle } => Action::Scale(v1::ScaleStep { service, desired, floor, idle }),
        Step::Weigh { service, group, percent, healthy, follows_health } => {
            let target_group = group_to_proto(Some(group)).into();
            Action::Weigh(v1::WeighStep { service, target_group, percent, healthy, follows_health })
        }
        Step::Verify { service, healthy, max_task_failures, at_most } => {
            Action::Verify(v1::VerifyStep { service, healthy, max_task_failures, at_most })
        }
        Step::Bake { service, healthy, duration, max_task_failures } => {
            let duration = Some(duration_to_proto(duration));
            Action::Bake(v1::BakeStep { service, healthy, duration, max_task_failures })
        }
        Step::Gate { gate, new, old, max_task_failures } => {
            let gate = Some(gate_to_proto(&gate));
            Action::Gate(v1::GateStep { gate, service: new, old_services: old, max_task_failures })
        }
        Step::Hold => Action::Hold(v1::HoldStep {}),
        Step::ReturnCapacity { instances } => Action::ReturnCapacity(v1::ReturnCapacityStep { instances }),
    };
    v1::Step { action: Some(action), timeout: Some(duration_to_proto(timeout)), description }
}

fn step_from_proto(step: v1::Step) -> Result<Step, ConvertError> {
    let v1::Step { action, timeout: _, description } = step;
    // A newer server may plan steps that this agent does not know. It must not guess.
    let action = action.ok_or_else(|| {
        ConvertError::new("plan.steps.action", format!("\"{description}\" is no step that this version knows"))
    })?;
    Ok(match action {
        Action::Preflight(v1::PreflightStep { instances, max_instances, serving }) => {
            Step::Preflight { instances, max_instances, serving }
        }
        Action::SecurityGroup(v1::SecurityGroupStep {}) => Step::SecurityGroup,
        Action::LoadBalancer(v1::LoadBalancerStep {}) => Step::LoadBalancer,
        Action::Rule(v1::RuleStep { target_group, settled }) => {
            Step::Rule { group: group_required(target_group)?, settled }
        }
        Action::LaunchTemplate(v1::LaunchTemplateStep {}) => Step::LaunchTemplate,
        Action::AutoScalingGroup(v1::AutoScalingGroupStep { instances, max_instances }) => {
            Step::AutoScalingGroup { instances, max_instances }
        }
        Action::Cluster(v1::ClusterStep {}) => Step::Cluster,
        Action::TaskDefinition(v1::TaskDefinitionStep { version, image }) => Step::TaskDefinition { version, image },
        Action::Service(v1::ServiceStep { service, version, image, client_token, target_group }) => {
            Step::Service { service, version, image, client_token, group: group_from_proto(target_group) }
        }
        Action::Capacity(v1::CapacityStep { instances }) => Step::Capacity { instances },
        Action::Scale(v1::ScaleStep { service, desired, floor, idle }) => Step::Scale { service, desired, floor, idle },
        Action::Weigh(v1::WeighStep { service, target_group, percent, healthy, follows_health }) => {
            Step::Weigh { service, group: group_required(target_group)?, percent, healthy, follows_health }
        }
        Action::Verify(v1::VerifyStep { service, healthy, max_task_failures, at_most }) => {
            Step::Verify { service, healthy, max_task_failures, at_most }
        }
        Action::Bake(v1::BakeStep { service, healthy, duration, max_task_failures }) => {
            let duration = duration.map(duration_from_proto).unwrap_or_default();
            Step::Bake { service, healthy, duration, max_task_failures }
        }
        Action::Gate(v1::GateStep { gate, service, old_services, max_task_failures }) => {
            let gate = gate_from_proto(gate.ok_or_else(|| ConvertError::missing("plan.steps.gate"))?);
            let gate = gate.validate().map_err(|faults| ConvertError::new(&faults[0].field, &faults[0].description))?;
            Step::Gate { gate, new: service, old: old_services, max_task_failures }
        }
        Action::Hold(v1::HoldStep {}) => Step::Hold,
        Action::ReturnCapacity(v1::ReturnCapacityStep { instances }) => Step::ReturnCapacity { instances },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_weighted_requests_that_went_over_the_wire_are_the_same() {
        let group = TargetGroup::B;
        let (service, version, image) = ("s".to_owned(), "0.0.5".to_owned(), "i".to_owned());
        let steps = [
            Step::Rule { group, settled: true },
            Step::Weigh { service: service.clone(), group, percent: 10, healthy: 1, follows_health: true },
            Step::Service { service, version, image, client_token: "t".to_owned(), group: Some(group) },
        ];
        for step in steps {
            assert_eq!(step_from_proto(step_to_proto(&step, Duration::ZERO)), Ok(step));
        }
    }
}

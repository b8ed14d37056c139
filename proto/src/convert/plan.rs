//! Plans and their steps.

use super::{
    ConvertError,
    drift::{set_up_from_proto, set_up_to_proto},
    duration_from_proto, duration_to_proto,
    gate::{gate_from_proto, gate_to_proto},
};
use crate::v1::{self, step::Action};
use brain_core::{
    names::ResourceNames,
    plan::{Plan, ServiceCount, Step},
};
use std::time::Duration;

/// A plan, each step with its description.
#[must_use]
pub fn plan_to_proto(plan: &Plan) -> v1::Plan {
    // How its way back is planned, and what is known of counts, is the server's business.
    let Plan { names, from, to, steps, step_timeout, set_up, adopt, settles: _ } = plan;
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
    } = names.clone();
    v1::ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
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
    } = names;
    ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container,
    }
}

fn count_to_proto(count: &ServiceCount) -> v1::ServiceCount {
    let ServiceCount { service, version, count, known: _ } = count.clone();
    v1::ServiceCount { service, version, count }
}

fn count_from_proto(count: v1::ServiceCount) -> ServiceCount {
    let v1::ServiceCount { service, version, count } = count;
    ServiceCount { service, version, count, known: None }
}

fn step_to_proto(step: &Step, timeout: Duration) -> v1::Step {
    let description = step.to_string();
    let action = match step.clone() {
        Step::Preflight { instances, max_instances, serving } => {
            Action::Preflight(v1::PreflightStep { instances, max_instances, serving })
        }
        Step::SecurityGroup => Action::SecurityGroup(v1::SecurityGroupStep {}),
        Step::LoadBalancer => Action::LoadBalancer(v1::LoadBalancerStep {}),
        Step::LaunchTemplate => Action::LaunchTemplate(v1::LaunchTemplateStep {}),
        Step::AutoScalingGroup { instances, max_instances } => {
            Action::AutoScalingGroup(v1::AutoScalingGroupStep { instances, max_instances })
        }
        Step::Cluster => Action::Cluster(v1::ClusterStep {}),
        Step::TaskDefinition { version, image } => Action::TaskDefinition(v1::TaskDefinitionStep { version, image }),
        Step::Service { service, version, image, client_token } => {
            Action::Service(v1::ServiceStep { service, version, image, client_token })
        }
        Step::Capacity { instances } => Action::Capacity(v1::CapacityStep { instances }),
        Step::Scale { service, desired, floor, idle } => Action::Scale(v1::ScaleStep { service, desired, floor, idle }),
        Step::Verify { service, healthy, max_task_failures } => {
            Action::Verify(v1::VerifyStep { service, healthy, max_task_failures })
        }
        Step::Bake { service, healthy, duration, max_task_failures } => {
            let duration = Some(duration_to_proto(duration));
            Action::Bake(v1::BakeStep { service, healthy, duration, max_task_failures })
        }
        Step::Gate { gate, new, old } => {
            Action::Gate(v1::GateStep { gate: Some(gate_to_proto(&gate)), service: new, old_services: old })
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
        Action::LaunchTemplate(v1::LaunchTemplateStep {}) => Step::LaunchTemplate,
        Action::AutoScalingGroup(v1::AutoScalingGroupStep { instances, max_instances }) => {
            Step::AutoScalingGroup { instances, max_instances }
        }
        Action::Cluster(v1::ClusterStep {}) => Step::Cluster,
        Action::TaskDefinition(v1::TaskDefinitionStep { version, image }) => Step::TaskDefinition { version, image },
        Action::Service(v1::ServiceStep { service, version, image, client_token }) => {
            Step::Service { service, version, image, client_token }
        }
        Action::Capacity(v1::CapacityStep { instances }) => Step::Capacity { instances },
        Action::Scale(v1::ScaleStep { service, desired, floor, idle }) => Step::Scale { service, desired, floor, idle },
        Action::Verify(v1::VerifyStep { service, healthy, max_task_failures }) => {
            Step::Verify { service, healthy, max_task_failures }
        }
        Action::Bake(v1::BakeStep { service, healthy, duration, max_task_failures }) => {
            let duration = duration.map(duration_from_proto).unwrap_or_default();
            Step::Bake { service, healthy, duration, max_task_failures }
        }
        Action::Gate(v1::GateStep { gate, service, old_services }) => {
            let gate = gate_from_proto(gate.ok_or_else(|| ConvertError::missing("plan.steps.gate"))?);
            let gate = gate.validate().map_err(|faults| ConvertError::new(&faults[0].field, &faults[0].description))?;
            Step::Gate { gate, new: service, old: old_services }
        }
        Action::Hold(v1::HoldStep {}) => Step::Hold,
        Action::ReturnCapacity(v1::ReturnCapacityStep { instances }) => Step::ReturnCapacity { instances },
    })
}

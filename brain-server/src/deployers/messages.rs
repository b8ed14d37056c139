//! Messages to deployers, made from the projects' states.

use crate::project::Project;
use brain_core::{deployment::Deployment, names::ResourceNames, project::ProjectSpec};
use brain_process::trace;
use brain_proto::{
    convert::{duration_to_proto, names_to_proto, plan_to_proto, spec_to_proto, timestamp_to_proto},
    name,
    v1::{DeploymentAssignment, ObservedProject},
};
use std::time::Duration;

/// A deployment to carry out, from the step that comes next.
pub(super) fn assignment(project: &Project, deployment: &Deployment) -> DeploymentAssignment {
    let rollback = deployment.rollback.as_ref();
    let inner = project.read();
    let elapsed = deployment.counts_from.map_or(Duration::ZERO, |leased| deployment.step_elapsed(leased));
    DeploymentAssignment {
        deployment: name::deployment(&project.id, deployment.number),
        generation: deployment.generation,
        project: Some(spec_to_proto(&inner.state.spec)),
        plan: Some(plan_to_proto(deployment.active_plan())),
        rollback: rollback.is_some(),
        next_step: u32::try_from(deployment.cursor).unwrap_or(u32::MAX),
        step_elapsed: Some(duration_to_proto(elapsed)),
        create_time: Some(timestamp_to_proto(deployment.created)),
        made_resources: deployment.makes(),
        shift_time: deployment.shifted().map(timestamp_to_proto),
        goes_back: rollback.is_some() || deployment.back,
        keeps_definition: inner.state.comes_back_as_it_served(deployment),
        first_shift_time: deployment.first_shifted().map(timestamp_to_proto),
        watched: Some(duration_to_proto(deployment.watched())),
        // What the server does not export would leave a deployer's spans without the one above them.
        traceparent: if trace::is_on() { inner.state.place_of_plan(deployment).to_string() } else { String::new() },
    }
}

/// A project to observe, under no generation yet.
pub(super) fn observed(spec: &ProjectSpec, interval: Duration) -> ObservedProject {
    let target = &spec.target;
    ObservedProject {
        project: name::project(&spec.id),
        region: target.region.clone(),
        role_arn: target.role_arn.clone().unwrap_or_default(),
        names: Some(names_to_proto(&ResourceNames::for_spec(spec))),
        interval: Some(duration_to_proto(interval)),
        generation: 0,
    }
}

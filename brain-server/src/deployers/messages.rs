//! Messages to deployers, made from the projects' states.

use crate::{directory::Directory, project::Project};
use brain_core::{
    assignment::agent_for, deployment::Deployment, id::AgentName, names::ResourceNames, project::ProjectSpec,
};
use brain_proto::{
    convert::{duration_to_proto, names_to_proto, plan_to_proto, spec_to_proto, timestamp_to_proto},
    name,
    v1::{DeploymentAssignment, ObserveProjects, ObservedProject, deployer_service_connect_response::Message},
};
use std::{collections::BTreeMap, time::Duration};

/// A deployment to carry out, from the step that comes next.
pub(super) fn assignment(project: &Project, deployment: &Deployment) -> DeploymentAssignment {
    let rollback = deployment.rollback.as_ref();
    let elapsed = deployment.counts_from.map_or(Duration::ZERO, |leased| deployment.step_elapsed(leased));
    DeploymentAssignment {
        deployment: name::deployment(&project.id, deployment.number),
        generation: deployment.generation,
        project: Some(spec_to_proto(&project.read().state.spec)),
        plan: Some(plan_to_proto(deployment.active_plan())),
        rollback: rollback.is_some(),
        next_step: u32::try_from(deployment.cursor).unwrap_or(u32::MAX),
        step_elapsed: Some(duration_to_proto(elapsed)),
        create_time: Some(timestamp_to_proto(deployment.created)),
        made_resources: deployment.makes(),
        shift_time: deployment.shifted().map(timestamp_to_proto),
    }
}

/// For each deployer, the projects whose production it observes.
pub(super) fn observe_lists<'a>(
    directory: &Directory,
    agents: impl Iterator<Item = &'a AgentName> + Clone,
    interval: Duration,
) -> Vec<(AgentName, Message)> {
    let mut lists: BTreeMap<AgentName, Vec<ObservedProject>> =
        agents.clone().map(|agent| (agent.clone(), Vec::new())).collect();
    for project in directory.all() {
        let Some(agent) = agent_for(&project.id, agents.clone()) else { break };
        if let Some(list) = lists.get_mut(agent) {
            list.push(observed(&project.read().state.spec, interval));
        }
    }
    lists.into_iter().map(|(agent, projects)| (agent, Message::Observe(ObserveProjects { projects }))).collect()
}

fn observed(spec: &ProjectSpec, interval: Duration) -> ObservedProject {
    let target = &spec.target;
    ObservedProject {
        project: name::project(&spec.id),
        region: target.region.clone(),
        role_arn: target.role_arn.clone().unwrap_or_default(),
        names: Some(names_to_proto(&ResourceNames::for_spec(spec))),
        interval: Some(duration_to_proto(interval)),
    }
}

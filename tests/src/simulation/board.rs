//! What is stored of production, and so what the board says, held against what there is.

use brain_core::{
    production::{Production, ServiceState},
    state::ProjectState,
    time::Timestamp,
    traffic::{LoadBalancerKind, Route, TargetGroup},
};
use brain_deployer::{
    cloud::{Service, TAG_PROJECT, TAG_VERSION},
    simulated::World,
};

/// What is stored of a project's production otherwise than it is. For when nothing changes any more.
pub(super) fn differences(state: &ProjectState, world: &World) -> Vec<String> {
    let id = &state.spec.id;
    let mut differences = Vec::new();
    if let Some(unobserved) = &state.unobserved {
        differences.push(format!("{id} can be observed, and the board says: {}", unobserved.why));
    }
    let is = Production::new(services(state, world), Timestamp(0));
    // Of a project that was never deployed nothing is stored.
    let said = state.production.clone().unwrap_or_else(|| Production::new(Vec::new(), Timestamp(0)));
    if said.services != is.services || said.shares() != is.shares() {
        differences.push(format!("{id} runs {:?}, and the board says {:?}", is.services, said.services));
    }
    differences
}

/// The project's services that have a task or want one.
fn services(state: &ProjectState, world: &World) -> Vec<ServiceState> {
    let healthy = world.healthy();
    let mut services = Vec::new();
    for (name, service) in &world.services {
        let Service { tags, desired, running, pending, .. } = &service.shown;
        let ours = tags.get(TAG_PROJECT).is_some_and(|owner| owner == state.spec.id.as_str());
        if !ours || desired + running + pending == 0 {
            continue;
        }
        services.push(ServiceState {
            service: name.clone(),
            version: tags.get(TAG_VERSION).cloned().unwrap_or_default(),
            desired: *desired,
            running: *running,
            healthy: healthy.get(name).copied().unwrap_or(0),
            route: route(state, &service.shown, world),
        });
    }
    services
}

/// How requests come to a service, by the project's rule.
fn route(state: &ProjectState, service: &Service, world: &World) -> Option<Route> {
    if state.spec.target.load_balancer_kind == LoadBalancerKind::Classic {
        return None;
    }
    let name = service.target_group.as_ref()?;
    let group = TargetGroup::BOTH.into_iter().find(|group| name.ends_with(&format!("-tg-{group}")))?;
    let is_ours = |owner: &String| owner == state.spec.id.as_str();
    let mut rules = world.rules.values().map(|(_, rule)| rule);
    let rule = rules.find(|rule| rule.everything && rule.tags.get(TAG_PROJECT).is_some_and(is_ours));
    let weight = rule.and_then(|rule| rule.forward.get(name)).copied().unwrap_or_default();
    Some(Route { group, weight })
}

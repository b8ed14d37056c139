//! What must be so once a deployment is over, and once all has ended.

use super::Referee;
use crate::simulation::past;
use brain_core::{
    deployment::{Deployment, Phase},
    plan::ServiceCount,
    state::ProjectState,
};
use brain_deployer::{cloud::TAG_PROJECT, simulated::World};

impl Referee {
    /// A deployment has ended just now: counts are as it leaves them, whoever of the tasks is healthy.
    pub fn at_end_of_deployment(&self, world: &World) {
        let Some(state) = self.state() else { return };
        let Some(last) = state.deployments.back().filter(|last| last.phase.is_final()) else { return };
        let expected = self.expected(last, world);
        self.balancer_at_end(&state, expected.as_deref(), world);
        let Some(expected) = expected else { return };
        for (name, service) in &world.services {
            let count = count_of(&expected, name);
            let (phase, desired) = (last.phase, service.shown.desired);
            if desired != count {
                self.violated(format!("{phase:?}: {name} is to have {desired} tasks right after it, not {count}"));
            }
        }
    }

    /// After everything has ended: what must be so in the cloud.
    pub fn at_end(&self, world: &World) {
        let Some(state) = self.state() else { return self.violated("nothing is stored".to_owned()) };
        for deployment in state.deployments.iter().filter(|deployment| !deployment.phase.is_final()) {
            let waiting = deployment.current_step().map(ToString::to_string).unwrap_or_default();
            self.violated(format!("deployment {} has no end: it is at {waiting:?}", deployment.number));
        }
        self.nothing_doubled(world);
        for deployment in &state.deployments {
            self.no_gate_passed_wrongly(deployment, world);
        }
        self.nothing_half_made(&state, world);
        self.house_is_kept(&state, world);
        for (instance, _) in world.hosts.iter().filter(|(_, host)| !host.joined) {
            self.violated(format!("{instance} has never joined the cluster, and is still there"));
        }
        let Some(last) = state.deployments.back() else { return };
        let expected = self.expected(last, world);
        self.balancer_at_end(&state, expected.as_deref(), world);
        let Some(expected) = expected else { return };
        let healthy = world.healthy();
        for (name, service) in &world.services {
            let left = expected.iter().find(|count| count.service == *name);
            let count = count_of(&expected, name);
            let healthy = healthy.get(name).copied().unwrap_or(0);
            let desired = service.shown.desired;
            // Of what no deployment has succeeded with nobody knows whether it can be healthy.
            let as_it_was = left.is_some_and(|left| !left.known().proven) && healthy <= count;
            if desired != count || (healthy != count && !as_it_was) {
                let phase = last.phase;
                self.violated(format!("{phase:?}: {name} has {healthy} healthy tasks of {desired}, not of {count}"));
            }
        }
        let total: u32 = expected.iter().map(|count| count.count).sum();
        for (name, group) in &world.groups {
            let right = if total == 0 { state.spec.target.desired_count } else { total };
            if group.desired != right {
                self.violated(format!("{name} has {} instances, not {right}", group.desired));
            }
        }
    }

    /// What a deployment that is over must have left behind; `None`: whatever a person wanted to be left, or took away by hand.
    fn expected(&self, deployment: &Deployment, world: &World) -> Option<Vec<ServiceCount>> {
        let expected = match (deployment.phase, &deployment.rollback) {
            (Phase::Succeeded, _) => &deployment.plan.to,
            // Where both target groups were in use, one has all.
            (Phase::Failed, Some(rollback)) => &rollback.plan.to,
            (Phase::Failed, None) => &deployment.plan.from,
            // A rollback may be cancelled in its turn.
            (_, Some(rollback)) if deployment.cursor >= rollback.plan.steps.len() => &rollback.plan.to,
            _ => return None,
        };
        let gone = |service: &String| world.services.get(service).is_none_or(|service| service.deleted_ms.is_some());
        let inner = self.lock();
        let lost =
            |count: &ServiceCount| count.count > 0 && inner.deleted.contains(&count.service) && gone(&count.service);
        (!expected.iter().any(lost)).then(|| expected.clone())
    }

    fn nothing_doubled(&self, world: &World) {
        let active: Vec<&String> = world
            .definitions
            .iter()
            .filter(|(arn, _)| !world.deregistered.contains(arn))
            .map(|(_, definition)| &definition.image)
            .collect();
        let images: std::collections::BTreeSet<&&String> = active.iter().collect();
        if images.len() != active.len() {
            self.violated(format!("{} task definitions for {} images", active.len(), images.len()));
        }
        for template in world.templates.values().filter(|template| template.latest.0 > 1) {
            self.violated(format!("{} has {} versions", template.id, template.latest.0));
        }
    }

    /// A load balancer that was removed and made again is whole once a set-up is done.
    fn nothing_half_made(&self, state: &ProjectState, world: &World) {
        let set_up = state.deployments.back().is_some_and(Deployment::has_set_up);
        for (name, balancer) in world.balancers.iter().filter(|_| set_up) {
            if !balancer.draining || !balancer.cross_zone || balancer.health_check.is_empty() {
                self.violated(format!("{name} is half made"));
            }
        }
    }

    /// What may go is gone in the end, and what is not brain's is there.
    fn house_is_kept(&self, state: &ProjectState, world: &World) {
        if world.services.get(past::FOREIGN).is_none_or(|foreign| foreign.deleted_ms.is_some()) {
            self.violated("the service that is not brain's is gone".to_owned());
        }
        let Some(keep) = state.keep() else { return };
        for (name, service) in &world.services {
            let ours = service.shown.tags.contains_key(TAG_PROJECT) && service.deleted_ms.is_none();
            if ours && service.shown.desired == 0 && !keep.services.contains(name) {
                self.violated(format!("{name} was never removed"));
            }
        }
    }
}

fn count_of(counts: &[ServiceCount], service: &str) -> u32 {
    counts.iter().find(|count| count.service == service).map_or(0, |count| count.count)
}

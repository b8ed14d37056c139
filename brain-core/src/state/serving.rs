//! What serves, as a plan that is made now takes it.

use super::ProjectState;
use crate::{
    deployment::{Deployment, Phase},
    plan::{Known, ServiceCount},
    production::ServiceState,
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// Time after which no look is told any more that had begun before: calls are given up sooner, and so are deployers that cannot
/// reach the server.
const LOOK_WITHIN: Duration = Duration::from_mins(1);

impl ProjectState {
    /// What serves, by the deployment that ended last. Where that left doubts, what was observed since decides: counts, and
    /// which services that no deployment has succeeded with are healthy. So does it before the first deployment, for a project
    /// that was there before under this name, here or at a server that lost its store. Where production is not `current`,
    /// nothing decides: the plan settles what is doubtful first.
    ///
    /// A service that was seen to be gone, or to want no task, some time after that deployment serves nobody, whatever was left
    /// then: somebody has deleted or emptied it.
    #[must_use]
    pub fn serving_now(&self, current: bool) -> Vec<ServiceCount> {
        let mut serving = self.serving_as_left(current);
        if serving.len() > 1
            && let Some(production) = self.production.as_ref().filter(|_| current && self.unobserved.is_none())
        {
            mark_idle(&mut serving, &production.services);
        }
        if let Some(services) = self.observed_well_after_the_end().filter(|_| current && self.unobserved.is_none()) {
            let runs = |count: &ServiceCount| services.iter().any(|service| service.service == count.service);
            serving.retain(|count| count.known.is_some() || runs(count));
        }
        serving
    }

    /// Whether the service of a version that is brought back was last touched by a deployment that has succeeded: one that failed
    /// may have given it another task definition.
    #[must_use]
    pub fn comes_back_as_it_served(&self, deployment: &Deployment) -> bool {
        let before = |other: &&Deployment| {
            other.number < deployment.number && (&other.tag, &other.digest) == (&deployment.tag, &deployment.digest)
        };
        let last = self.deployments.iter().rev().find(before);
        deployment.back && last.is_some_and(|last| last.phase == Phase::Succeeded)
    }

    fn serving_as_left(&self, current: bool) -> Vec<ServiceCount> {
        let doubts = self.deployments.is_empty() || self.serving.iter().any(|count| count.known.is_some());
        let current = current && self.unobserved.is_none();
        match self.observed_since_the_end().filter(|_| doubts && current) {
            Some(services) => observed(&self.serving, services),
            None => self.serving.clone(),
        }
    }

    /// What serves now, as it can be known once nobody observes it any more.
    pub(super) fn serving_unseen(&self) -> Vec<ServiceCount> {
        let unseen = |count: ServiceCount| {
            let Known { most, proven, .. } = count.known();
            ServiceCount { known: Some(Known { least: 0, most, healthy: 0, proven, idle: false }), ..count }
        };
        self.serving_as_left(true).into_iter().map(unseen).collect()
    }

    /// Production as it was seen after the latest deployment had ended. Of what was seen before, nobody knows whether it shows
    /// all that the deployment has done.
    pub(super) fn observed_since_the_end(&self) -> Option<&[ServiceState]> {
        let ended: Option<Timestamp> = self.deployments.iter().rev().find_map(|deployment| deployment.ended);
        let production = self.production.as_ref()?;
        ended.is_none_or(|ended| production.since > ended).then_some(&production.services)
    }

    /// The same, but for what a look may show that had begun before the end.
    fn observed_well_after_the_end(&self) -> Option<&[ServiceState]> {
        let services = self.observed_since_the_end()?;
        let ended: Option<Timestamp> = self.deployments.iter().rev().find_map(|deployment| deployment.ended);
        let since = self.production.as_ref()?.since;
        ended.is_none_or(|ended| since.since(ended) >= LOOK_WITHIN).then_some(services)
    }
}

fn observed(serving: &[ServiceCount], services: &[ServiceState]) -> Vec<ServiceCount> {
    let mut seen: BTreeMap<&str, &ServiceState> =
        services.iter().map(|service| (service.service.as_str(), service)).collect();
    let mut counts = Vec::new();
    for count in serving {
        let (desired, healthy) = match seen.remove(count.service.as_str()) {
            Some(service) => (service.desired, service.healthy.min(service.desired)),
            // It has no task, and none is wanted.
            None => (0, 0),
        };
        let proven = count.known().proven;
        // A proven service comes back to health by itself.
        let healthy = if proven { desired } else { healthy };
        counts.push(match count.known {
            Some(_) => kept(count, Known { least: desired, most: desired, healthy, proven, idle: false }),
            None => count.clone(),
        });
    }
    // What no deployment has left, and yet runs for the project, gives way too.
    for service in seen.into_values().filter(|service| service.desired > 0) {
        let healthy = service.healthy.min(service.desired);
        let known = Known { least: service.desired, most: service.desired, healthy, proven: false, idle: false };
        let group = service.route.map(|route| route.group);
        let count = ServiceCount::of(service.service.clone(), service.version.clone(), known);
        counts.push(ServiceCount { group, ..count });
    }
    counts
}

/// Of several services, those that have tasks and none that is healthy. It says who gives way first; each step looks again.
fn mark_idle(serving: &mut [ServiceCount], services: &[ServiceState]) {
    let is_idle = |service: &ServiceState| service.desired > 0 && service.healthy == 0;
    for service in services.iter().filter(|service| is_idle(service)) {
        if let Some(count) = serving.iter_mut().find(|count| count.service == service.service) {
            count.known = Some(Known { idle: true, ..count.known() });
        }
    }
}

/// The service's count and what is known of it, which stays a doubt: a step that was under way may still be carried out.
fn kept(count: &ServiceCount, known: Known) -> ServiceCount {
    ServiceCount { count: known.most, known: Some(known), ..count.clone() }
}

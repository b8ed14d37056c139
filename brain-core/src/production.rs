//! Production: what is observed to run, and the shares that follow from it.

use crate::{
    time::Timestamp,
    traffic::{Route, TargetGroup},
    version::compare_tags,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One service, as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// ECS service name.
    pub service: String,
    /// Version that it runs.
    pub version: String,
    /// Tasks asked for.
    pub desired: u32,
    /// Tasks running.
    pub running: u32,
    /// Tasks running and in service behind the load balancer.
    pub healthy: u32,
    /// How requests come to it behind an application load balancer; `None` behind a classic one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
}

/// All services of a project, as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Production {
    /// The services with a task or a desired count, lowest version first.
    pub services: Vec<ServiceState>,
    /// When this state was first observed.
    pub since: Timestamp,
}

impl Production {
    /// Takes what was observed, in order of version.
    #[must_use]
    pub fn new(mut services: Vec<ServiceState>, since: Timestamp) -> Self {
        services.sort_by(|a, b| compare_tags(&a.version, &b.version).then_with(|| a.service.cmp(&b.service)));
        Self { services, since }
    }

    /// Percent of all requests for each service, in order: by its healthy tasks, and behind an application load balancer by
    /// the weight of its target group, which its healthy tasks share. They add up to 100 unless nothing is healthy: the
    /// points lost to rounding go to the largest remainders.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let parts = self.parts();
        let total: u128 = parts.iter().sum();
        if total == 0 {
            return vec![0; parts.len()];
        }
        let mut shares: Vec<u128> = parts.iter().map(|part| part * 100 / total).collect();
        let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
        by_remainder.sort_by_key(|index| std::cmp::Reverse(parts[*index] * 100 % total));
        let missing = usize::try_from(100 - shares.iter().sum::<u128>()).unwrap_or(0);
        for index in by_remainder.into_iter().take(missing) {
            shares[index] += 1;
        }
        shares.into_iter().map(|share| u32::try_from(share).unwrap_or(100)).collect()
    }

    /// Each service's part of what all have.
    fn parts(&self) -> Vec<u128> {
        let healthy_of = |group: TargetGroup| -> u128 {
            let inside = |service: &&ServiceState| service.route.is_some_and(|route| route.group == group);
            self.services.iter().filter(inside).map(|service| u128::from(service.healthy)).sum()
        };
        let (a, b) = (healthy_of(TargetGroup::A), healthy_of(TargetGroup::B));
        let routed = self.services.iter().any(|service| service.route.is_some());
        let part = |service: &ServiceState| match service.route {
            // What no group has behind it gets nothing, and a group without a healthy task serves nothing.
            Some(Route { group, weight }) => {
                let others = if group == TargetGroup::A { b } else { a };
                u128::from(weight) * u128::from(service.healthy) * others.max(1)
            }
            None if routed => 0,
            None => u128::from(service.healthy),
        };
        self.services.iter().map(part).collect()
    }

    /// `0.0.4: 67% 0.0.5: 33%`; empty when nothing is healthy. A version's services are added up.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut by_version: BTreeMap<&str, u32> = BTreeMap::new();
        for (service, share) in self.services.iter().zip(self.shares()) {
            *by_version.entry(&service.version).or_default() += share;
        }
        let mut versions: Vec<(&str, u32)> = by_version.into_iter().filter(|(_, share)| *share > 0).collect();
        versions.sort_by(|a, b| compare_tags(a.0, b.0));
        let texts: Vec<String> = versions.into_iter().map(|(version, share)| format!("{version}: {share}%")).collect();
        texts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn production(healthy: &[(&str, u32)]) -> Production {
        let service = |(version, healthy): &(&str, u32)| ServiceState {
            service: format!("user-ecs-service-{version}"),
            version: (*version).to_owned(),
            desired: *healthy,
            running: *healthy,
            healthy: *healthy,
            route: None,
        };
        Production::new(healthy.iter().map(service).collect(), Timestamp(0))
    }

    #[test]
    fn a_third_of_the_healthy_tasks_is_33_percent() {
        assert_eq!(production(&[("0.0.5", 1), ("0.0.4", 2)]).summary(), "0.0.4: 67% 0.0.5: 33%");
        assert_eq!(production(&[("0.0.4", 3), ("0.0.5", 0)]).summary(), "0.0.4: 100%");
        assert_eq!(production(&[("0.0.4", 0)]).summary(), "");
    }

    #[test]
    fn behind_weighted_groups_a_share_is_the_weight_of_those_that_are_healthy() {
        let routed = |healthy: &[(&str, u32, TargetGroup, u32)]| {
            let service = |(version, healthy, group, weight): &(&str, u32, TargetGroup, u32)| ServiceState {
                route: Some(Route { group: *group, weight: *weight }),
                ..production(&[(version, *healthy)]).services.remove(0)
            };
            Production::new(healthy.iter().map(service).collect(), Timestamp(0)).summary()
        };
        let (a, b) = (TargetGroup::A, TargetGroup::B);
        assert_eq!(routed(&[("0.0.4", 3, a, 90), ("0.0.5", 1, b, 10)]), "0.0.4: 90% 0.0.5: 10%");
        assert_eq!(routed(&[("0.0.4", 3, a, 100), ("0.0.5", 1, b, 0)]), "0.0.4: 100%");
        assert_eq!(routed(&[("0.0.4", 3, a, 90), ("0.0.5", 0, b, 10)]), "0.0.4: 100%", "nothing answers there");
        assert_eq!(
            routed(&[("0.0.3", 1, a, 50), ("0.0.4", 3, a, 50), ("0.0.5", 1, b, 50)]),
            "0.0.3: 13% 0.0.4: 37% 0.0.5: 50%"
        );
    }

    proptest! {
        #[test]
        fn shares_add_up_to_a_hundred(healthy in proptest::collection::vec(0u32..2000, 1..8)) {
            let named: Vec<(String, u32)> = healthy.iter().enumerate().map(|(i, n)| (format!("0.0.{i}"), *n)).collect();
            let pairs: Vec<(&str, u32)> = named.iter().map(|(name, n)| (name.as_str(), *n)).collect();
            let sum: u32 = production(&pairs).shares().iter().sum();
            prop_assert_eq!(sum, if healthy.iter().sum::<u32>() == 0 { 0 } else { 100 });
        }
    }
}

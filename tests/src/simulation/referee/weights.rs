//! What must be so behind an application load balancer: requests go only to tasks that carry them, in the end all of them to
//! who has won, and what is not brain's stays.

use super::{Inner, Referee, floor::Standing};
use crate::simulation::weights;
use brain_core::{plan::ServiceCount, state::ProjectState, traffic::LoadBalancerKind};
use brain_deployer::{
    cloud::{Forward, RequestRule, TAG_PROJECT},
    simulated::{Act, World},
};
use std::collections::BTreeMap;

/// Who could answer requests when something is done.
struct Carriers {
    standing: Standing,
    /// Healthy tasks that all requests need.
    floor: u32,
    /// Tasks that are wanted.
    desired: u32,
}

impl Carriers {
    fn now(inner: &Inner, world: &World, now: u128) -> Option<Self> {
        let desired = inner.state.as_ref()?.spec.target.desired_count;
        Some(Self { standing: inner.standing(world, now), floor: inner.floor, desired })
    }

    /// Whether so many tasks are enough for that part of the requests. A hundredth of a request is nothing: percents are whole.
    fn carry(&self, tasks: u32, percent: u32) -> bool {
        percent == 0 || tasks * 100 + self.desired >= percent * self.floor
    }

    /// What is wrong with requests that are sent elsewhere than `before`.
    fn sent(&self, world: &World, before: &Forward, after: &Forward) -> Option<String> {
        let gains = after.keys().find(|group| percent(after, group) > percent(before, group))?;
        let loses = after.keys().find(|group| percent(after, group) < percent(before, group));
        let Standing { may, sure } = &self.standing;
        let (share, tasks) = (percent(after, gains), within(gains, may, world));
        if tasks == 0 {
            return Some(format!("{share}% of requests are sent to {gains}, which has no healthy task"));
        }
        // Who could not carry its part before is helped by any that goes elsewhere.
        let relieved = loses.is_some_and(|group| !self.carry(within(group, sure, world), percent(before, group)));
        let floor = self.floor;
        let overloads = !self.carry(tasks, share) && !relieved;
        overloads.then(|| format!("{share}% of requests are sent to {gains}: {tasks} healthy, floor {floor}"))
    }

    /// What is wrong with a service that is lowered, while its group has a part of the requests.
    fn lowered(&self, world: &World, service: &str, desired: u32) -> Option<String> {
        let group = world.services.get(service)?.shown.target_group.as_ref()?;
        let Standing { may, sure } = &self.standing;
        let own = may.get(service).copied().unwrap_or(0);
        let after = within(group, may, world) - own.saturating_sub(desired);
        let share = percent(&ours(world).next()?.forward, group);
        let floor = self.floor;
        let takes = sure.get(service).is_some_and(|sure| *sure > desired);
        let overloads = takes && !self.carry(after, share);
        overloads.then(|| format!("{service} is lowered to {desired} with {share}% of requests: floor {floor}"))
    }
}

/// Tasks in a target group, of these.
fn within(group: &str, tasks: &BTreeMap<String, u32>, world: &World) -> u32 {
    let inside = |service: &String| {
        world.services.get(service).is_some_and(|service| service.shown.target_group.as_deref() == Some(group))
    };
    tasks.iter().filter(|(service, _)| inside(service)).map(|(_, count)| count).sum()
}

/// The part of the requests that a rule sends to a group.
fn percent(forward: &Forward, group: &str) -> u32 {
    let all: u32 = forward.values().sum();
    forward.get(group).copied().unwrap_or(0) * 100 / all.max(1)
}

fn ours(world: &World) -> impl Iterator<Item = &RequestRule> {
    world.rules.values().map(|(_, rule)| rule).filter(|rule| rule.tags.contains_key(TAG_PROJECT))
}

impl Referee {
    /// Whether an act leaves requests with tasks that carry them.
    pub(super) fn check_weights(&self, act: &Act, world: &World) {
        let now = self.begun.elapsed().as_millis();
        let Some(carriers) = Carriers::now(&self.lock(), world, now) else { return };
        let wrong = match act {
            Act::SetForward { rule, forward } => {
                let before = world.rules.get(rule).map(|(_, rule)| rule.forward.clone()).unwrap_or_default();
                carriers.sent(world, &before, forward)
            }
            Act::SetDesired { service, desired } => carriers.lowered(world, service, *desired),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    /// What must be so of the load balancer once all has ended and `expected` is left; `None`: what a person wanted to be left.
    pub(super) fn balancer_at_end(&self, state: &ProjectState, expected: Option<&[ServiceCount]>, world: &World) {
        if state.spec.target.load_balancer_kind == LoadBalancerKind::Classic {
            return;
        }
        if weights::somebodys_rule_has_changed(world) {
            self.violated("the rule that is not brain's has changed".to_owned());
        }
        let (balancers, groups) = (world.applications.len(), world.targets.len());
        let (fronts, rules) = (world.fronts.len(), ours(world).count());
        let found = format!("{balancers} load balancers, {groups} target groups, {fronts} listeners, {rules} rules");
        if balancers > 1 || groups > 2 || fronts > 1 || rules > 1 || !world.balancers.is_empty() {
            self.violated(format!("there are {found}"));
        }
        let mut winners = expected.unwrap_or_default().iter().filter(|count| count.count > 0);
        let (Some(winner), None) = (winners.next(), winners.next()) else { return };
        let group = world.services.get(&winner.service).and_then(|service| service.shown.target_group.as_ref());
        let (Some(group), Some(rule)) = (group, ours(world).next()) else {
            return self.violated(format!("{} is not behind {found}", winner.service));
        };
        if percent(&rule.forward, group) != 100 || !rule.everything {
            self.violated(format!(
                "{} has won and is in {group}, and requests go to {:?}",
                winner.service, rule.forward
            ));
        }
    }
}

/// The resource that an act makes or changes in set-up, and whether it is there. A second of two equal acts that make it
/// changes nothing.
pub(super) fn set_up(act: &Act, world: &World) -> Option<(bool, String)> {
    let (changes, there, name) = match act {
        Act::CreateApplication { name, .. } => {
            (false, world.applications.contains_key(name), format!("load balancer {name}"))
        }
        Act::CreateTargets(new) => (false, world.targets.contains_key(&new.name), format!("target group {}", new.name)),
        Act::SetTargetCheck { name, .. } | Act::SetTargetDraining { name, .. } => {
            (true, true, format!("target group {name}"))
        }
        Act::CreateFront { balancer, .. } => {
            let there = world.fronts.values().any(|(owner, _)| owner == balancer);
            (false, there, format!("listener of {balancer}"))
        }
        Act::SetFront { front, .. } => (true, true, format!("listener of {}", world.fronts.get(front)?.0)),
        Act::DeleteFront { front } => (true, true, format!("load balancer {}", world.fronts.get(front)?.0)),
        Act::SetApplicationGroups { arn, .. } | Act::SetApplicationSubnets { arn, .. } => {
            let balancer = world.applications.iter().find(|(_, balancer)| balancer.arn == *arn)?;
            (true, true, format!("load balancer {}", balancer.0))
        }
        Act::CreateRule { front, .. } => {
            (false, ours(world).next().is_some(), format!("rule of {}", world.fronts.get(front)?.0))
        }
        _ => return None,
    };
    (changes || !there).then_some((changes, name))
}

//! How requests move where they are weighted: which target group each service is in, and the weights that go with counts.
//!
//! There are two groups, so two versions can be told apart. The new version takes the group that nobody is in; where both
//! are in use, by a deployment that was left in the midst, one side first gives way to the other. Weight comes to a group
//! only after its tasks were seen healthy, unless nobody else is, and leaves one before its tasks are taken away.

use super::{ServiceCount, Step};
use crate::{
    shift::Counts,
    traffic::{LoadBalancerKind, TargetGroup},
};
use std::collections::{BTreeMap, BTreeSet};

/// Which way requests move.
#[derive(Debug, Clone)]
pub(super) struct Weighing {
    /// The groups of the services that have one.
    groups: BTreeMap<String, TargetGroup>,
    /// The service that gains, by which a step is told, and its group.
    service: String,
    group: TargetGroup,
    /// Whether nobody waits for the health of those that gain: no deployment has succeeded with any.
    unsure: bool,
}

/// Where the new version goes, and who gives way before.
pub(super) struct Places {
    /// The group of the new version.
    pub(super) new: TargetGroup,
    /// Those that stay until the new version takes over, where both groups are in use.
    pub(super) keeps: Option<ServiceCount>,
    /// The group that a new rule sends everything to.
    pub(super) serving: TargetGroup,
    /// Whether that group has all there is, for certain.
    pub(super) settled: bool,
}

/// The group of a service that may have tasks.
fn in_use(count: &ServiceCount) -> Option<TargetGroup> {
    count.group.filter(|_| count.count > 0 || count.known().most > 0)
}

/// Tasks of which it is certain that they are there and were seen healthy.
fn sure(count: &ServiceCount) -> u32 {
    let known = count.known();
    known.least.min(known.healthy)
}

/// The one that keeps the traffic when only one can: proven, then with the most healthy tasks.
fn best<'a>(from: impl Iterator<Item = &'a ServiceCount>) -> Option<&'a ServiceCount> {
    let routed = from.filter(|count| in_use(count).is_some());
    // Of equal ones the first.
    routed.min_by_key(|count| std::cmp::Reverse((count.known().proven, sure(count), count.count)))
}

impl Places {
    /// Where `service` goes; `None` behind a classic load balancer, which knows no groups.
    pub(super) fn of(kind: LoadBalancerKind, service: &str, from: &[ServiceCount]) -> Option<Self> {
        if kind == LoadBalancerKind::Classic {
            return None;
        }
        let own = from.iter().find(|count| count.service == service).and_then(in_use);
        let used: BTreeSet<TargetGroup> = from.iter().filter_map(in_use).collect();
        let best = best(from.iter());
        let serving = best.and_then(|best| best.group).unwrap_or(TargetGroup::A);
        let (new, keeps) = match (own, used.len()) {
            // It goes on where it is.
            (Some(own), _) => (own, None),
            (None, 0) => (TargetGroup::A, None),
            (None, 1) => (serving.other(), None),
            (None, _) => (serving.other(), best.cloned()),
        };
        let settled = used.len() < 2 && from.iter().all(|count| count.known.is_none());
        Some(Self { new, keeps, serving, settled })
    }
}

/// What a way back restores: where both groups are in use, one side with the tasks of both, as many as are wanted.
pub(super) fn restored(to: Vec<ServiceCount>, failed: &str, desired: u32) -> Vec<ServiceCount> {
    let used: BTreeSet<TargetGroup> = to.iter().filter_map(in_use).collect();
    let others = || to.iter().filter(|count| count.service != failed);
    let Some(kept) = best(others()).or_else(|| best(to.iter())).filter(|_| used.len() > 1) else { return to };
    let total: u32 = to.iter().map(|count| count.count).sum();
    let count = kept.count.max(total.min(desired));
    vec![ServiceCount { count, ..kept.clone() }]
}

impl Weighing {
    /// Requests move to `service` in `group`. `from` and `to` are the services that there are and will be.
    pub(super) fn towards(service: &str, group: TargetGroup, known: &[ServiceCount], unproven: &[String]) -> Self {
        let mut groups: BTreeMap<String, TargetGroup> =
            known.iter().filter_map(|count| Some((count.service.clone(), count.group?))).collect();
        groups.insert(service.to_owned(), group);
        let unsure = unproven.iter().any(|other| other == service);
        Self { groups, service: service.to_owned(), group, unsure }
    }

    /// Requests move back to what serves in `to`; `None` where nothing did, or nobody is in a group.
    pub(super) fn back_to(to: &[ServiceCount], from: &[ServiceCount], unproven: &[String]) -> Option<Self> {
        let best = best(to.iter())?;
        Some(Self::towards(&best.service, best.group?, &[from, to].concat(), unproven))
    }

    /// Tasks in the gaining group, and in the other one.
    fn sides(&self, counts: &Counts) -> (u32, u32) {
        let mut sides = (0, 0);
        for (service, count) in counts {
            match self.groups.get(service) {
                Some(group) if *group == self.group => sides.0 += count,
                Some(_) => sides.1 += count,
                None => {}
            }
        }
        sides
    }

    /// Whether a service is in the group that requests move away from.
    pub(super) fn loses(&self, service: &str) -> bool {
        self.groups.get(service).is_some_and(|group| *group != self.group)
    }

    /// What the gaining group has when so many tasks are left: as much as they are of all, and `share` at most. `None` as
    /// long as it has no task.
    pub(super) fn part(&self, counts: &Counts, share: u32) -> Option<(u32, u32)> {
        let (own, others) = self.sides(counts);
        let part = u64::from(own) * 100 / u64::from(own + others).max(1);
        (own > 0).then(|| (share.min(u32::try_from(part).unwrap_or(100)), own))
    }

    /// Requests to the gaining group: `percent` of them, once so many tasks of it are `healthy`.
    pub(super) fn weigh(&self, steps: &mut Vec<Step>, percent: u32, healthy: u32) {
        self.push(steps, percent, healthy, self.unsure);
    }

    /// The first of all: requests go away from what gives way, as far as the tasks that were seen healthy on the gaining side
    /// may carry them, which is all of them once they are `floor`. What is not known is not waited for.
    pub(super) fn relieve(&self, steps: &mut Vec<Step>, from: &[ServiceCount], floor: u32) {
        let sides = from.iter().map(|count| (count.service.clone(), sure(count))).collect();
        let (own, others) = self.sides(&sides);
        if own == 0 {
            return;
        }
        let percent = if own >= floor || others == 0 { 100 } else { own * 100 / floor };
        self.push(steps, percent, 1, true);
    }

    fn push(&self, steps: &mut Vec<Step>, percent: u32, healthy: u32, follows_health: bool) {
        let same = |step: &Step| matches!(step, Step::Weigh { group, percent: set, .. } if *group == self.group && *set == percent);
        if steps.iter().rev().find(|step| matches!(step, Step::Weigh { .. })).is_some_and(same) {
            return;
        }
        let (service, group) = (self.service.clone(), self.group);
        steps.push(Step::Weigh { service, group, percent, healthy, follows_health });
    }
}

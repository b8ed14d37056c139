//! What is known of the services after a part of a plan, and what the next plan takes as its beginning.
//!
//! A plan that was left in the midst leaves doubts. The step that was under way may have been carried out or not, so that a
//! count has two readings; and tasks may never have been seen healthy. Both are kept with the count.

use super::{Plan, ServiceCount, Step};
use crate::shift::Counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a service's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The least that its desired count may be.
    pub least: u32,
    /// The most.
    pub most: u32,
    /// Tasks that were seen healthy, at most at a time. Of more, nothing is known.
    pub healthy: u32,
    /// Whether a deployment has succeeded with it, so that its tasks may be waited for.
    pub proven: bool,
    /// Whether none of its tasks was healthy when it was last seen: whatever it served before, it gives way first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

impl Known {
    /// That of a service which has just been made.
    const NEW: Self = Self { least: 0, most: 0, healthy: 0, proven: false, idle: false };

    fn certain(count: u32) -> Self {
        Self { least: count, most: count, healthy: count, proven: true, idle: false }
    }

    fn is_certain(self) -> bool {
        self.proven && self.least == self.most && self.healthy >= self.most
    }

    /// After its count was set to `desired`; `done`: for certain. A proven service whose tasks come back is `trusted` with
    /// all of them.
    fn scaled(&mut self, desired: u32, done: bool, trusted: bool) {
        if trusted {
            self.healthy = self.healthy.max(desired);
        }
        let (least, most) = if done { (desired, desired) } else { (self.least, self.most) };
        (self.least, self.most) = (least.min(desired), most.max(desired));
    }

    /// After so many tasks, and no other, were seen healthy.
    fn seen(&mut self, healthy: u32) {
        (self.least, self.most) = (healthy, healthy);
        self.healthy = self.healthy.max(healthy);
    }
}

impl ServiceCount {
    /// What is known of it.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known.unwrap_or_else(|| Known::certain(self.count))
    }

    /// A service of which that is known, counted by the most that it may have.
    #[must_use]
    pub fn of(service: String, version: String, known: Known) -> Self {
        Self { service, version, count: known.most, known: (!known.is_certain()).then_some(known), group: None }
    }
}

/// What serves after the plan's steps before `cursor` were carried out and that one was begun: by the most that each service
/// may have, with what is known of it.
#[must_use]
pub fn serving_at(plan: &Plan, cursor: usize) -> Vec<ServiceCount> {
    let named: BTreeMap<&str, &ServiceCount> =
        plan.from.iter().chain(&plan.to).map(|count| (count.service.as_str(), count)).collect();
    let count = |(service, known): (String, Known)| {
        let named = named.get(service.as_str());
        let version = named.map(|named| named.version.clone()).unwrap_or_default();
        let group = named.and_then(|named| named.group);
        ServiceCount { group, ..ServiceCount::of(service, version, known) }
    };
    known_at(plan, cursor).into_iter().map(count).collect()
}

fn known_at(plan: &Plan, cursor: usize) -> BTreeMap<String, Known> {
    let goal = plan.steps.iter().find_map(|step| match step {
        Step::Service { service, .. } => Some(service),
        _ => None,
    });
    let mut all: BTreeMap<String, Known> =
        // Who served nobody then may do so by now.
        plan.from.iter().map(|count| (count.service.clone(), Known { idle: false, ..count.known() })).collect();
    for (index, step) in plan.steps.iter().enumerate().take(cursor + 1) {
        let done = index < cursor;
        match step {
            Step::Service { service, .. } => {
                all.entry(service.clone()).or_insert(Known::NEW);
            }
            Step::Scale { service, desired, .. } => {
                let known = all.entry(service.clone()).or_insert(Known::NEW);
                let trusted = known.proven && goal != Some(service);
                known.scaled(*desired, done, trusted);
            }
            // That it is no more its step has set, and of health it says nothing.
            Step::Verify { at_most: true, .. } => {}
            Step::Verify { service, healthy, .. } | Step::Bake { service, healthy, .. } if done => {
                all.entry(service.clone()).or_insert(Known::NEW).seen(*healthy);
            }
            _ => {}
        }
    }
    all
}

/// What a plan takes as its beginning, and sets first: tasks that were never seen healthy go where the floor is kept without
/// them. Where it may not be, nobody knows that they do not serve, and they stay. Services that a deployment has succeeded
/// with keep the most that they may have.
pub(super) fn beginning(serving: &[ServiceCount], floor: u32) -> Vec<ServiceCount> {
    let sure = |count: &ServiceCount| count.known().least.min(count.known().healthy);
    let spare = serving.iter().map(sure).sum::<u32>() >= floor;
    let begin = |count: &ServiceCount| {
        let known = count.known();
        let kept = if spare { known.healthy.min(known.most) } else { known.most };
        ServiceCount { count: kept, ..count.clone() }
    };
    serving.iter().filter(|count| count.count > 0 || count.known.is_some()).map(begin).collect()
}

pub(super) fn counts_of(services: &[ServiceCount]) -> Counts {
    services.iter().map(|service| (service.service.clone(), service.count)).collect()
}

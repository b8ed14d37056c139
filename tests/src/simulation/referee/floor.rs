//! The floor: no count is lowered while healthy tasks that go with it are needed. Whose health brain did not take away it need
//! not give back.

use super::{Inner, Referee};
use brain_core::state::ProjectState;
use brain_deployer::simulated::{TaskStage, World};
use std::collections::{BTreeMap, BTreeSet};

/// Time for which a task that was lost to a fault still counts as healthy: what brain saw may be so old.
const SEEN_MS: u128 = 12_000;

/// Tasks that were seen healthy.
#[derive(Debug, Default)]
pub(super) struct Health {
    tasks: BTreeMap<String, Seen>,
    /// When the latest look was.
    looked: u128,
}

#[derive(Debug)]
struct Seen {
    service: String,
    /// Since when it was healthy at every look.
    since: u128,
    last: u128,
}

impl Health {
    /// The world is so now; a person has deleted these services.
    pub(super) fn look(&mut self, world: &World, deleted: &BTreeSet<String>, now: u128) {
        for (id, task) in &world.tasks {
            if task.healthy && task.stage == TaskStage::Running {
                match self.tasks.get_mut(id) {
                    Some(seen) => {
                        if seen.last < self.looked {
                            seen.since = now;
                        }
                        seen.last = now;
                    }
                    None => {
                        let seen = Seen { service: task.service.clone(), since: now, last: now };
                        self.tasks.insert(id.clone(), seen);
                    }
                }
            }
            // Who was scaled in is no longer counted; who was lost is, for a while.
            let scaled_in = task.stopped.as_ref().is_some_and(|stopped| stopped.reason.starts_with("Scaling activity"));
            if scaled_in && !deleted.contains(&task.service) {
                self.tasks.remove(id);
            }
        }
        self.looked = now;
    }

    /// Healthy tasks of each service, as brain may have seen them.
    fn seen(&self, now: u128) -> BTreeMap<String, u32> {
        self.count(|seen| now.saturating_sub(seen.last) <= SEEN_MS)
    }

    /// Healthy tasks of each service, as brain must have seen them.
    fn sure(&self, now: u128) -> BTreeMap<String, u32> {
        self.count(|seen| seen.last == self.looked && now.saturating_sub(seen.since) >= SEEN_MS)
    }

    fn count(&self, those: impl Fn(&Seen) -> bool) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for seen in self.tasks.values().filter(|seen| those(seen)) {
            *counts.entry(seen.service.clone()).or_insert(0) += 1;
        }
        counts
    }
}

/// Tasks by service that carry requests when something is done.
pub(super) struct Standing {
    /// Those that may: healthy ones, as brain may have seen them, and of a sick version that does not just arrive all that are
    /// wanted, since nobody has to wait for their health.
    pub(super) may: BTreeMap<String, u32>,
    /// Those that certainly do: healthy ones, as brain must have seen them.
    pub(super) sure: BTreeMap<String, u32>,
}

impl Inner {
    /// How things stand when something is done.
    pub(super) fn standing(&self, world: &World, now: u128) -> Standing {
        let mut may = self.health.seen(now);
        let active = self.state.as_ref().and_then(ProjectState::active);
        let arrives = |name: &String| active.is_some_and(|active| active.plan.to.iter().any(|to| to.service == *name));
        for name in self.sick.iter().filter(|name| !arrives(name)) {
            let wanted = world.services.get(name).map_or(0, |service| service.shown.desired);
            let count = may.entry(name.clone()).or_default();
            *count = wanted.max(*count);
        }
        Standing { may, sure: self.health.sure(now) }
    }
}

impl Referee {
    pub(super) fn check_floor(&self, service: &str, desired: u32, world: &World) {
        let now = self.begun.elapsed().as_millis();
        let what = {
            let inner = self.lock();
            let Standing { mut may, sure } = inner.standing(world, now);
            let mine = may.remove(service).unwrap_or(0);
            let after = may.values().sum::<u32>() + mine.min(desired);
            let current = world.services.get(service).map_or(0, |service| service.shown.desired);
            let takes = desired < current && sure.get(service).is_some_and(|sure| desired < *sure);
            let falls = takes && after < inner.floor;
            falls.then(|| format!("{service} is lowered to {desired}: {after} healthy, floor {}", inner.floor))
        };
        if let Some(what) = what {
            self.violated(what);
        }
    }
}

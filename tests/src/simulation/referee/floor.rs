//! The floor: no count is lowered while healthy tasks that go with it are needed. Whose health brain did not take away it need
//! not give back.

use super::{Inner, Referee, lowering::View};
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
    /// Whether its service was lowered since.
    scaled_in: bool,
}

impl Seen {
    fn is_recent(&self, now: u128) -> bool {
        now.saturating_sub(self.last) <= SEEN_MS
    }
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
                        let service = task.service.clone();
                        self.tasks.insert(id.clone(), Seen { service, since: now, last: now, scaled_in: false });
                    }
                }
            }
            // Who was scaled in is no longer counted; who was lost is, for a while.
            let scaled_in = task.stopped.as_ref().is_some_and(|stopped| stopped.reason.starts_with("Scaling activity"));
            if scaled_in
                && !deleted.contains(&task.service)
                && let Some(seen) = self.tasks.get_mut(id)
            {
                seen.scaled_in = true;
            }
        }
        self.looked = now;
    }

    /// Healthy tasks of each service, as brain may have seen them.
    fn seen(&self, now: u128) -> BTreeMap<String, u32> {
        self.count(|seen| !seen.scaled_in && seen.is_recent(now))
    }

    /// Healthy tasks of each service, as brain must have seen them.
    fn sure(&self, now: u128) -> BTreeMap<String, u32> {
        self.count(|seen| !seen.scaled_in && seen.last == self.looked && now.saturating_sub(seen.since) >= SEEN_MS)
    }

    /// What a deployer that lowers a service may have seen. A look may show what the lowering before has taken, too.
    fn view(&self, service: &str, now: u128) -> View {
        let mut may = self.count(|seen| seen.is_recent(now));
        let own = may.remove(service).unwrap_or(0);
        let sure = self.sure(now).get(service).copied().unwrap_or(0);
        View { own: sure..=own, others: may.values().sum() }
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
    /// wanted. By counts alone the policy's floor has to hold with those too: a plan cannot know who will be sick. How long
    /// its steps wait for the health of those is judged beside it, by the rule in `lowering.rs`.
    pub(super) may: BTreeMap<String, u32>,
    /// Those that certainly do: healthy ones, as brain must have seen them.
    pub(super) sure: BTreeMap<String, u32>,
}

impl Inner {
    /// How things stand when something is done.
    pub(super) fn standing(&self, world: &World, now: u128) -> Standing {
        let mut may = self.health.seen(now);
        let active = self.state.as_deref().and_then(ProjectState::active);
        let arrives = |name: &String| active.is_some_and(|active| active.plan.to.iter().any(|to| to.service == *name));
        for name in self.sick.iter().filter(|name| !arrives(name)) {
            let wanted = world.services.get(name).map_or(0, |service| service.shown.desired);
            let count = may.entry(name.clone()).or_default();
            *count = wanted.max(*count);
        }
        Standing { may, sure: self.health.sure(now) }
    }

    /// What is wrong with a lowering by the policy's floor.
    fn below_floor(&self, service: &str, before: u32, desired: u32, standing: Standing) -> Option<String> {
        let Standing { mut may, sure } = standing;
        let mine = may.remove(service).unwrap_or(0);
        let after = may.values().sum::<u32>() + mine.min(desired);
        let takes = desired < before && sure.get(service).is_some_and(|sure| desired < *sure);
        let falls = takes && after < self.floor;
        falls.then(|| format!("{service} is lowered to {desired}: {after} healthy, floor {}", self.floor))
    }
}

impl Referee {
    /// Whether a lowering keeps to the policy's floor, and to the rule of its step.
    pub(super) fn check_floor(&self, service: &str, desired: u32, world: &World) {
        let now = self.begun.elapsed().as_millis();
        let before = world.services.get(service).map_or(0, |service| service.shown.desired);
        let wrong = {
            let inner = self.lock();
            let by_floor = inner.below_floor(service, before, desired, inner.standing(world, now));
            [by_floor, inner.lowerings.wrong(service, before, desired, &inner.health.view(service, now))]
        };
        for wrong in wrong.into_iter().flatten() {
            self.violated(wrong);
        }
    }
}

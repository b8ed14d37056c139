//! Lowerings, held against the rule of the step that asks for them, with the tasks that were really healthy.

use super::presence::{Place, place};
use brain_core::{deployment::Deployment, plan::Step, project::ProjectSpec};
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};
use tokio::time::Instant;

/// Time for which a version that is sick in part is given to recover.
const RECOVERS_WITHIN: Duration = Duration::from_mins(1);
/// A deployer takes its step to have begun so long before it was told, and its clock is not the referee's.
const MARGIN: Duration = Duration::from_secs(5);

/// The steps that have asked for counts, the latest of each service.
#[derive(Debug, Default)]
pub(super) struct Lowerings(BTreeMap<String, Asked>);

#[derive(Debug)]
struct Asked {
    place: Place,
    desired: u32,
    floor: u32,
    idle: bool,
    recovers_within: Duration,
    /// When the step began.
    at: Instant,
}

/// Healthy tasks, as a deployer may have seen them: its looks may be old by some seconds.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Of the service that is lowered, from those that it must have seen to those that it may have.
    pub(super) own: RangeInclusive<u32>,
    /// Of all others, at the most.
    pub(super) others: u32,
}

impl Lowerings {
    /// A deployment is so from now on.
    pub(super) fn committed(&mut self, deployment: &Deployment, spec: &ProjectSpec) {
        let Some(Step::Scale { service, desired, floor, idle }) = deployment.current_step() else { return };
        let (place, known) = (place(deployment), self.0.get(service));
        if known.is_some_and(|known| known.place == place) {
            return;
        }
        // Whoever does not know yet that the deployment has begun this anew may still act by its begin before.
        let again = known.filter(|known| known.place.0 == place.0 && known.desired == *desired);
        let at = again.map_or_else(Instant::now, |known| known.at);
        let (desired, floor, idle) = (*desired, *floor, *idle);
        let recovers_within = RECOVERS_WITHIN.min(spec.rollout_policy.step_timeout / 2);
        self.0.insert(service.clone(), Asked { place, desired, floor, idle, recovers_within, at });
    }

    /// What is wrong with a service that is lowered from `before`. What no step has asked for is not judged here. Whatever a
    /// deployer may have seen that lets the tasks go excuses it.
    pub(super) fn wrong(&self, service: &str, before: u32, desired: u32, view: &View) -> Option<String> {
        let asked = self.0.get(service).filter(|asked| asked.desired == desired && desired < before)?;
        let View { own, others } = view;
        let faults: Option<Vec<&str>> = own.clone().map(|own| asked.fault(before, own, *others)).collect();
        let (fault, floor) = (faults?.pop()?, asked.floor);
        Some(format!(
            "{service} is lowered to {desired}, and {fault}: {own:?} of {before} healthy, {others} others, floor {floor}"
        ))
    }
}

impl Asked {
    /// What keeps the tasks while so many of the service are healthy, and so many of the others.
    ///
    /// The rule (`scale` in the deployer's `step/shift.rs`): what leaves the floor may go. Below it, other services' healthy
    /// tasks and all that the service keeps have to be as many as the floor; of a service that may be idle, only while any of
    /// its tasks is healthy. The service keeps those that ECS chooses, which may be just the sick ones: so where only a part is
    /// healthy, and those that are sure to be left are fewer than the floor, the rest is given a minute of the step to recover.
    /// After that, or where none is healthy, nobody waits for them: a sick version is not to keep the next one away. Then the
    /// floor may be broken, and then alone.
    fn fault(&self, before: u32, own: u32, others: u32) -> Option<&'static str> {
        let Self { desired, floor, idle, .. } = *self;
        let serves = own > 0;
        if desired >= floor || (idle && !serves) {
            return None;
        }
        if others + desired < floor {
            return Some("too few are left");
        }
        let left = own.saturating_sub(before - desired);
        let waits = serves && own < before && !idle && others + left < floor;
        let early = self.at.elapsed() + MARGIN < self.recovers_within;
        (waits && early).then_some("its sick tasks had no minute to recover")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    /// Whether three tasks may become two with a floor of three.
    fn may_go(lowerings: &Lowerings, own: RangeInclusive<u32>, others: u32) -> bool {
        lowerings.wrong("old", 3, 2, &View { own, others }).is_none()
    }

    fn asked(idle: bool) -> Lowerings {
        let (place, recovers_within, at) = ((1, 0, 0), RECOVERS_WITHIN, Instant::now());
        Lowerings([("old".to_owned(), Asked { place, desired: 2, floor: 3, idle, recovers_within, at })].into())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sick_in_part_has_a_minute_and_what_serves_is_replaced_first() {
        let asked = asked(false);
        assert!(may_go(&asked, 3..=3, 1));
        assert!(!may_go(&asked, 3..=3, 0), "nobody replaces it");
        assert!(!may_go(&asked, 1..=2, 1), "it may recover");
        assert!(may_go(&asked, 2..=3, 1), "all may have been seen healthy");
        assert!(may_go(&asked, 0..=2, 1), "none may have been");
        assert!(may_go(&asked, 2..=2, 2), "enough are left, whichever go");
        advance(RECOVERS_WITHIN).await;
        assert!(may_go(&asked, 1..=2, 1));
        assert!(!may_go(&asked, 1..=2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_idle_goes_at_once_unless_it_serves() {
        let asked = asked(true);
        assert!(may_go(&asked, 0..=0, 0));
        assert!(!may_go(&asked, 1..=1, 0));
        assert!(may_go(&asked, 1..=1, 1));
        assert_eq!(asked.wrong("old", 3, 1, &View { own: 3..=3, others: 0 }), None, "no step has asked for it");
    }
}

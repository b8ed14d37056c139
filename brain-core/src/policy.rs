//! Rollout policies: how traffic moves, and the arithmetic from percentages to counts.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest time a step may be given.
pub const STEP_TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// Most steps of a policy: one for each percent.
pub const STEPS_MAX: usize = 100;
/// Most instances a policy may add.
pub const SURGE_MAX: u32 = 100;

/// How traffic moves from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    /// Percent of instances on the new version after each step, rising to 100; empty: one instance at a time.
    pub step_percents: Vec<u8>,
    /// Percent of the desired count, rounded up, that stays healthy throughout.
    pub floor_percent: u8,
    /// Instances added while traffic shifts.
    pub surge: u32,
    /// Longest time of a step.
    pub step_timeout: Duration,
    /// Task failures in a step after which the new version has failed.
    pub max_task_failures: u32,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            step_percents: Vec::new(),
            floor_percent: 100,
            surge: 1,
            // A new host boots, joins, pulls an image and passes its health checks in a few minutes.
            step_timeout: Duration::from_mins(10),
            // As many as ECS's own circuit breaker tolerates at the least.
            max_task_failures: 3,
        }
    }
}

impl RolloutPolicy {
    /// Healthy tasks below which a shift of `desired` tasks never goes.
    #[must_use]
    pub fn floor(&self, desired: u32) -> u32 {
        let percent = u64::from(self.floor_percent.min(100));
        u32::try_from((u64::from(desired) * percent).div_ceil(100)).unwrap_or(desired)
    }

    /// Most tasks, of all versions, at any moment of the shift.
    #[must_use]
    pub fn ceiling(&self, desired: u32) -> u32 {
        desired.saturating_add(self.surge)
    }

    /// Tasks of the new version after each step: rising, without repeats, the last one `desired`.
    #[must_use]
    pub fn stages(&self, desired: u32) -> Vec<u32> {
        if self.step_percents.is_empty() {
            return (1..=desired).collect();
        }
        let mut stages: Vec<u32> = self.step_percents.iter().map(|percent| count_of(*percent, desired)).collect();
        stages.push(desired);
        stages.dedup();
        stages
    }
}

/// Tasks that come nearest to `percent` of `desired`, but at least one, and all of them only at 100 percent (a canary of
/// 99 percent leaves one instance on the old version).
fn count_of(percent: u8, desired: u32) -> u32 {
    if percent >= 100 {
        return desired;
    }
    let nearest = (u64::from(desired) * u64::from(percent) + 50) / 100;
    let most = desired.saturating_sub(1).max(1);
    u32::try_from(nearest).unwrap_or(desired).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(step_percents: Vec<u8>) -> RolloutPolicy {
        RolloutPolicy { step_percents, ..RolloutPolicy::default() }
    }

    #[test]
    fn one_by_one_is_the_default() {
        assert_eq!(policy(vec![]).stages(3), [1, 2, 3]);
    }

    #[test]
    fn percentages_become_counts() {
        assert_eq!(policy(vec![33, 67, 100]).stages(3), [1, 2, 3]);
        assert_eq!(policy(vec![1, 50, 99, 100]).stages(10), [1, 5, 9, 10]);
        assert_eq!(policy(vec![10, 100]).stages(1), [1]);
    }

    proptest! {
        #[test]
        fn stages_rise_and_end_at_full_strength(
            desired in 1u32..1000,
            mut percents in proptest::collection::vec(1u8..=100, 0..20),
        ) {
            percents.sort_unstable();
            let stages = policy(percents).stages(desired);
            prop_assert!(stages.windows(2).all(|pair| pair[0] < pair[1]), "{stages:?}");
            prop_assert!(stages[0] >= 1);
            prop_assert_eq!(*stages.last().unwrap(), desired);
        }

        #[test]
        fn the_floor_is_rounded_up_and_never_above_the_desired_count(desired in 1u32..1000, percent in 0u8..=100) {
            let floor = RolloutPolicy { floor_percent: percent, ..RolloutPolicy::default() }.floor(desired);
            prop_assert!(floor <= desired);
            prop_assert!(u64::from(floor) * 100 >= u64::from(desired) * u64::from(percent));
            prop_assert!(floor == 0 || u64::from(floor - 1) * 100 < u64::from(desired) * u64::from(percent));
        }
    }
}

//! Rollout policies: how traffic moves, and the arithmetic from percentages to counts.

use crate::gate::Gate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest time a step may be given.
pub const STEP_TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// Longest bake of a step.
pub const BAKE_MAX: Duration = Duration::from_hours(24 * 7);
/// Most steps of a policy: one for each percent.
pub const STEPS_MAX: usize = 100;
/// Old services that stay for an instant way back, unless the policy says otherwise; and at most.
pub const KEEP_SERVICES: (u32, u32) = (3, 100);
/// Task definition revisions that stay, unless the policy says otherwise; and at most.
pub const KEEP_TASK_DEFINITIONS: (u32, u32) = (10, 1_000);
/// Most instances a policy may add: as many as a project may have, so that all of a new version can stand beside the old.
pub const SURGE_MAX: u32 = 1_000;

/// How traffic moves from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    /// The steps, their sizes rising; empty: one instance at a time. After the last one the whole rest moves.
    #[serde(rename = "step_percents")]
    pub steps: Vec<RolloutStep>,
    /// Percent of the desired count, rounded up, that stays healthy throughout.
    pub floor_percent: u8,
    /// Instances added while traffic shifts.
    pub surge: u32,
    /// Longest time of a step, its bake aside.
    pub step_timeout: Duration,
    /// Task failures in a step after which the new version has failed.
    pub max_task_failures: u32,
    /// What becomes of a deployment whose step failed.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Old services that stay at no task, the newest that were deployed successfully: an instant way back.
    #[serde(default = "keep_services")]
    pub keep_services: u32,
    /// Newest revisions of the task definition that stay.
    #[serde(default = "keep_task_definitions")]
    pub keep_task_definitions: u32,
}

/// Policies that were stored before they said what is kept.
fn keep_services() -> u32 {
    KEEP_SERVICES.0
}

fn keep_task_definitions() -> u32 {
    KEEP_TASK_DEFINITIONS.0
}

/// One step of a policy: how far traffic moves, and what has to be so before it moves on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStep")]
pub struct RolloutStep {
    /// Share of the new version.
    pub size: Size,
    /// Time for which the new version serves its share, at whose end all of it is healthy. Tasks that fail in it count.
    pub bake: Duration,
    /// What then has to be seen of the new version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Whether a person has to promote it.
    pub hold: bool,
}

/// Share of the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// Percent of the desired count, 1 to 100.
    Percent(u8),
    /// Instances.
    Count(u32),
}

/// What becomes of a deployment whose step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFailure {
    /// The old version comes back.
    #[default]
    RollBack,
    /// Everything stays as it is until a person decides.
    Pause,
}

/// Policies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// One instance at a time. The default.
    OneByOne,
    /// A tenth, then a half, each watched for some minutes.
    Canary,
    /// All of the new version beside the old one, then the old one goes.
    BlueGreen,
    /// The old version goes and the new one comes: an interruption, and no instance more.
    AllAtOnce,
}

/// A step as it was stored: once a bare percentage.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredStep {
    Percent(u8),
    Step {
        size: Size,
        #[serde(default)]
        bake: Duration,
        #[serde(default)]
        gates: Vec<Gate>,
        #[serde(default)]
        hold: bool,
    },
}

impl From<StoredStep> for RolloutStep {
    fn from(stored: StoredStep) -> Self {
        match stored {
            StoredStep::Percent(percent) => Self::to(Size::Percent(percent)),
            StoredStep::Step { size, bake, gates, hold } => Self { size, bake, gates, hold },
        }
    }
}

impl RolloutStep {
    /// A step without a wait.
    #[must_use]
    pub fn to(size: Size) -> Self {
        Self { size, bake: Duration::ZERO, gates: Vec::new(), hold: false }
    }

    /// Whether something has to be so before traffic moves on.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.hold || !self.bake.is_zero() || !self.gates.is_empty()
    }
}

/// Where a shift stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Tasks of the new version.
    pub count: u32,
    /// Percent of the requests that are the new version's, where those are weighted.
    pub percent: u32,
    /// See [`RolloutStep`].
    pub bake: Duration,
    /// See [`RolloutStep`].
    pub gates: Vec<Gate>,
    /// See [`RolloutStep`].
    pub hold: bool,
}

impl Stage {
    /// A stage that waits for nothing.
    pub(crate) fn passed(count: u32, desired: u32) -> Self {
        let percent = percent_of(count, desired);
        Self { count, percent, bake: Duration::ZERO, gates: Vec::new(), hold: false }
    }

    /// Whether it waits for nothing.
    fn passes(&self) -> bool {
        self.bake.is_zero() && self.gates.is_empty() && !self.hold
    }

    /// Tasks that the old versions keep in it where requests are weighted: enough for the rest of the requests, as far as
    /// `most` tasks of all versions allow.
    #[must_use]
    pub fn kept(&self, desired: u32, most: u32) -> u32 {
        let rest = u64::from(desired) * u64::from(100 - self.percent.min(100));
        let rest = u32::try_from(rest.div_ceil(100)).unwrap_or(desired);
        rest.min(most.saturating_sub(self.count))
    }
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            floor_percent: 100,
            surge: 1,
            // A new host boots, joins, pulls an image and passes its health checks in a few minutes.
            step_timeout: Duration::from_mins(10),
            // As many as ECS's own circuit breaker tolerates at the least.
            max_task_failures: 3,
            on_failure: OnFailure::RollBack,
            keep_services: keep_services(),
            keep_task_definitions: keep_task_definitions(),
        }
    }
}

impl RolloutPolicy {
    /// The policy of that name, for so many tasks.
    #[must_use]
    pub fn preset(preset: Preset, desired: u32) -> Self {
        let watched = |percent| RolloutStep { bake: Duration::from_mins(5), ..RolloutStep::to(Size::Percent(percent)) };
        let all = vec![RolloutStep::to(Size::Percent(100))];
        let default = Self::default();
        match preset {
            Preset::OneByOne => default,
            Preset::Canary => Self { steps: vec![watched(10), watched(50)], ..default },
            Preset::BlueGreen => Self { steps: all, surge: desired, ..default },
            Preset::AllAtOnce => Self { steps: all, floor_percent: 0, surge: 0, ..default },
        }
    }

    /// The same floor and surge, without a stop on the way: for the way back.
    #[must_use]
    pub fn straight(self) -> Self {
        Self { steps: vec![RolloutStep::to(Size::Percent(100))], ..self }
    }

    /// Healthy tasks below which a shift of `desired` tasks never goes.
    #[must_use]
    pub fn floor(&self, desired: u32) -> u32 {
        let percent = u64::from(self.floor_percent.min(100));
        u32::try_from((u64::from(desired) * percent).div_ceil(100)).unwrap_or(desired)
    }

    /// Task failures in all steps together after which the new version has failed: half of the tasks, as ECS's own circuit
    /// breaker has it for long deployments, and never fewer than in one step.
    #[must_use]
    pub fn max_task_failures_in_all(&self, desired: u32) -> u32 {
        self.max_task_failures.max(desired.div_ceil(2))
    }

    /// Most tasks, of all versions, at any moment of the shift.
    #[must_use]
    pub fn ceiling(&self, desired: u32) -> u32 {
        desired.saturating_add(self.surge)
    }

    /// The stages of a shift of `desired` tasks: rising, the last one at full strength. Of steps that come to the same
    /// count, those that wait for nothing fall away.
    #[must_use]
    pub fn stages(&self, desired: u32) -> Vec<Stage> {
        self.stages_by(desired, |size| (size.count(desired), size.percent(desired)), |stage| stage.count)
    }

    /// The same where requests are weighted: each step sends exactly its percentage, to tasks enough for it. Only where the
    /// surge leaves no room for one task more are they as many as without weights.
    #[must_use]
    pub fn weighted_stages(&self, desired: u32) -> Vec<Stage> {
        let sized = |size: Size| match size {
            Size::Count(_) => (size.count(desired), size.percent(desired)),
            // The last task of the old version takes all of the rest.
            Size::Percent(..100) if desired == 1 && self.surge == 0 => (desired, 100),
            Size::Percent(percent) if self.surge > 0 => {
                let enough = (u64::from(desired) * u64::from(percent.min(100))).div_ceil(100);
                (u32::try_from(enough).unwrap_or(desired).clamp(1, desired.max(1)), size.percent(desired))
            }
            Size::Percent(_) => (size.count(desired), size.percent(desired)),
        };
        self.stages_by(desired, sized, |stage| stage.percent)
    }

    /// The stages of steps that are so large; `place` tells which of two is further.
    fn stages_by(&self, desired: u32, sized: impl Fn(Size) -> (u32, u32), place: impl Fn(&Stage) -> u32) -> Vec<Stage> {
        let pass = |count| Stage::passed(count, desired);
        if self.steps.is_empty() {
            return (1..=desired).map(pass).collect();
        }
        let mut stages: Vec<Stage> = Vec::new();
        for RolloutStep { size, bake, gates, hold } in &self.steps {
            let (count, percent) = sized(*size);
            // A count and a percentage that come to nearly the same may be in either order.
            let (least, share) = stages.last().map_or((0, 0), |last| (last.count, last.percent));
            let (count, percent) = (count.max(least), percent.max(share));
            let stage = Stage { count, percent, bake: *bake, gates: gates.clone(), hold: *hold };
            stages.pop_if(|last| place(last) == place(&stage) && last.passes());
            if stages.last().is_none_or(|last| place(last) < place(&stage) || !stage.passes()) {
                stages.push(stage);
            }
        }
        let full = pass(desired);
        if stages.last().is_none_or(|last| place(last) < place(&full)) {
            stages.push(full);
        }
        stages
    }
}

/// Percent, to the nearest one, and neither none nor all for a part.
fn percent_of(count: u32, desired: u32) -> u32 {
    if count >= desired {
        return 100;
    }
    let nearest = (u64::from(count) * 200 + u64::from(desired)) / (u64::from(desired) * 2);
    u32::try_from(nearest).unwrap_or(100).clamp(1, 99)
}

impl Size {
    /// Percent of the requests.
    fn percent(self, desired: u32) -> u32 {
        match self {
            Self::Count(count) => percent_of(count.clamp(1, desired.max(1)), desired),
            Self::Percent(percent) => u32::from(percent).clamp(1, 100),
        }
    }

    /// Tasks of `desired`: at least one, and all of them only at 100 percent (a canary of 99 percent leaves one instance on
    /// the old version).
    #[must_use]
    pub fn count(self, desired: u32) -> u32 {
        match self {
            Self::Count(count) => count.clamp(1, desired.max(1)),
            Self::Percent(100..) => desired,
            Self::Percent(percent) => {
                let nearest = (u64::from(desired) * u64::from(percent) + 50) / 100;
                let most = desired.saturating_sub(1).max(1);
                u32::try_from(nearest).unwrap_or(desired).clamp(1, most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(percents: Vec<u8>) -> RolloutPolicy {
        let steps = percents.into_iter().map(|percent| RolloutStep::to(Size::Percent(percent))).collect();
        RolloutPolicy { steps, ..RolloutPolicy::default() }
    }

    fn counts(policy: &RolloutPolicy, desired: u32) -> Vec<u32> {
        policy.stages(desired).iter().map(|stage| stage.count).collect()
    }

    #[test]
    fn one_by_one_is_the_default() {
        assert_eq!(counts(&policy(vec![]), 3), [1, 2, 3]);
    }

    #[test]
    fn percentages_become_counts() {
        assert_eq!(counts(&policy(vec![33, 67, 100]), 3), [1, 2, 3]);
        assert_eq!(counts(&policy(vec![1, 50, 99, 100]), 10), [1, 5, 9, 10]);
        assert_eq!(counts(&policy(vec![10, 100]), 1), [1]);
        assert_eq!(counts(&policy(vec![10]), 3), [1, 3]);
    }

    #[test]
    fn a_step_that_waits_is_kept_where_it_moves_nothing() {
        let baked = RolloutStep { bake: Duration::from_secs(60), ..RolloutStep::to(Size::Percent(10)) };
        let steps = vec![baked, RolloutStep::to(Size::Count(1)), RolloutStep::to(Size::Percent(40))];
        let stages = RolloutPolicy { steps, ..RolloutPolicy::default() }.stages(3);
        let seen: Vec<(u32, u64)> = stages.iter().map(|stage| (stage.count, stage.bake.as_secs())).collect();
        assert_eq!(seen, [(1, 60), (3, 0)]);
    }

    #[test]
    fn weighted_stages_have_exact_percentages_and_tasks_enough_for_both_sides() {
        let seen = |policy: &RolloutPolicy, desired| -> Vec<(u32, u32, u32)> {
            let stages = policy.weighted_stages(desired);
            let kept = |stage: &Stage| stage.kept(desired, policy.ceiling(desired));
            stages.iter().map(|stage| (stage.percent, stage.count, kept(stage))).collect()
        };
        assert_eq!(
            seen(&policy(vec![10, 25, 50, 99]), 3),
            [(10, 1, 3), (25, 1, 3), (50, 2, 2), (99, 3, 1), (100, 3, 0)]
        );
        assert_eq!(seen(&policy(vec![10]), 1), [(10, 1, 1), (100, 1, 0)]);
        assert_eq!(seen(&policy(vec![]), 3), [(33, 1, 3), (67, 2, 1), (100, 3, 0)]);
        let tight = RolloutPolicy { surge: 0, floor_percent: 50, ..policy(vec![10, 50]) };
        assert_eq!(seen(&tight, 3), [(10, 1, 2), (50, 2, 1), (100, 3, 0)], "no task more than are wanted");
        assert_eq!(seen(&RolloutPolicy { floor_percent: 0, ..tight }, 1), [(100, 1, 0)]);
    }

    #[test]
    fn presets_keep_what_their_names_promise() {
        let canary = RolloutPolicy::preset(Preset::Canary, 10);
        assert_eq!(counts(&canary, 10), [1, 5, 10]);
        assert_eq!(RolloutPolicy::preset(Preset::BlueGreen, 10).ceiling(10), 20);
        let at_once = RolloutPolicy::preset(Preset::AllAtOnce, 10);
        assert_eq!((at_once.floor(10), at_once.ceiling(10), counts(&at_once, 10)), (0, 10, vec![10]));
    }

    proptest! {
        #[test]
        fn stages_rise_and_end_at_full_strength(
            desired in 1u32..1000,
            mut percents in proptest::collection::vec(1u8..=100, 0..20),
        ) {
            percents.sort_unstable();
            let stages = counts(&policy(percents), desired);
            prop_assert!(stages.windows(2).all(|pair| pair[0] <= pair[1]), "{stages:?}");
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

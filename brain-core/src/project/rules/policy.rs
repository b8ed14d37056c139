//! The rules of a rollout policy.

use super::Faults;
use crate::{
    gate::Gate,
    policy::{
        BAKE_MAX, KEEP_SERVICES, KEEP_TASK_DEFINITIONS, Preset, RolloutPolicy, RolloutStep, STEP_TIMEOUT_MAX,
        STEPS_MAX, SURGE_MAX, Size,
    },
    project::{RolloutPolicyDraft, RolloutStepDraft, SizeDraft},
};
use std::time::Duration;

pub(super) mod gate;

/// Checks a policy for a target of so many tasks, and fills in what was left out.
pub(super) fn check(faults: &mut Faults, draft: RolloutPolicyDraft, desired: u32) -> RolloutPolicy {
    let RolloutPolicyDraft {
        preset,
        steps,
        floor_percent,
        surge,
        step_timeout_ms,
        max_task_failures,
        on_failure,
        keep_services,
        keep_task_definitions,
    } = draft;
    let default = RolloutPolicy::preset(preset.unwrap_or(Preset::OneByOne), desired);
    let floor = floor_percent.unwrap_or(u32::from(default.floor_percent));
    let step_timeout = match step_timeout_ms {
        None => default.step_timeout,
        Some(ms) => {
            let timeout = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
            let ok = timeout >= Duration::from_secs(1) && timeout <= STEP_TIMEOUT_MAX;
            faults.require(ok, "rollout_policy.step_timeout", "must be 1 s to 24 h");
            timeout
        }
    };
    let services = keep_services.unwrap_or(default.keep_services);
    let definitions = keep_task_definitions.unwrap_or(default.keep_task_definitions);
    let failures = if max_task_failures == 0 { default.max_task_failures } else { max_task_failures };
    let policy = RolloutPolicy {
        steps: if steps.is_empty() { default.steps } else { check_steps(faults, steps, desired) },
        floor_percent: u8::try_from(faults.within("rollout_policy.floor_percent", floor, 0, 100)).unwrap_or(100),
        surge: faults.within("rollout_policy.surge", surge.unwrap_or(default.surge), 0, SURGE_MAX),
        step_timeout,
        max_task_failures: faults.within("rollout_policy.max_task_failures", failures, 1, 100),
        on_failure: on_failure.unwrap_or(default.on_failure),
        keep_services: faults.within("rollout_policy.keep_services", services, 0, KEEP_SERVICES.1),
        keep_task_definitions: faults.within(
            "rollout_policy.keep_task_definitions",
            definitions,
            1,
            KEEP_TASK_DEFINITIONS.1,
        ),
    };
    faults.require(
        policy.ceiling(desired) > policy.floor(desired),
        "rollout_policy.floor_percent",
        "leaves no room to move: lower the floor or allow a surge",
    );
    policy
}

fn check_steps(faults: &mut Faults, drafts: Vec<RolloutStepDraft>, desired: u32) -> Vec<RolloutStep> {
    faults.require(drafts.len() <= STEPS_MAX, "rollout_policy.steps", "must be at most 100");
    let mut steps: Vec<RolloutStep> = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate().take(STEPS_MAX) {
        let field = |name: &str| format!("rollout_policy.steps[{index}].{name}");
        let size = match draft.size {
            Some(SizeDraft::Percent(percent)) => {
                let percent = faults.within(&field("percent"), percent, 1, 100);
                Size::Percent(u8::try_from(percent).unwrap_or(100))
            }
            Some(SizeDraft::Count(count)) => Size::Count(faults.within(&field("count"), count, 1, desired)),
            None => {
                faults.add(&field("percent"), "or count is required: how far traffic moves");
                continue;
            }
        };
        if steps.last().is_some_and(|last| !rises(last.size, size, desired)) {
            faults.add(&field("percent"), "must be more than the step before: traffic moves forward only");
        }
        let bake = u64::try_from(draft.bake_ms).map(Duration::from_millis).ok().filter(|bake| *bake <= BAKE_MAX);
        if bake.is_none() {
            faults.add(&field("bake"), "must be 0 s to 7 days");
        }
        let gates = gate::check(faults, &field("gates"), draft.gates);
        if size.count(desired) == desired && gates.iter().any(Gate::needs_old) {
            let why = "compare with the old version, of which nothing is left at this step: compare at one before, or leave \
                       \"old\" out of the condition";
            faults.add(&field("gates"), why);
        }
        steps.push(RolloutStep { size, bake: bake.unwrap_or_default(), gates, hold: draft.hold });
    }
    steps
}

/// Whether traffic moves forward. Two percentages may come to the same count where there are few tasks.
fn rises(from: Size, to: Size, desired: u32) -> bool {
    match (from, to) {
        (Size::Percent(from), Size::Percent(to)) => from < to,
        _ => from.count(desired) < to.count(desired),
    }
}

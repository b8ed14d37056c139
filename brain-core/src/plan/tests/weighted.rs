//! Plans behind an application load balancer.

use super::*;
use crate::{
    policy::Preset,
    traffic::{LoadBalancerKind, Weights},
};
use std::collections::BTreeMap;

const NEW: &str = "user-ecs-service-0-0-5-a1a1a1a1";

fn weighted(desired: u32) -> ProjectSpec {
    let mut spec = spec(desired);
    spec.target.load_balancer_kind = LoadBalancerKind::Application;
    spec
}

fn in_group(service: &str, count: u32, group: TargetGroup) -> ServiceCount {
    ServiceCount { service: service.into(), version: "0.0.4".into(), count, known: None, group: Some(group) }
}

fn unproven(service: &str, count: u32, healthy: u32, group: TargetGroup) -> ServiceCount {
    let known = Known { least: count, most: count, healthy, proven: false, idle: false };
    ServiceCount { known: Some(known), ..in_group(service, count, group) }
}

fn said(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

/// From the first step that moves something.
fn moving(plan: &Plan) -> Vec<String> {
    let first = plan.steps.iter().position(|step| matches!(step, Step::Capacity { .. } | Step::Weigh { .. }));
    said(&plan.steps[first.unwrap()..])
}

fn group_of(plan: &Plan) -> TargetGroup {
    let groups = plan.steps.iter().find_map(|step| match step {
        Step::Service { group, .. } => *group,
        _ => None,
    });
    groups.unwrap()
}

#[test]
fn the_first_deployment_makes_a_rule_and_sends_everything_to_its_group() {
    let digest = digest();
    let spec = weighted(3);
    let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &[]);
    assert_eq!(plan.steps[3], Step::Rule { group: TargetGroup::A, settled: true });
    assert_eq!(group_of(&plan), TargetGroup::A);
    assert_eq!(plan.to[0].group, Some(TargetGroup::A));
    let expected = [
        "have 3 instances",
        &format!("scale {NEW} to 3"),
        &format!("see 3 healthy tasks of {NEW}"),
        &format!("send 100% of requests to {NEW}"),
        "give empty instances back, keep 3",
    ];
    assert_eq!(moving(&plan), expected);
}

#[test]
fn a_canary_gets_exactly_its_percentage_and_the_old_tasks_stay_as_many_as_the_rest_needs() {
    let digest = digest();
    let spec = weighted(3);
    let policy = RolloutPolicy::preset(Preset::Canary, 3);
    let plan = plan(&spec, &policy, goal(&digest), &[in_group("old", 3, TargetGroup::A)]);
    assert_eq!(group_of(&plan), TargetGroup::B);
    let expected = [
        "have 4 instances".to_owned(),
        format!("scale {NEW} to 1"),
        format!("see 1 healthy task of {NEW}"),
        format!("send 10% of requests to {NEW}"),
        format!("watch {NEW} for 300 s"),
        format!("send 33% of requests to {NEW}"),
        "scale old to 2".to_owned(),
        "see no more than 2 tasks of old".to_owned(),
        "have 4 instances".to_owned(),
        format!("scale {NEW} to 2"),
        format!("see 2 healthy tasks of {NEW}"),
        format!("send 50% of requests to {NEW}"),
        format!("watch {NEW} for 300 s"),
        format!("send 66% of requests to {NEW}"),
        "scale old to 1".to_owned(),
        "see no more than 1 task of old".to_owned(),
        "have 4 instances".to_owned(),
        format!("scale {NEW} to 3"),
        format!("see 3 healthy tasks of {NEW}"),
        format!("send 100% of requests to {NEW}"),
        "scale old to 0".to_owned(),
        "see old drained".to_owned(),
        format!("see 3 healthy tasks of {NEW}"),
        "give empty instances back, keep 3".to_owned(),
    ];
    assert_eq!(moving(&plan), expected);
}

#[test]
fn a_way_back_moves_requests_before_it_touches_a_count() {
    let digest = digest();
    let spec = weighted(3);
    let policy = RolloutPolicy::preset(Preset::Canary, 3);
    let plan = plan(&spec, &policy, goal(&digest), &[in_group("old", 3, TargetGroup::B)]);
    let baking = plan.steps.iter().position(|step| matches!(step, Step::Bake { .. })).unwrap();
    let back = rollback(&spec, &policy, &plan, baking);
    let expected = [
        "send 100% of requests to old".to_owned(),
        "scale user-ecs-service-0-0-5-a1a1a1a1 to 0".to_owned(),
        format!("see {NEW} drained"),
        "give empty instances back, keep 3".to_owned(),
    ];
    let steps: Vec<String> = said(&back.steps).into_iter().filter(|step| !step.starts_with("see 3 healthy")).collect();
    assert_eq!(steps.iter().filter(|step| step.contains("requests")).count(), 1, "{steps:?}");
    assert_eq!(steps[0], expected[0]);
    assert_eq!(steps.last(), expected.last());
    // Later fewer old tasks are left: they get what the floor says they carry, and the rest as they come back.
    let second = plan.steps.iter().rposition(|step| matches!(step, Step::Bake { .. })).unwrap();
    let back = said(&rollback(&spec, &policy, &plan, second).steps);
    assert_eq!(back[0], "send 66% of requests to old", "{back:?}");
    let all = back.iter().position(|step| step == "send 100% of requests to old").unwrap();
    let gone = back.iter().position(|step| *step == format!("scale {NEW} to 0")).unwrap();
    assert!(all < gone, "{back:?}");
}

#[test]
fn where_both_groups_are_in_use_one_is_emptied_first() {
    let digest = digest();
    let spec = weighted(3);
    let from = [in_group("old", 2, TargetGroup::A), unproven("left", 1, 1, TargetGroup::B)];
    let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &from);
    assert_eq!(group_of(&plan), TargetGroup::B);
    let steps = said(&plan.steps);
    let at = |text: &str| steps.iter().position(|step| step == text).unwrap_or_else(|| panic!("{text}: {steps:?}"));
    let order = [
        at("send 66% of requests to old"),
        at("scale old to 3"),
        at("send 100% of requests to old"),
        at("scale left to 0"),
        at("see left drained"),
        at(&format!("set up service {NEW}")),
        at(&format!("send 33% of requests to {NEW}")),
    ];
    assert!(order.is_sorted(), "{order:?}: {steps:?}");
    // Back again is back to the one that stayed, at full strength.
    let back = rollback(&spec, &spec.rollout_policy, &plan, plan.steps.len() - 1);
    assert_eq!(back.to, vec![in_group("old", 3, TargetGroup::A)]);
}

#[test]
fn what_was_left_halfway_goes_on_in_its_own_group() {
    let digest = digest();
    let spec = weighted(3);
    let from = [in_group("old", 3, TargetGroup::A), unproven(NEW, 1, 1, TargetGroup::B)];
    let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &from);
    assert_eq!(group_of(&plan), TargetGroup::B);
    let steps = said(&plan.steps);
    assert!(!steps.iter().any(|step| step.ends_with("drained") && !step.contains("old")), "{steps:?}");
    let weights: Vec<&String> = steps.iter().filter(|step| step.contains("requests")).collect();
    assert_eq!(weights[0], "send 100% of requests to old", "{steps:?}");
    assert_eq!(**weights.last().unwrap(), format!("send 100% of requests to {NEW}"));
}

/// Carries out a plan on paper; checks at each step that the weights are on tasks that were seen, and that those who serve
/// have tasks enough for what they get.
fn carried_out(
    plan: &Plan,
    until: usize,
    counts: &mut BTreeMap<String, u32>,
    weights: &mut Weights,
    groups: &BTreeMap<String, TargetGroup>,
    (floor, desired): (u32, u32),
) -> Result<(), String> {
    let mut seen = counts.clone();
    for (index, step) in plan.steps.iter().enumerate().take(until) {
        match step {
            Step::Scale { service, desired, .. } => {
                counts.insert(service.clone(), *desired);
                let before = seen.get(service).copied().unwrap_or(0);
                seen.insert(service.clone(), before.min(*desired));
            }
            Step::Verify { service, healthy, .. } => drop(seen.insert(service.clone(), *healthy)),
            Step::Weigh { service, group, percent, healthy, follows_health } => {
                *weights = Weights::percent(*group, *percent);
                // It waits for as many.
                if let Some(seen) = seen.get_mut(service).filter(|_| !follows_health) {
                    *seen = (*seen).max(counts[service].min(*healthy));
                }
            }
            _ => continue,
        }
        for group in TargetGroup::BOTH {
            let tasks: u32 =
                groups.iter().filter(|(_, own)| **own == group).filter_map(|(name, _)| seen.get(name)).sum();
            let weight = weights.of(group);
            // A hundredth of a request is nothing: percents are whole.
            let carried = u64::from(tasks) * 100 + u64::from(desired);
            if weight > 0 && carried < u64::from(weight) * u64::from(floor) {
                return Err(format!(
                    "{index}: {tasks} tasks of {group} for {weight}% of {desired}: {:?}",
                    said(&plan.steps)
                ));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn weights_are_on_tasks_that_carry_them_whatever_the_policy_and_wherever_it_ends(
        desired in 1u32..9, old in 1u32..9, percents in proptest::collection::btree_set(1u8..=100, 0..5),
        surge in 0u32..3, stop in 0usize..200,
    ) {
        let digest = digest();
        let spec = weighted(desired);
        let steps = percents.into_iter().map(|percent| RolloutStep::to(Size::Percent(percent))).collect();
        let floor_percent = if surge == 0 { 50 } else { 100 };
        let policy = RolloutPolicy { steps, surge, floor_percent, ..RolloutPolicy::default() };
        prop_assume!(policy.floor(desired) < policy.ceiling(desired));
        let old = old.max(policy.floor(desired));
        let from = [in_group("old", old, TargetGroup::A)];
        let plan = plan(&spec, &policy, goal(&digest), &from);
        let groups: BTreeMap<String, TargetGroup> =
            [("old".to_owned(), TargetGroup::A), (NEW.to_owned(), TargetGroup::B)].into();
        let (floor, start) = (policy.floor(desired).min(old), Weights::percent(TargetGroup::A, 100));
        let (mut counts, mut weights) = (counts_of(&from), start);
        let carried = carried_out(&plan, plan.steps.len(), &mut counts, &mut weights, &groups, (floor, desired));
        prop_assert!(carried.is_ok(), "{:?}", carried);
        prop_assert_eq!(weights, Weights::percent(TargetGroup::B, 100));
        counts.retain(|_, count| *count > 0);
        prop_assert_eq!(counts, counts_of(&plan.to));

        let stop = stop.min(plan.steps.len() - 1);
        let (mut counts, mut weights) = (counts_of(&from), start);
        carried_out(&plan, stop + 1, &mut counts, &mut weights, &groups, (floor, desired)).unwrap();
        let back = rollback(&spec, &policy, &plan, stop);
        let carried = carried_out(&back, back.steps.len(), &mut counts, &mut weights, &groups, (floor, desired));
        prop_assert!(carried.is_ok(), "{:?} after {}", carried, plan.steps[stop]);
        prop_assert_eq!(weights, Weights::percent(TargetGroup::A, 100));
        counts.retain(|_, count| *count > 0);
        prop_assert_eq!(counts, counts_of(&plan.from));
    }
}

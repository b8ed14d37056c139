use super::*;
use crate::gate::{Check, Condition, Gate};
use crate::policy::{RolloutStep, Size};
use crate::project::{ProjectDraft, TargetDraft};
use crate::shift::Counts;
use proptest::prelude::*;

fn spec(desired: u32) -> ProjectSpec {
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(TargetDraft {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: desired,
            ..TargetDraft::default()
        }),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6000)).unwrap()
}

fn digest() -> Digest {
    Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap()
}

fn serving(count: u32) -> Vec<ServiceCount> {
    vec![ServiceCount { service: "old".into(), version: "0.0.4".into(), count, known: None, group: None }]
}

fn goal(digest: &Digest) -> Goal<'_> {
    Goal { deployment: 2, tag: "0.0.5", digest }
}

/// Carries out a plan on paper: counts as they are set, checked against floor and ceiling once `from` served.
fn replay(plan: &Plan, until: usize, counts: &mut Counts) -> (u32, u32) {
    let (mut least, mut most) = (counts.values().sum::<u32>(), counts.values().sum::<u32>());
    for step in plan.steps.iter().take(until) {
        if let Step::Scale { service, desired, .. } = step {
            counts.insert(service.clone(), *desired);
            let total = counts.values().sum();
            (least, most) = (least.min(total), most.max(total));
        }
    }
    (least, most)
}

#[test]
fn a_version_that_was_left_at_a_stage_passes_the_waits_of_that_stage() {
    let digest = digest();
    let mut policy = RolloutPolicy::preset(crate::policy::Preset::Canary, 10);
    policy.steps[1].hold = true;
    let new = names::service(&spec(10).id, "0.0.5", &digest);
    let mut from = serving(5);
    from.push(ServiceCount { service: new.clone(), version: "0.0.5".into(), ..from[0].clone() });
    let plan = plan(&spec(10), &policy, goal(&digest), &from);
    let waits = |step: &Step| step.only_waits();
    let first = plan.steps.iter().position(waits).unwrap();
    assert!(matches!(&plan.steps[first], Step::Bake { service, healthy: 5, .. } if *service == new), "{plan:?}");
    assert_eq!(plan.steps[first + 1], Step::Hold);
    assert_eq!(plan.steps.iter().filter(|step| waits(step)).count(), 2, "that of a tenth lies behind it");
    assert!(!plan.steps[..first].iter().any(Step::moves_traffic), "it stands there already");
}

#[test]
fn the_first_deployment_sets_up_and_starts_all_tasks_at_once() {
    let digest = digest();
    let plan = plan(&spec(3), &RolloutPolicy::default(), Goal { deployment: 1, tag: "0.0.4", digest: &digest }, &[]);
    let said: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let service = "user-ecs-service-0-0-4-a1a1a1a1";
    assert_eq!(
        said,
        [
            "see that there is room for 3 instances",
            "set up the security group",
            "set up the load balancer",
            "set up the launch template",
            "set up the auto-scaling group",
            "set up the cluster",
            "register the task definition of 0.0.4",
            &format!("set up service {service}"),
            "have 3 instances",
            &format!("scale {service} to 3"),
            &format!("see 3 healthy tasks of {service}"),
            "give empty instances back, keep 3",
        ]
    );
}

#[test]
fn the_next_one_shifts_one_by_one_with_an_instance_more() {
    let digest = digest();
    let plan = plan(&spec(3), &RolloutPolicy::default(), goal(&digest), &serving(3));
    let shift: Vec<String> = plan.steps[8..].iter().map(ToString::to_string).collect();
    let new = "user-ecs-service-0-0-5-a1a1a1a1";
    let mut expected = Vec::new();
    for (up, down) in [(1, 2), (2, 1)] {
        expected.push("have 4 instances".to_owned());
        expected.push(format!("scale {new} to {up}"));
        expected.push(format!("see {} of {new}", counted(up, "healthy task")));
        expected.push(format!("scale old to {down}"));
        // It may be sick by itself, and is not waited for.
        expected.push(format!("see no more than {} of old", counted(down, "task")));
    }
    expected.push("have 4 instances".to_owned());
    expected.push(format!("scale {new} to 3"));
    expected.push(format!("see 3 healthy tasks of {new}"));
    expected.push("scale old to 0".to_owned());
    expected.push("see old drained".to_owned());
    expected.push(format!("see 3 healthy tasks of {new}"));
    expected.push("give empty instances back, keep 3".to_owned());
    assert_eq!(shift, expected);
}

#[test]
fn a_gate_stands_between_bake_and_hold_and_knows_whom_to_compare() {
    let digest = digest();
    let gate = Gate {
        name: "errors".into(),
        check: Check::Prometheus {
            server: "main".into(),
            query: "x".into(),
            old_query: None,
            samples: None,
            window: Duration::from_secs(60),
            condition: Condition::parse("new < 1").unwrap(),
        },
        failures: 2,
    };
    let waits = |size| RolloutStep {
        bake: Duration::from_secs(5),
        gates: vec![gate.clone()],
        hold: true,
        ..RolloutStep::to(size)
    };
    let steps = vec![waits(Size::Count(1)), waits(Size::Percent(100))];
    let policy = RolloutPolicy { steps, ..RolloutPolicy::default() };
    let mut from = serving(1);
    from.push(ServiceCount { service: "older".into(), version: "0.0.3".into(), count: 2, known: None, group: None });
    let plan = plan(&spec(3), &policy, goal(&digest), &from);
    let waits: Vec<&Step> = plan.steps.iter().filter(|step| step.only_waits()).collect();
    let said: Vec<String> = waits.iter().map(ToString::to_string).collect();
    let bake = "watch user-ecs-service-0-0-5-a1a1a1a1 for 5 s";
    let hold = "wait for a person to promote";
    assert_eq!(said, [bake, "pass gate errors", hold, bake, "pass gate errors", hold]);
    let compared = |step: &Step| match step {
        Step::Gate { new, old, .. } => (new.clone(), old.clone()),
        other => panic!("{other} is no gate"),
    };
    let new = "user-ecs-service-0-0-5-a1a1a1a1".to_owned();
    // Those that still serve, and after the last stage those that did.
    assert_eq!(compared(waits[1]), (new.clone(), vec!["older".to_owned()]));
    assert_eq!(compared(waits[4]), (new, vec!["older".to_owned(), "old".to_owned()]));
}

#[test]
fn a_failure_before_capacity_was_asked_for_needs_no_rollback() {
    let digest = digest();
    let spec = spec(3);
    let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &serving(3));
    assert_eq!(plan.steps[0], Step::Preflight { instances: 4, max_instances: 4, serving: 3 });
    for cursor in 0..8 {
        assert!(rollback(&spec, &spec.rollout_policy, &plan, cursor).steps.is_empty(), "step {cursor}");
    }
}

#[test]
fn a_rollback_first_takes_the_tasks_that_never_became_healthy() {
    let digest = digest();
    let spec = spec(3);
    let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &serving(3));
    let cursor =
        plan.steps.iter().position(|step| matches!(step, Step::Verify { healthy: 2, max_task_failures: 1.., .. }));
    let back = rollback(&spec, &spec.rollout_policy, &plan, cursor.unwrap());
    let said: Vec<String> = back.steps.iter().map(ToString::to_string).collect();
    let new = "user-ecs-service-0-0-5-a1a1a1a1";
    assert_eq!(
        said,
        [
            &format!("scale {new} to 1"),
            "have 4 instances",
            "scale old to 3",
            &format!("scale {new} to 0"),
            &format!("see {new} drained"),
            "see 3 healthy tasks of old",
            "give empty instances back, keep 3",
        ]
    );
    // That of an earlier edition waited for health before it took a task away.
    let earlier = Plan { edition: 1, ..plan };
    let back = rollback(&spec, &spec.rollout_policy, &earlier, cursor.unwrap());
    let said: Vec<String> = back.steps[2..5].iter().map(ToString::to_string).collect();
    assert_eq!(said, ["scale old to 3", "see 3 healthy tasks of old", &format!("scale {new} to 0")]);
}

#[test]
fn the_way_back_of_a_plan_that_an_earlier_release_made_has_the_steps_that_it_had() {
    let digest = digest();
    let spec = spec(3);
    let mut plan = super::plan(&spec, &spec.rollout_policy, goal(&digest), &serving(3));
    plan.settles = false;
    let cursor = plan.steps.iter().position(|step| matches!(step, Step::Scale { service, .. } if service == "old"));
    let said = |plan: &Plan| plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let new = "user-ecs-service-0-0-5-a1a1a1a1";
    let drained = [
        "have 4 instances",
        "scale old to 3",
        "see 3 healthy tasks of old",
        &format!("scale {new} to 0"),
        &format!("see {new} drained"),
        "see 3 healthy tasks of old",
        "give empty instances back, keep 3",
    ];
    assert_eq!(said(&rollback(&spec, &spec.rollout_policy, &plan, cursor.unwrap())), drained);
    // Today's first makes certain of what the step that was begun may have done.
    plan.settles = true;
    let back = said(&rollback(&spec, &spec.rollout_policy, &plan, cursor.unwrap()));
    assert_eq!(back[..3], ["have 4 instances", "scale old to 3", &format!("scale {new} to 1")]);
}

#[test]
fn what_was_left_in_the_midst_is_settled_before_anything_is_waited_for() {
    let digest = digest();
    let spec = spec(3);
    let first = plan(&spec, &spec.rollout_policy, goal(&digest), &serving(3));
    let bad = "user-ecs-service-0-0-5-a1a1a1a1";
    let seen = first.steps.iter().position(|step| matches!(step, Step::Verify { service, .. } if service == bad));
    let other = Digest::parse(&format!("sha256:{}", "b2".repeat(32))).unwrap();
    let next = Goal { deployment: 3, tag: "0.0.6", digest: &other };
    let mended = plan(&spec, &spec.rollout_policy, next, &serving_at(&first, seen.unwrap()));
    let said: Vec<String> = mended.steps[8..13].iter().map(ToString::to_string).collect();
    let new = "user-ecs-service-0-0-6-b2b2b2b2";
    let expected = [
        &format!("scale {bad} to 0"),
        &format!("see {bad} drained"),
        "have 4 instances",
        &format!("scale {new} to 1"),
        &format!("see 1 healthy task of {new}"),
    ];
    assert_eq!(said, expected);
    // Without an old version nobody knows that it does not serve.
    let first = plan(&spec, &spec.rollout_policy, goal(&digest), &[]);
    let seen = first.steps.iter().position(|step| matches!(step, Step::Verify { .. }));
    let mended = plan(&spec, &spec.rollout_policy, next, &serving_at(&first, seen.unwrap()));
    let said: Vec<String> = mended.steps[8..13].iter().map(ToString::to_string).collect();
    let expected = [
        &format!("scale {bad} to 3"),
        "have 4 instances",
        &format!("scale {new} to 1"),
        &format!("see 1 healthy task of {new}"),
        &format!("scale {bad} to 2"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn deploying_what_already_serves_sets_its_count_and_sees_it() {
    let digest = digest();
    let spec = spec(3);
    let first = plan(&spec, &spec.rollout_policy, goal(&digest), &[]);
    let again = plan(&spec, &spec.rollout_policy, Goal { deployment: 3, ..goal(&digest) }, &first.to);
    let said: Vec<String> = again.steps[8..].iter().map(ToString::to_string).collect();
    let service = "user-ecs-service-0-0-5-a1a1a1a1";
    assert_eq!(
        said,
        [
            "have 3 instances",
            &format!("scale {service} to 3"),
            &format!("see 3 healthy tasks of {service}"),
            "give empty instances back, keep 3"
        ]
    );
}

proptest! {
    #[test]
    fn every_plan_keeps_floor_and_ceiling_and_every_rollback_restores(
        desired in 1u32..12, old in 1u32..12, stop in 0usize..200,
    ) {
        let digest = digest();
        let spec = spec(desired);
        let plan = plan(&spec, &spec.rollout_policy, goal(&digest), &serving(old));
        let floor = desired.min(old);
        let ceiling = (desired + 1).max(old);
        let mut counts = counts_of(&plan.from);
        let (least, most) = replay(&plan, plan.steps.len(), &mut counts);
        prop_assert!(least >= floor && most <= ceiling, "{} to {}: {:?}", least, most, plan.steps);
        counts.retain(|_, count| *count > 0);
        prop_assert_eq!(&counts, &counts_of(&plan.to));

        let stop = stop.min(plan.steps.len() - 1);
        let mut counts = counts_of(&plan.from);
        replay(&plan, stop + 1, &mut counts);
        let back = rollback(&spec, &spec.rollout_policy, &plan, stop);
        let (least, most) = replay(&back, back.steps.len(), &mut counts);
        prop_assert!(least >= floor.min(old) && most <= (desired.max(old) + 1), "{} to {}: {:?}", least, most, back.steps);
        counts.retain(|_, count| *count > 0);
        prop_assert_eq!(&counts, &counts_of(&plan.from));
    }
}

mod weighted;

#[test]
fn an_old_version_that_serves_nobody_gives_way_before_a_new_one_that_serves_and_was_never_finished() {
    let digest = digest();
    let policy = RolloutPolicy::preset(crate::policy::Preset::OneByOne, 3);
    let count = |service: &str, count: u32, proven: bool, idle: bool| {
        let known = Known { least: count, most: count, healthy: count, proven, idle };
        ServiceCount { service: service.into(), known: Some(known), ..serving(count).remove(0) }
    };
    let from = [count("sick", 1, true, true), count("left", 2, false, false)];
    let plan = plan(&spec(3), &policy, goal(&digest), &from);
    let lowered = plan.steps.iter().find_map(|step| match step {
        Step::Scale { service, desired, idle, .. } => {
            let gives = from.iter().any(|count| count.service == *service && *desired < count.count);
            gives.then_some((service.as_str(), *desired, *idle))
        }
        _ => None,
    });
    assert_eq!(lowered, Some(("sick", 0, true)), "{plan:#?}");
}

//! Holds: watched, and ended by nothing but a promotion or a version that fails.

use super::*;
use crate::plan::Watching;

/// Stands at the hold, and a deployer watches.
fn watched(spec: &ProjectSpec) -> Deployment {
    let held = until(spec, running(spec), |step| matches!(step, Step::Hold));
    assert!(held.wants_deployer() && held.waits_for_promotion());
    apply(spec, held, Fact::Leased(lease("a")))
}

fn seen(deployment: &Deployment, why: &str) -> Fact {
    report(deployment, Outcome::Watched { why: why.into(), cause: Cause::Version, well: why.is_empty() })
}

fn promote() -> Fact {
    control(Control::Promote { step: None, to_end: false })
}

#[test]
fn what_a_hold_watches_is_what_the_steps_before_it_have_seen_of_the_new_version() {
    let plan = deployment(&careful()).plan;
    let hold = plan.steps.iter().position(|step| matches!(step, Step::Hold)).unwrap();
    let service = plan.to[0].service.clone();
    assert_eq!(plan.watched_at(hold), Some(Watching { service, healthy: 2, max_task_failures: 3 }));
    assert!((0..=plan.steps.len()).all(|index| index == hold || plan.watched_at(index).is_none()));
}

#[test]
fn a_hold_is_handed_out_as_it_begins_and_whenever_its_deployer_is_lost() {
    let spec = careful();
    let (mut held, mut effects) = (running(&spec), Vec::new());
    while !held.holds() {
        let fact = done(&held);
        (held, effects) = held.apply(&spec, fact, Timestamp(10)).unwrap();
    }
    assert!(matches!(effects[..], [Effect::Withdraw(_), Effect::HandOut]), "{effects:?}");
    held = apply(&spec, held, Fact::Leased(lease("a")));
    let fact = seen(&held, "1 of 2 tasks healthy");
    held = apply(&spec, held, fact);
    let (lost, effects) = held.apply(&spec, Fact::LeaseEnded, Timestamp(20)).unwrap();
    assert_eq!((effects, &lost.waiting, lost.holds()), (vec![Effect::HandOut], &None, true));
    let next = lost.apply(&spec, Fact::Leased(lease("b")), Timestamp(30)).unwrap().0;
    assert_eq!(next.step_elapsed(Timestamp(30)), Duration::from_millis(20), "failures count from its begin");
}

#[test]
fn what_is_not_well_is_told_until_it_is_well() {
    let spec = careful();
    let held = watched(&spec);
    let fact = seen(&held, "1 of 2 tasks healthy");
    let unwell = apply(&spec, held, fact);
    assert_eq!((unwell.waiting.as_deref(), unwell.holds()), (Some("1 of 2 tasks healthy"), true));
    // Its stream broke: the new one begins with nothing told.
    assert_eq!(apply(&spec, unwell.clone(), Fact::Leased(lease("a"))).waiting, None);
    let fact = seen(&unwell, "");
    assert_eq!(apply(&spec, unwell, fact).waiting, None);
}

#[test]
fn neither_a_deployer_nor_time_ends_a_hold() {
    let spec = careful();
    let held = watched(&spec);
    assert_eq!((held.deadline(), held.counts_time()), (None, false));
    for fact in [done(&held), Fact::TimedOut] {
        assert_eq!(held.clone().apply(&spec, fact, Timestamp(20)).unwrap_err(), IllegalEvent::NotPromoted);
    }
    let unattended = held.apply(&spec, Fact::Unattended { since: Timestamp(10) }, Timestamp(20)).unwrap_err();
    assert_eq!(unattended, IllegalEvent::NotLeased);
}

#[test]
fn a_promotion_ends_a_hold_with_and_without_a_deployer() {
    let spec = careful();
    let with = watched(&spec);
    let without = apply(&spec, with.clone(), Fact::LeaseEnded);
    let never = until(&spec, running(&spec), |step| matches!(step, Step::Hold));
    for held in [with, without, never] {
        let (cursor, generation, stale) = (held.cursor, held.generation, seen(&held, "1 of 2 tasks healthy"));
        for way in [promote(), control(Control::Resume)] {
            let (promoted, effects) = held.clone().apply(&spec, way, Timestamp(99)).unwrap();
            assert_eq!((promoted.cursor, &promoted.paused), (cursor + 1, &None));
            assert_eq!(effects, [Effect::Withdraw(generation), Effect::HandOut]);
            assert!(promoted.apply(&spec, stale.clone(), Timestamp(99)).is_err(), "whoever watched is to leave");
        }
    }
}

#[test]
fn a_version_that_fails_in_a_hold_is_rolled_back_and_its_tasks_are_kept() {
    let spec = careful();
    let held = watched(&spec);
    let failure = TaskFailure { task: "t".into(), reason: "exit code 1".into(), exit_code: Some(1) };
    let outcome = Outcome::Failed {
        reason: "3 tasks failed".into(),
        task_failures: vec![failure.clone()],
        service_events: vec![],
        cause: Cause::Version,
    };
    let fact = report(&held, outcome);
    let (mut back, effects) = held.apply(&spec, fact, Timestamp(20)).unwrap();
    assert_eq!((back.phase, &back.paused, back.wants_deployer()), (Phase::RollingBack, &None, true));
    assert_eq!((back.task_failures.clone(), back.cause), (vec![failure], Some(Cause::Version)));
    assert!(effects.contains(&Effect::HandOut), "{effects:?}");
    back = apply(&spec, back, Fact::Leased(lease("b")));
    while !back.phase.is_final() {
        let fact = done(&back);
        back = apply(&spec, back, fact);
    }
    assert_eq!(back.ending(), Some(Ending::RolledBack));
}

#[test]
fn tasks_that_fail_in_a_hold_are_judged_with_those_before_at_once_and_not_after_its_promotion() {
    let failure = |task: &str| TaskFailure { task: task.into(), reason: "exit code 1".into(), exit_code: Some(1) };
    let told = |spec: &ProjectSpec, deployment: Deployment, task: &str| {
        let outcome = Outcome::Evidence { task_failures: vec![failure(task)], service_events: vec![] };
        let fact = report(&deployment, outcome);
        apply(spec, deployment, fact)
    };
    let mut spec = careful();
    let before = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let outcome = Outcome::Done { task_failures: vec![failure("a")], service_events: vec![] };
    let fact = report(&before, outcome);
    let held = until(&spec, apply(&spec, before, fact), |step| matches!(step, Step::Hold));
    let held = apply(&spec, held, Fact::Leased(lease("a")));
    let two = told(&spec, told(&spec, held, "b"), "a");
    assert_eq!((two.failed_before, two.waits_for_promotion()), (2, true));
    let three = told(&spec, two.clone(), "c");
    assert_eq!(three.phase, Phase::RollingBack);
    assert_eq!(three.reason.as_deref(), Some("3 tasks failed in all; the last one: exit code 1"));
    // Where somebody decides, and with them in sight promotes, they fail no later step.
    spec.rollout_policy.on_failure = OnFailure::Pause;
    let paused = told(&spec, two, "c");
    assert!(paused.holds() && !paused.waits_for_promotion());
    let promoted = apply(&spec, apply(&spec, paused, promote()), Fact::Leased(lease("a")));
    let (cursor, fact) = (promoted.cursor, done(&promoted));
    let next = apply(&spec, promoted, fact);
    assert_eq!((next.phase, next.cursor, &next.paused), (Phase::Running, cursor + 1, &None));
}

#[test]
fn where_the_policy_pauses_on_failure_a_version_that_failed_in_a_hold_is_only_promoted_by_a_promotion() {
    let mut spec = careful();
    spec.rollout_policy.on_failure = OnFailure::Pause;
    let held = watched(&spec);
    let cursor = held.cursor;
    let fact = failed(&held);
    let paused = apply(&spec, held, fact);
    assert_eq!((paused.wants_deployer(), paused.waits_for_promotion(), paused.cursor), (false, false, cursor));
    assert_eq!(paused.paused.as_ref().map(|pause| &*pause.why), Some("it crashes"));
    let leased = paused.clone().apply(&spec, Fact::Leased(lease("a")), Timestamp(20)).unwrap_err();
    assert_eq!(leased, IllegalEvent::Paused);
    let again = apply(&spec, paused.clone(), control(Control::Resume));
    assert_eq!((again.cursor, again.waits_for_promotion(), again.wants_deployer()), (cursor, true, true));
    assert_eq!(apply(&spec, paused, promote()).cursor, cursor + 1);
}

#[test]
fn a_resume_that_is_repeated_does_not_promote_a_version_that_failed_in_a_hold() {
    let mut spec = careful();
    spec.rollout_policy.on_failure = OnFailure::Pause;
    let at = |at: i64, control: Control| {
        let (by, why, request_id) = ("ann".to_owned(), String::new(), String::new());
        Fact::Controlled(ControlUsed { at: Timestamp(at), by, why, control, request_id })
    };
    let held = watched(&spec);
    let fact = failed(&held);
    let failed_once = apply(&spec, held, fact);
    let again = apply(&spec, failed_once, at(20, Control::Resume));
    let repeated = again.clone().apply(&spec, at(21, Control::Resume), Timestamp(21)).unwrap();
    assert_eq!(repeated, (again.clone(), Vec::new()));
    let mut again = apply(&spec, again, at(30, Control::Pause));
    again = apply(&spec, again, at(31, Control::Resume));
    assert!(again.waits_for_promotion(), "nor is one after a pause another word");
    again = apply(&spec, again, Fact::Leased(lease("a")));
    let fact = failed(&again);
    again = apply(&spec, again, fact);
    for resumed in [40, 41] {
        again = apply(&spec, again, at(resumed, Control::Resume));
        assert!(again.waits_for_promotion(), "it has failed twice");
    }
    let cursor = again.cursor;
    assert_eq!(apply(&spec, again, promote()).cursor, cursor + 1);
}

proptest! {
    /// However long a hold lasts and whoever watches it, no time runs out, and it stands where it stood.
    #[test]
    fn a_hold_never_times_out(deeds in proptest::collection::vec((0u8..7, 1i64..100_000_000), 0..40)) {
        let spec = careful();
        let mut held = watched(&spec);
        let (cursor, mut at) = (held.cursor, 10);
        for (deed, later) in deeds {
            at += later;
            let fact = match deed {
                0 => Fact::LeaseEnded,
                1 => Fact::Leased(lease("a")),
                2 => Fact::Leased(lease("b")),
                3 => Fact::TimedOut,
                4 => control(Control::Pause),
                5 => seen(&held, ["", "1 of 2 tasks healthy"][usize::from(later % 2 == 0)]),
                _ => done(&held),
            };
            if let Ok((next, _)) = held.clone().apply(&spec, fact, Timestamp(at)) {
                held = next;
            }
            prop_assert!(held.waits_for_promotion() && held.wants_deployer() && held.deadline().is_none());
            prop_assert_eq!(held.cursor, cursor);
        }
        prop_assert_eq!(apply(&spec, held, promote()).cursor, cursor + 1);
    }
}

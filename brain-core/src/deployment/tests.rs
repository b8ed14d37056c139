use super::*;
use crate::{
    deployment::control::Control,
    id::{AgentName, ProjectId},
    plan::{Goal, ServiceCount, plan},
    policy::{OnFailure, RolloutStep, Size},
    project::{ProjectDraft, TargetDraft},
};
use proptest::prelude::*;

mod beginning;
mod evidence;
mod giving_back;
mod hold;
mod lease;
mod line;
mod notices;
mod reading;
mod watch;
mod way_back;

fn spec() -> ProjectSpec {
    let target =
        TargetDraft { region: "us-east-1".into(), container_port: 9000, desired_count: 3, ..TargetDraft::default() };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6000)).unwrap()
}

fn deployment(spec: &ProjectSpec) -> Deployment {
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let serving = [ServiceCount { service: "old".into(), version: "0.0.4".into(), count: 3, known: None, group: None }];
    let plan = plan(spec, &spec.rollout_policy, Goal { deployment: 1, tag: "0.0.5", digest: &digest }, &serving);
    let request = Request {
        number: 1,
        tag: "0.0.5".into(),
        digest,
        requested_by: "".into(),
        request_id: "".into(),
        plan,
        policy: None,
        awaits: vec![],
        back: false,
        held: false,
        approvals_required: 0,
        outside_windows: None,
        why: String::new(),
    };
    Deployment::new(request, Timestamp(0))
}

fn lease(instance: &str) -> Lease {
    Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: instance.into() }
}

fn report(deployment: &Deployment, outcome: Outcome) -> Fact {
    Fact::Reported {
        generation: deployment.generation,
        rollback: deployment.rollback.is_some(),
        step: deployment.cursor,
        outcome,
    }
}

fn done(deployment: &Deployment) -> Fact {
    report(deployment, Outcome::Done { task_failures: vec![], service_events: vec![] })
}

fn failed(deployment: &Deployment) -> Fact {
    report(
        deployment,
        Outcome::Failed {
            reason: "it crashes".into(),
            task_failures: vec![],
            service_events: vec![],
            cause: Cause::Version,
        },
    )
}

fn apply(spec: &ProjectSpec, deployment: Deployment, fact: Fact) -> Deployment {
    deployment.apply(spec, fact, Timestamp(10)).unwrap().0
}

fn running(spec: &ProjectSpec) -> Deployment {
    apply(spec, deployment(spec), Fact::Leased(lease("a")))
}

#[test]
fn a_deployment_whose_steps_are_all_done_has_succeeded() {
    let spec = spec();
    let mut deployment = running(&spec);
    while !deployment.phase.is_final() {
        let fact = done(&deployment);
        deployment = apply(&spec, deployment, fact);
    }
    assert_eq!(deployment.phase, Phase::Succeeded);
    assert_eq!(deployment.serving(), deployment.plan.to);
}

#[test]
fn a_step_that_fails_before_anything_moved_ends_the_deployment() {
    let spec = spec();
    let deployment = running(&spec);
    let fact = failed(&deployment);
    let (deployment, effects) = deployment.apply(&spec, fact, Timestamp(2)).unwrap();
    assert_eq!((deployment.phase, deployment.rollback.is_none()), (Phase::Failed, true));
    assert!(effects.contains(&Effect::Ended { leftover: false }));
    assert_eq!(deployment.serving()[0].count, 3);
}

#[test]
fn a_step_that_fails_in_the_shift_is_rolled_back_and_a_rollback_that_fails_calls_a_person() {
    let spec = spec();
    let mut deployment = running(&spec);
    for _ in 0..9 {
        let fact = done(&deployment);
        deployment = apply(&spec, deployment, fact);
    }
    let fact = failed(&deployment);
    deployment = apply(&spec, deployment, fact);
    assert_eq!(deployment.phase, Phase::RollingBack);
    for attempt in 1..=ROLLBACK_ATTEMPTS {
        assert_eq!(deployment.rollback.as_ref().unwrap().attempts, attempt);
        deployment = apply(&spec, deployment, Fact::Leased(lease("a")));
        let fact = failed(&deployment);
        deployment = apply(&spec, deployment, fact);
    }
    assert_eq!(deployment.phase, Phase::Failed);
    assert!(deployment.reason.unwrap().contains("a person must look"));
}

proptest! {
    /// Whatever happens in whatever order, a deployment that is carried on reaches an end, and illegal facts change nothing.
    #[test]
    fn every_history_reaches_an_end(choices in proptest::collection::vec(0u8..7, 0..60)) {
        let spec = spec();
        let mut deployment = deployment(&spec);
        for choice in choices {
            let fact = match choice {
                0 => Fact::Leased(lease("a")),
                1 => Fact::Leased(lease("b")),
                2 => Fact::LeaseEnded,
                3 => failed(&deployment),
                4 => Fact::TimedOut,
                5 => report(&deployment, Outcome::Waiting { why: "w".into(), cause: Cause::Version }),
                _ => done(&deployment),
            };
            let generation = deployment.generation;
            if let Ok((next, _)) = deployment.clone().apply(&spec, fact, Timestamp(7)) {
                prop_assert!(next.generation >= generation);
                deployment = next;
            }
        }
        for _ in 0..200 {
            if deployment.phase.is_final() { break; }
            if deployment.lease.is_none() {
                deployment = apply(&spec, deployment, Fact::Leased(lease("c")));
            }
            let fact = done(&deployment);
            deployment = apply(&spec, deployment, fact);
        }
        prop_assert!(deployment.phase.is_final());
        let most: u32 = deployment.serving().iter().map(|service| service.count).sum();
        let rollback = deployment.rollback.as_ref();
        if rollback.is_some_and(|rollback| deployment.cursor < rollback.plan.steps.len()) {
            // It was given up: a task of the new version may be there besides.
            prop_assert!((3..=4).contains(&most), "{most} tasks");
        } else {
            prop_assert_eq!(most, 3);
        }
    }
}

fn control(control: Control) -> Fact {
    let request_id = String::new();
    Fact::Controlled(ControlUsed { at: Timestamp(10), by: "ann".into(), why: "to look".into(), control, request_id })
}

/// A policy that stops after a third, once for a bake and once for a person.
fn careful() -> ProjectSpec {
    let mut spec = spec();
    let baked = RolloutStep { bake: Duration::from_secs(60), ..RolloutStep::to(Size::Count(1)) };
    let held = RolloutStep { hold: true, ..RolloutStep::to(Size::Count(2)) };
    spec.rollout_policy.steps = vec![baked, held];
    spec
}

fn until(spec: &ProjectSpec, mut deployment: Deployment, stop: impl Fn(&Step) -> bool) -> Deployment {
    while !deployment.current_step().is_some_and(&stop) {
        let fact = done(&deployment);
        deployment = apply(spec, deployment, fact);
    }
    deployment
}

#[test]
fn a_pause_stops_whoever_acts_and_the_clock_and_may_be_repeated() {
    let spec = spec();
    let first = running(&spec);
    let late = done(&first);
    let (paused, effects) = first.apply(&spec, control(Control::Pause), Timestamp(10)).unwrap();
    assert_eq!(effects, [Effect::Withdraw(1)]);
    assert_eq!((paused.deadline(), paused.wants_deployer()), (None, false));
    assert_eq!(apply(&spec, paused.clone(), control(Control::Pause)), paused);
    let refused = paused.clone().apply(&spec, late, Timestamp(11)).unwrap_err();
    assert_eq!(refused, IllegalEvent::StaleGeneration { reported: 1, current: 2 });
    let leased = paused.clone().apply(&spec, Fact::Leased(lease("a")), Timestamp(11)).unwrap_err();
    assert_eq!(leased, IllegalEvent::Paused);
    let resume = Fact::Controlled(ControlUsed {
        at: Timestamp(70_000),
        by: "ann".into(),
        why: String::new(),
        control: Control::Resume,
        request_id: String::new(),
    });
    let (resumed, effects) = paused.apply(&spec, resume, Timestamp(70_000)).unwrap();
    assert_eq!(effects, [Effect::HandOut]);
    let resumed = resumed.apply(&spec, Fact::Leased(lease("a")), Timestamp(70_010)).unwrap().0;
    assert_eq!(resumed.step_elapsed(Timestamp(70_020)), Duration::from_millis(20), "the pause does not count");
    assert_eq!(resumed.controls.len(), 2);
}

#[test]
fn a_hold_waits_for_a_promotion_and_one_that_is_repeated_passes_nothing_else_over() {
    let spec = careful();
    let held = until(&spec, running(&spec), |step| matches!(step, Step::Hold));
    assert_eq!(held.paused.as_ref().map(|pause| &*pause.by), Some("rollout policy"));
    let promote = |step| control(Control::Promote { step: Some(step), to_end: false });
    let (promoted, effects) = held.clone().apply(&spec, promote(held.cursor), Timestamp(10)).unwrap();
    assert!(effects.contains(&Effect::HandOut) && promoted.cursor == held.cursor + 1, "{effects:?}");
    assert_eq!(apply(&spec, promoted.clone(), promote(held.cursor)), promoted);
    let nothing = promoted.apply(&spec, control(Control::Promote { step: None, to_end: false }), Timestamp(10));
    assert_eq!(nothing.unwrap_err(), IllegalEvent::NothingToPromote);
}

#[test]
fn a_promotion_ahead_of_time_and_one_to_the_end_pass_waits_over() {
    let spec = careful();
    let early = apply(&spec, running(&spec), control(Control::Promote { step: None, to_end: false }));
    let held = until(&spec, early, Step::only_waits);
    assert!(held.holds(), "the bake was passed over, the hold was not");
    let mut all = apply(&spec, running(&spec), control(Control::Promote { step: None, to_end: true }));
    while !all.phase.is_final() {
        assert!(!all.current_step().unwrap().only_waits());
        let fact = done(&all);
        all = apply(&spec, all, fact);
    }
    assert_eq!(all.phase, Phase::Succeeded);
}

#[test]
fn a_version_that_loses_a_task_in_each_step_fails_in_the_end() {
    let spec = spec();
    let mut deployment = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let mut steps = 0;
    while deployment.rollback.is_none() {
        let failure = TaskFailure { task: format!("t{steps}"), reason: "exit code 1".into(), exit_code: Some(1) };
        let outcome = Outcome::Done { task_failures: vec![failure], service_events: vec![] };
        let (generation, step) = (deployment.generation, deployment.cursor);
        deployment = apply(&spec, deployment, Fact::Reported { generation, rollback: false, step, outcome });
        steps += 1;
    }
    assert_eq!((steps, deployment.phase), (3, Phase::RollingBack));
    assert_eq!(deployment.reason.as_deref(), Some("3 tasks failed in all; the last one: exit code 1"));
}

#[test]
fn a_task_that_two_steps_tell_of_has_failed_once() {
    let spec = spec();
    let mut deployment = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let failure = |task: &str| TaskFailure { task: task.into(), reason: "exit code 1".into(), exit_code: Some(1) };
    for told in [["a", "b"], ["b", "a"], ["a", "a"]] {
        let outcome = Outcome::Done { task_failures: told.map(failure).to_vec(), service_events: vec![] };
        let fact = report(&deployment, outcome);
        deployment = apply(&spec, deployment, fact);
    }
    assert_eq!((deployment.failed_before, deployment.phase), (2, Phase::Running));
    let outcome = Outcome::Done { task_failures: vec![failure("b"), failure("c")], service_events: vec![] };
    let fact = report(&deployment, outcome);
    assert_eq!(apply(&spec, deployment, fact).phase, Phase::RollingBack);
}

#[test]
fn the_line_pauses_what_is_under_way_and_lets_go_on_only_what_it_has_paused() {
    let spec = spec();
    let stop = || Fact::LineStopped { by: "ann".into(), why: "an outage".into() };
    let (stopped, effects) = running(&spec).apply(&spec, stop(), Timestamp(10)).unwrap();
    assert_eq!((effects, stopped.wants_deployer()), (vec![Effect::Withdraw(1)], false));
    assert_eq!(apply(&spec, stopped.clone(), stop()), stopped);
    let (released, effects) = stopped.apply(&spec, Fact::LineReleased, Timestamp(20)).unwrap();
    assert_eq!((effects, released.paused.as_ref()), (vec![Effect::HandOut], None));
    let by_ann = apply(&spec, running(&spec), control(Control::Pause));
    assert_eq!(apply(&spec, by_ann.clone(), stop()), by_ann);
    assert_eq!(apply(&spec, by_ann.clone(), Fact::LineReleased), by_ann, "a person's pause is a person's to end");
    let back = Deployment { back: true, ..running(&spec) };
    assert_eq!(apply(&spec, back.clone(), stop()), back);
    let shifted = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let failing = failed(&shifted);
    let rolling_back = apply(&spec, shifted, failing);
    assert_eq!(apply(&spec, rolling_back.clone(), stop()), rolling_back);
}

#[test]
fn what_ecs_said_is_kept_once_in_order_and_bounded() {
    let spec = spec();
    let mut deployment = running(&spec);
    for round in 0..8_i64 {
        let event = |at| ServiceEvent { at: Timestamp(at), message: "has started 1 tasks".into() };
        let service_events = (round * 10..round * 10 + 20).rev().map(event).collect();
        let outcome = Outcome::Done { task_failures: vec![], service_events };
        deployment = apply(&spec, deployment.clone(), report(&deployment, outcome));
    }
    let times: Vec<i64> = deployment.service_events.iter().map(|event| event.at.0).collect();
    assert_eq!(times, (40..90).collect::<Vec<i64>>());
}

#[test]
fn a_cancelled_deployment_goes_back_or_stays_as_it_is() {
    let spec = careful();
    let baking = until(&spec, running(&spec), |step| matches!(step, Step::Bake { .. }));
    let (left, effects) =
        baking.clone().apply(&spec, control(Control::Cancel { rollback: false }), Timestamp(10)).unwrap();
    assert!(effects.contains(&Effect::Ended { leftover: true }), "its deployer may still be acting");
    let counts: Vec<u32> = left.serving().iter().map(|count| count.count).collect();
    assert_eq!((left.phase, counts), (Phase::Cancelled, vec![2, 1]));
    assert_eq!(left.reason.as_deref(), Some("cancelled by ann: to look; all services stay as they are"));
    let mut back = apply(&spec, baking, control(Control::Cancel { rollback: true }));
    assert_eq!(back.phase, Phase::RollingBack);
    back = apply(&spec, back, Fact::Leased(lease("a")));
    assert_eq!(apply(&spec, back.clone(), control(Control::Cancel { rollback: true })), back);
    while !back.phase.is_final() {
        let fact = done(&back);
        back = apply(&spec, back, fact);
    }
    let mut serving = back.serving();
    serving.retain(|service| service.count > 0);
    assert_eq!((back.phase, serving), (Phase::Cancelled, back.plan.from.clone()));
}

#[test]
fn where_the_policy_pauses_on_failure_the_step_begins_anew() {
    let mut spec = spec();
    spec.rollout_policy.on_failure = OnFailure::Pause;
    let running = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let fact = failed(&running);
    let paused = apply(&spec, running, fact);
    assert_eq!(paused.phase, Phase::Running);
    assert_eq!(paused.paused.as_ref().map(|pause| &*pause.why), Some("it crashes"));
    let resumed = apply(&spec, paused, control(Control::Resume));
    let resumed = resumed.apply(&spec, Fact::Leased(lease("a")), Timestamp(50)).unwrap().0;
    assert_eq!(resumed.step_elapsed(Timestamp(60)), Duration::from_millis(10));
}

proptest! {
    #[test]
    fn whatever_people_do_it_ends_and_only_they_leave_it_halfway(
        deeds in proptest::collection::vec((0u8..12, any::<bool>()), 0..60),
    ) {
        let spec = careful();
        let mut deployment = deployment(&spec);
        let mut left = false;
        let mut at = 0;
        for (deed, flag) in deeds.into_iter().chain([(7, true)]).chain(std::iter::repeat_n((9, true), 200)) {
            if deployment.phase.is_final() {
                break;
            }
            at += 10;
            let fact = match deed {
                0 => control(Control::Pause),
                1 => control(Control::Resume),
                2 => control(Control::Promote { step: None, to_end: flag }),
                3 => control(Control::Cancel { rollback: flag }),
                4 => Fact::LeaseEnded,
                5 => failed(&deployment),
                6 => Fact::TimedOut,
                7 => control(Control::Resume),
                10 => report(
                    &deployment,
                    Outcome::Watched { why: "watching".into(), cause: Cause::Version, well: flag },
                ),
                11 => {
                    let failure = TaskFailure { task: at.to_string(), reason: "it crashes".into(), exit_code: Some(1) };
                    report(&deployment, Outcome::Evidence { task_failures: vec![failure], service_events: vec![] })
                }
                _ if deployment.paused.is_some() => control(Control::Promote { step: None, to_end: false }),
                _ if deployment.lease.is_none() => Fact::Leased(lease("a")),
                _ => done(&deployment),
            };
            let Ok((next, effects)) = deployment.clone().apply(&spec, fact, Timestamp(at)) else { continue };
            prop_assert!(next.generation >= deployment.generation);
            prop_assert!(next.deadline().is_none() || next.wants_deployer());
            prop_assert_eq!(next.phase.is_final(), effects.iter().any(|effect| matches!(effect, Effect::Ended { .. })));
            left |= deed == 3 && !flag;
            deployment = next;
        }
        prop_assert!(deployment.phase.is_final(), "{:?} {:?}", deployment.phase, deployment.paused);
        let mut serving = deployment.serving();
        serving.retain(|service| service.count > 0);
        match deployment.phase {
            Phase::Succeeded => prop_assert_eq!(serving, deployment.plan.to),
            Phase::Failed => prop_assert!(serving == deployment.plan.from || deployment.reason.unwrap().contains("person")),
            _ => prop_assert!(serving == deployment.plan.from || left || deployment.reason.unwrap().contains("person")),
        }
    }
}

#[test]
fn a_timeout_judges_the_version_only_where_its_tasks_were_awaited() {
    let spec = spec();
    let cause = |deployment: Deployment| apply(&spec, deployment, Fact::TimedOut).cause;
    let waits = |deployment: Deployment, cause| {
        let waiting = report(&deployment, Outcome::Waiting { why: "0 of 1 tasks healthy".into(), cause });
        apply(&spec, deployment, waiting)
    };
    assert_eq!(cause(running(&spec)), Some(Cause::Surroundings), "nothing runs yet");
    let verifies = |step: &Step| matches!(step, Step::Verify { max_task_failures: 1.., .. });
    let verifying = until(&spec, running(&spec), verifies);
    assert_eq!(cause(waits(verifying.clone(), Cause::Version)), Some(Cause::Version));
    assert_eq!(cause(waits(verifying, Cause::Surroundings)), Some(Cause::Surroundings), "AWS had no room");
}

#[test]
fn a_request_to_go_back_is_remembered_by_what_it_cancelled_also_where_it_changed_nothing() {
    let spec = spec();
    let cancel = |request_id: &str| {
        let (by, why, control) = ("ann".into(), String::new(), Control::Cancel { rollback: true });
        Fact::Controlled(ControlUsed { at: Timestamp(10), by, why, control, request_id: request_id.into() })
    };
    let shifted = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let failing = failed(&shifted);
    let rolling_back = apply(&spec, shifted, failing);
    assert!(rolling_back.rollback.is_some());
    let asked = apply(&spec, rolling_back.clone(), cancel(""));
    assert_eq!(asked.controls.len(), 1, "who asked is kept, though it goes back already");
    assert_eq!(apply(&spec, asked.clone(), cancel("")), asked, "and once");
    let once = apply(&spec, asked, cancel("back"));
    assert_eq!((once.phase, once.cursor, &once.rollback), (rolling_back.phase, 0, &rolling_back.rollback));
    assert!(once.has_answered("back") && !once.has_answered("") && !once.has_answered("other"));
    assert_eq!(apply(&spec, once.clone(), cancel("back")), once);
}

#[test]
fn another_end_than_the_one_that_came_is_refused() {
    let spec = spec();
    let shifting = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let left = apply(&spec, shifting, control(Control::Cancel { rollback: false }));
    assert_eq!(apply(&spec, left.clone(), control(Control::Cancel { rollback: false })), left);
    let refused = left.apply(&spec, control(Control::Cancel { rollback: true }), Timestamp(20)).unwrap_err();
    assert_eq!(refused, IllegalEvent::Ended);
}

#[test]
fn a_promotion_of_a_later_wait_does_not_pass_over_those_before_it() {
    let spec = careful();
    let deployment = running(&spec);
    let waits: Vec<usize> =
        (0..deployment.plan.steps.len()).filter(|index| deployment.plan.steps[*index].only_waits()).collect();
    let later = *waits.iter().find(|index| !waits.contains(&(**index - 1)) && **index > waits[0]).unwrap();
    let promote = |to_end| control(Control::Promote { step: Some(later), to_end });
    let refused = deployment.clone().apply(&spec, promote(false), Timestamp(10)).unwrap_err();
    assert_eq!(refused, IllegalEvent::NotNext { step: later, next: waits[0] });
    assert!(deployment.apply(&spec, promote(true), Timestamp(10)).is_ok());
}

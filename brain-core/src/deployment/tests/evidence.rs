//! What was found of a version, told as it is found.

use super::*;

fn failures(tasks: std::ops::Range<u32>) -> Vec<TaskFailure> {
    let failure = |task: u32| TaskFailure { task: task.to_string(), reason: "exit code 1".into(), exit_code: Some(1) };
    tasks.map(failure).collect()
}

fn verifying(spec: &ProjectSpec) -> Deployment {
    until(spec, running(spec), |step| matches!(step, Step::Verify { .. }))
}

fn tell(spec: &ProjectSpec, deployment: Deployment, tasks: std::ops::Range<u32>) -> Deployment {
    let service_events = vec![ServiceEvent { at: Timestamp(1), message: "was unable to place a task".into() }];
    let fact = report(&deployment, Outcome::Evidence { task_failures: failures(tasks), service_events });
    apply(spec, deployment, fact)
}

#[test]
fn what_was_told_is_kept_however_the_step_ends() {
    let spec = spec();
    let told = tell(&spec, verifying(&spec), 0..2);
    for end in [Fact::TimedOut, control(Control::Pause), control(Control::Cancel { rollback: true })] {
        let ended = apply(&spec, told.clone(), end);
        assert_eq!((ended.task_failures.len(), ended.service_events.len()), (2, 1));
    }
}

#[test]
fn a_task_that_was_told_of_before_its_step_was_done_counts_once_and_the_step_is_judged_by_it() {
    let spec = spec();
    let mut told = tell(&spec, verifying(&spec), 0..2);
    let outcome = Outcome::Done { task_failures: failures(0..2), service_events: vec![] };
    let fact = report(&told, outcome);
    told = apply(&spec, told, fact);
    assert_eq!((told.failed_before, told.phase), (2, Phase::Running));
    told = tell(&spec, told, 1..3);
    assert_eq!(told.phase, Phase::Running, "the step may yet come to its end");
    let fact = done(&told);
    told = apply(&spec, told, fact);
    assert_eq!(told.phase, Phase::RollingBack);
    assert_eq!(told.reason.as_deref(), Some("3 tasks failed in all; the last one: exit code 1"));
}

#[test]
fn more_failed_tasks_than_are_kept_are_counted_once_each() {
    let mut spec = spec();
    spec.rollout_policy.max_task_failures = 100;
    let mut told = verifying(&spec);
    for part in [0..20, 20..40, 40..60, 0..20] {
        told = tell(&spec, told, part);
    }
    assert_eq!((told.failed_before, told.task_failures.len()), (60, TASK_FAILURES_KEPT));
    let outcome = Outcome::Done { task_failures: failures(30..50), service_events: vec![] };
    let fact = report(&told, outcome);
    told = apply(&spec, told, fact);
    assert_eq!((told.failed_before, told.phase), (60, Phase::Running));
}

//! Leases and the time that steps take under them.

use super::*;

#[test]
fn a_report_of_an_older_generation_is_refused() {
    let spec = spec();
    let first = running(&spec);
    let stale = done(&first);
    let deployment = apply(&spec, first, Fact::LeaseEnded);
    let deployment = apply(&spec, deployment, Fact::Leased(lease("b")));
    let refused = deployment.apply(&spec, stale, Timestamp(10)).unwrap_err();
    assert_eq!(refused, IllegalEvent::StaleGeneration { reported: 1, current: 2 });
}

#[test]
fn a_lease_that_is_held_is_not_given_to_another() {
    let spec = spec();
    let refused = running(&spec).apply(&spec, Fact::Leased(lease("b")), Timestamp(1)).unwrap_err();
    assert_eq!(refused, IllegalEvent::AlreadyLeased);
    assert_eq!(apply(&spec, running(&spec), Fact::Leased(lease("a"))).generation, 2);
}

#[test]
fn only_time_with_a_deployer_counts_towards_a_timeout() {
    let spec = spec();
    let waiting = deployment(&spec);
    assert_eq!(waiting.deadline(), None);
    let leased = apply(&spec, waiting, Fact::Leased(lease("a")));
    assert_eq!(leased.deadline(), Some(Timestamp(10).plus(spec.rollout_policy.step_timeout)));
    let freed = apply(&spec, leased, Fact::LeaseEnded);
    assert_eq!(freed.deadline(), None);
    assert!(freed.apply(&spec, Fact::TimedOut, Timestamp(99)).is_err());
}

#[test]
fn a_bake_has_its_own_time_before_the_timeout_counts() {
    let spec = careful();
    let deployment = until(&spec, running(&spec), |step| matches!(step, Step::Bake { .. }));
    assert_eq!(deployment.deadline(), Some(Timestamp(10).plus(Duration::from_secs(660))));
}

#[test]
fn a_step_does_not_get_its_time_anew_with_every_lease() {
    let spec = spec();
    let minutes = |minutes: i64| Timestamp(minutes * 60_000);
    let mut deployment = deployment(&spec);
    for (from, to) in [(0, 4), (100, 104)] {
        deployment = deployment.apply(&spec, Fact::Leased(lease("a")), minutes(from)).unwrap().0;
        deployment = deployment.apply(&spec, Fact::LeaseEnded, minutes(to)).unwrap().0;
    }
    deployment = deployment.apply(&spec, Fact::Leased(lease("b")), minutes(200)).unwrap().0;
    assert_eq!(deployment.deadline(), Some(minutes(202)), "8 of its 10 minutes are used up");
    let pause = ControlUsed {
        at: minutes(201),
        by: "ann".into(),
        why: String::new(),
        control: Control::Pause,
        request_id: String::new(),
    };
    deployment = deployment.apply(&spec, Fact::Controlled(pause), minutes(201)).unwrap().0;
    deployment = deployment.apply(&spec, Fact::LeaseEnded, minutes(300)).unwrap().0;
    let resume = ControlUsed {
        at: minutes(400),
        by: "ann".into(),
        why: String::new(),
        control: Control::Resume,
        request_id: String::new(),
    };
    deployment = deployment.apply(&spec, Fact::Controlled(resume), minutes(400)).unwrap().0;
    deployment = deployment.apply(&spec, Fact::Leased(lease("b")), minutes(400)).unwrap().0;
    assert_eq!(deployment.deadline(), Some(minutes(401)), "the pause took none of it");
}

#[test]
fn whose_lease_was_taken_away_is_remembered_until_another_is_given_or_it_has_reported_the_end() {
    let spec = spec();
    let cancel = |rollback| control(Control::Cancel { rollback });
    let shifting = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let (back, _) = shifting.apply(&spec, cancel(true), Timestamp(10)).unwrap();
    assert_eq!(back.former, Some(lease("a")), "it may not have heard of the rollback yet");
    let (left, effects) = back.clone().apply(&spec, cancel(false), Timestamp(10)).unwrap();
    assert!(effects.contains(&Effect::Ended { leftover: true }), "{effects:?}");
    assert_eq!(left.former, Some(lease("a")));
    let mut back = apply(&spec, back, Fact::Leased(lease("b")));
    assert_eq!(back.former, None);
    while !back.phase.is_final() {
        let fact = done(&back);
        back = apply(&spec, back, fact);
    }
    assert_eq!(back.former, None, "who has reported the end does nothing more");
}

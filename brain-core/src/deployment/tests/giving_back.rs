//! Capacity that is not given back.

use super::*;

fn gives_back(step: &Step) -> bool {
    matches!(step, Step::ReturnCapacity { .. })
}

fn not_given(deployment: &Deployment, times_out: bool) -> Fact {
    if times_out { Fact::TimedOut } else { failed(deployment) }
}

#[test]
fn capacity_that_is_not_given_back_fails_no_version_whatever_the_policy() {
    for (times_out, on_failure) in [(true, OnFailure::RollBack), (false, OnFailure::RollBack), (true, OnFailure::Pause)]
    {
        let mut spec = spec();
        spec.rollout_policy.on_failure = on_failure;
        let last = until(&spec, running(&spec), gives_back);
        let fact = not_given(&last, times_out);
        let (ended, effects) = last.apply(&spec, fact, Timestamp(10)).unwrap();
        assert_eq!((ended.phase, ended.serving()), (Phase::Succeeded, ended.plan.to.clone()));
        assert_eq!((ended.cause, ended.rollback.is_none()), (None, true), "nothing is held against the version");
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Ended { .. })), "{effects:?}");
        let reason = ended.reason.unwrap();
        assert!(reason.starts_with("capacity was not given back, which is left to housekeeping: "), "{reason}");
    }
}

#[test]
fn a_way_back_whose_capacity_is_not_given_back_has_brought_the_old_version_back() {
    let spec = spec();
    let shifting = until(&spec, running(&spec), |step| matches!(step, Step::Verify { .. }));
    let fact = failed(&shifting);
    let back = apply(&spec, shifting, fact);
    let last = until(&spec, apply(&spec, back, Fact::Leased(lease("a"))), gives_back);
    let ended = apply(&spec, last, Fact::TimedOut);
    let mut serving = ended.serving();
    serving.retain(|service| service.count > 0);
    assert_eq!((ended.phase, serving), (Phase::Failed, ended.plan.from.clone()));
    let reason = ended.reason.unwrap();
    assert!(reason.starts_with("it crashes; capacity was not given back"), "{reason}");
    assert!(!reason.contains("a person must"), "{reason}");
}

#[test]
fn what_an_earlier_release_rolled_back_for_want_of_capacity_is_told_again_as_it_happened() {
    let spec = spec();
    let mut last = until(&spec, running(&spec), gives_back);
    last.plan.edition = 0;
    assert_eq!(apply(&spec, last, Fact::TimedOut).phase, Phase::RollingBack);
}

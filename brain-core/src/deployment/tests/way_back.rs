//! The way back to a version that is sick by itself.

use super::*;

/// On its way back, at the last step before capacity is given back: the old version is seen.
fn seen_at_last(spec: &ProjectSpec) -> Deployment {
    let shifting = until(spec, running(spec), |step| matches!(step, Step::Verify { healthy: 2, .. }));
    let fact = failed(&shifting);
    let back = apply(spec, shifting, fact);
    let sees = |step: &Step| matches!(step, Step::Verify { service, healthy: 1.., .. } if service == "old");
    until(spec, apply(spec, back, Fact::Leased(lease("a"))), sees)
}

#[test]
fn it_ends_with_all_tasks_where_they_were_though_they_never_become_healthy() {
    let spec = spec();
    let waiting = Outcome::Waiting { why: "0 of 3 tasks healthy".into(), cause: Cause::Version };
    let last = seen_at_last(&spec);
    let fact = report(&last, waiting);
    let last = apply(&spec, last, fact);
    let generation = last.generation;
    let (given, effects) = last.apply(&spec, Fact::TimedOut, Timestamp(10)).unwrap();
    assert_eq!(effects, [Effect::Withdraw(generation), Effect::HandOut], "whoever waits for health leaves it");
    assert!(matches!(given.current_step(), Some(Step::ReturnCapacity { .. })), "{:?}", given.current_step());
    let given = apply(&spec, given, Fact::Leased(lease("a")));
    let fact = done(&given);
    let ended = apply(&spec, given, fact);
    let mut serving = ended.serving();
    serving.retain(|service| service.count > 0);
    assert_eq!(
        (ended.phase, ended.ending(), serving),
        (Phase::Failed, Some(Ending::RolledBack), ended.plan.from.clone())
    );
    let reason = ended.reason.unwrap();
    let told = "it crashes; the old version is back, and not all of it is healthy: \"see 3 healthy tasks of old\" took";
    assert!(reason.starts_with(told) && reason.ends_with("0 of 3 tasks healthy"), "{reason}");
}

#[test]
fn an_earlier_edition_tries_again_as_it_did() {
    let spec = spec();
    let mut last = seen_at_last(&spec);
    last.rollback.as_mut().unwrap().plan.edition = 1;
    let again = apply(&spec, last, Fact::TimedOut);
    assert_eq!((again.phase, again.rollback.unwrap().attempts), (Phase::RollingBack, 2));
}

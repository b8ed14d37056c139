//! Bakes that begin again, and time that nobody watched.

use super::*;

const SECOND: i64 = 1_000;

fn seen(deployment: &Deployment, well: bool) -> Fact {
    let why = if well { "watching" } else { "2 of 3 tasks healthy" };
    report(deployment, Outcome::Watched { why: why.into(), cause: Cause::Version, well })
}

fn at(spec: &ProjectSpec, deployment: Deployment, fact: Fact, seconds: i64) -> Deployment {
    deployment.apply(spec, fact, Timestamp(10 + seconds * SECOND)).unwrap().0
}

fn see(spec: &ProjectSpec, deployment: Deployment, well: bool, seconds: i64) -> Deployment {
    let fact = seen(&deployment, well);
    at(spec, deployment, fact, seconds)
}

fn baking(spec: &ProjectSpec) -> Deployment {
    until(spec, running(spec), |step| matches!(step, Step::Bake { .. }))
}

#[test]
fn a_bake_that_begins_again_gets_its_time_again_and_only_once_for_each_time() {
    let spec = careful();
    let mut bakes = see(&spec, baking(&spec), true, 0);
    bakes = see(&spec, bakes, false, 59);
    assert_eq!(bakes.deadline(), Some(Timestamp(10 + (59 + 660) * SECOND)));
    bakes = see(&spec, bakes, false, 300);
    assert_eq!(bakes.deadline(), Some(Timestamp(10 + (59 + 660) * SECOND)), "it has not been well since");
    bakes = see(&spec, bakes, true, 400);
    assert_eq!(bakes.watched(), Duration::ZERO);
    let late = bakes.apply(&spec, Fact::TimedOut, Timestamp(10 + 719 * SECOND)).unwrap().0;
    let reason = late.reason.unwrap();
    assert!(reason.contains("took longer than 660 s after it began again: watching"), "{reason}");
}

#[test]
fn a_version_that_comes_and_goes_is_not_watched_for_ever() {
    let spec = careful();
    let mut bakes = baking(&spec);
    for round in 0..i64::from(BAKE_RESTARTS_MAX) {
        bakes = see(&spec, bakes, true, round * 20);
        bakes = see(&spec, bakes, false, round * 20 + 10);
        assert_eq!(bakes.phase, Phase::Running, "round {round}");
    }
    bakes = see(&spec, bakes, true, 1_000);
    bakes = see(&spec, bakes, false, 1_010);
    assert_eq!((bakes.phase, bakes.cause), (Phase::RollingBack, Some(Cause::Version)));
    assert!(bakes.reason.unwrap().ends_with("began again 5 times: 2 of 3 tasks healthy"));
}

#[test]
fn time_without_a_deployer_is_not_watched_and_what_was_before_it_was_not_well_neither() {
    let spec = careful();
    let mut bakes = see(&spec, baking(&spec), true, 0);
    bakes = at(&spec, bakes, Fact::LeaseEnded, 20);
    assert_eq!(bakes.watched(), Duration::from_secs(20));
    bakes = at(&spec, bakes, Fact::Leased(lease("b")), 500);
    assert_eq!(bakes.watched(), Duration::from_secs(20));
    assert_eq!(bakes.deadline(), Some(Timestamp(10 + (500 + 640) * SECOND)));
    bakes = see(&spec, bakes, true, 510);
    bakes = at(&spec, bakes, Fact::LeaseEnded, 515);
    assert_eq!(bakes.watched(), Duration::from_secs(25));
    bakes = at(&spec, bakes, Fact::Leased(lease("c")), 520);
    bakes = see(&spec, bakes, false, 521);
    bakes = at(&spec, bakes, Fact::LeaseEnded, 530);
    assert_eq!(bakes.watched(), Duration::ZERO);
}

use super::*;
use crate::{
    plan::{Goal, ServiceCount, plan},
    project::{ProjectDraft, TargetDraft},
};
use proptest::prelude::*;

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
    let serving = [ServiceCount { service: "old".into(), version: "0.0.4".into(), count: 3 }];
    let plan = plan(spec, Goal { deployment: 1, tag: "0.0.5", digest: &digest }, &serving);
    let request =
        Request { number: 1, tag: "0.0.5".into(), digest, requested_by: "".into(), request_id: "".into(), plan };
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
    report(deployment, Outcome::Done { task_failures: vec![] })
}

fn failed(deployment: &Deployment) -> Fact {
    report(deployment, Outcome::Failed { reason: "it crashes".into(), task_failures: vec![] })
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
fn a_step_that_fails_before_anything_moved_ends_the_deployment() {
    let spec = spec();
    let deployment = running(&spec);
    let fact = failed(&deployment);
    let (deployment, effects) = deployment.apply(&spec, fact, Timestamp(2)).unwrap();
    assert_eq!((deployment.phase, deployment.rollback.is_none()), (Phase::Failed, true));
    assert!(effects.contains(&Effect::Ended));
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
                5 => report(&deployment, Outcome::Waiting { why: "w".into() }),
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
        let healthy: u32 = deployment.serving().iter().map(|service| service.count).sum();
        prop_assert_eq!(healthy, 3);
    }
}

//! What is said of a deployment that stands at a hold.

use super::*;
use crate::{
    deployment::{Cause, Fact, Lease, Outcome},
    id::AgentName,
    policy::{RolloutStep, Size},
};

fn happens(state: &mut ProjectState, fact: Fact) {
    let change = Change::DeploymentChanged { number: 1, fact };
    state.apply(&Event { at: Timestamp(9), by: "test".into(), change }).unwrap();
}

fn is_leased(state: &mut ProjectState) {
    let agent = AgentName::parse("deployer-1").unwrap();
    happens(state, Fact::Leased(Lease { agent, instance: "i".into() }));
}

fn reports(state: &mut ProjectState, outcome: Outcome) {
    let active = state.active().unwrap();
    let (generation, step) = (active.generation, active.cursor);
    happens(state, Fact::Reported { generation, rollback: false, step, outcome });
}

#[test]
fn what_is_not_well_at_a_hold_is_said_beside_who_is_waited_for() {
    let mut state = seeds();
    state.spec.rollout_policy.steps = vec![RolloutStep { hold: true, ..RolloutStep::to(Size::Count(1)) }];
    let old = ServiceCount { service: "old".into(), version: "0.0.3".into(), count: 3, known: None, group: None };
    state.serving = vec![old];
    let request = state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap();
    let change = Change::DeploymentRequested(Box::new(request));
    state.apply(&Event { at: Timestamp(6), by: "test".into(), change }).unwrap();
    is_leased(&mut state);
    while !state.active().unwrap().holds() {
        reports(&mut state, Outcome::Done { task_failures: vec![], service_events: vec![] });
    }
    let said = |state: &ProjectState| {
        let said = status(state, &Moment::default()).sentences[0].clone();
        assert_eq!(said.waits_for, "somebody to promote, resume or cancel it");
        said.text
    };
    let held =
        "flowcommerce/user:0.0.4 deploy is paused by rollout policy: the rollout policy asks for a person's promotion";
    assert_eq!(said(&state), held, "no deployer is needed for that");
    is_leased(&mut state);
    for (why, expected) in [("0 of 1 tasks healthy", format!("{held}; 0 of 1 tasks healthy")), ("", held.to_owned())] {
        let outcome = Outcome::Watched { why: why.into(), cause: Cause::Version, well: why.is_empty() };
        reports(&mut state, outcome);
        assert_eq!(said(&state), expected);
    }
}

//! Dry runs: plans of what must not be deployed now.

use super::*;
use crate::{
    deployment::Outcome,
    hold::{Barrier, Frozen, HoldWish},
    id::AgentName,
    plan::Step,
    window::Window,
};
use std::time::Duration;

fn happens(state: &mut ProjectState, change: Change) {
    state.apply(&Event { at: Timestamp(5), by: "ann".into(), change }).unwrap();
}

fn hold(state: &mut ProjectState, wish: HoldWish) {
    let change = state.request_hold(wish, "w".into()).unwrap().unwrap();
    happens(state, change);
}

/// The seed's project, once 0.0.5 has its image too.
fn with_images() -> ProjectState {
    let mut state = seeds();
    let images = vec![("0.0.4".to_owned(), digest(4)), ("0.0.5".to_owned(), digest(5))];
    take(&mut state, Observation::Images { complete: true, images, removed: vec![] });
    state
}

#[test]
fn what_is_held_is_planned_all_the_same_and_all_that_holds_it_is_told() {
    let mut state = with_images();
    let free = state.dry_run(wish("0.0.5"), &Moment::default()).unwrap();
    assert_eq!(free.plan, state.request_deployment(wish("0.0.5"), &Moment::default()).unwrap().plan);
    assert!(free.barriers.is_empty(), "{:?}", free.barriers);
    hold(&mut state, HoldWish::Pin("0.0.4".into()));
    hold(&mut state, HoldWish::Freeze(Frozen { until: None }));
    let window = Window::check("10 0 * * *", Duration::from_secs(600), "UTC", Timestamp(0)).unwrap();
    hold(&mut state, HoldWish::Windows(vec![window]));
    let held = state.dry_run(wish("0.0.5"), &Moment::default()).unwrap();
    assert_eq!(held.plan, free.plan);
    let all = &*held.barriers;
    let kind = |refusal: &Refusal| match refusal {
        Refusal::Held(Barrier::Pinned(_)) => "pin",
        Refusal::Held(Barrier::Frozen(_)) => "freeze",
        Refusal::Held(Barrier::Windows { .. }) => "windows",
        _ => "another",
    };
    let kinds: Vec<&str> = all.iter().map(kind).collect();
    assert_eq!(kinds, ["pin", "freeze", "windows"]);
    assert_eq!(state.request_deployment(wish("0.0.5"), &Moment::default()).unwrap_err(), all[0]);
    let outside = Wish { outside_windows: Some("it burns".into()), ..wish("0.0.5") };
    assert_eq!(state.dry_run(outside, &Moment::default()).unwrap().barriers, all[..2]);
    let pinned = state.dry_run(wish("0.0.4"), &Moment::default()).unwrap();
    assert_eq!(pinned.barriers, all[1..], "no pin holds the version that it names");
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let state = seeds();
    let refused = |tag: &str| state.dry_run(wish(tag), &Moment::default()).unwrap_err();
    assert_eq!(refused("0.0.5"), Refusal::NoImage { image: "flowcommerce/user:0.0.5".into() });
    assert_eq!(refused("0.0.9"), Refusal::UnknownRelease("0.0.9".into()));
}

#[test]
fn beside_a_deployment_in_progress_a_plan_begins_where_that_one_stands() {
    let mut state = with_images();
    let request = state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap();
    happens(&mut state, Change::DeploymentRequested(Box::new(request)));
    let begins_with = |state: &ProjectState| {
        let DryRun { plan, barriers } = state.dry_run(wish("0.0.5"), &Moment::default()).unwrap();
        assert_eq!(barriers, [Refusal::InProgress { number: 1, tag: "0.0.4".into() }]);
        let versions: Vec<String> = plan.from.into_iter().map(|count| count.version).collect();
        versions
    };
    assert!(begins_with(&state).is_empty());
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    happens(&mut state, Change::DeploymentChanged { number: 1, fact: Fact::Leased(lease) });
    while !matches!(state.active().unwrap().current_step(), Some(Step::Verify { .. })) {
        let active = state.active().unwrap();
        let (generation, step) = (active.generation, active.cursor);
        let outcome = Outcome::Done { task_failures: vec![], service_events: vec![] };
        let fact = Fact::Reported { generation, rollback: false, step, outcome };
        happens(&mut state, Change::DeploymentChanged { number: 1, fact });
    }
    assert_eq!(begins_with(&state), ["0.0.4"]);
}

use super::*;
use crate::{
    deployment::{Fact, Lease, Outcome},
    event::{Change, Event},
    id::AgentName,
    image::Digest,
    line::Moment,
    plan::Step,
    project::{ProjectDraft, TargetDraft},
    state::Wish,
    status::status,
};

fn project() -> ProjectState {
    let target =
        TargetDraft { region: "us-east-1".into(), container_port: 9000, desired_count: 3, ..TargetDraft::default() };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    let mut state = ProjectState::new(draft.validate(|_| Ok(6000)).unwrap(), Timestamp(0));
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    take(&mut state, Change::ImageObserved { tag: "0.0.4".into(), digest }, 1);
    state
}

fn take(state: &mut ProjectState, change: Change, at: i64) {
    state.apply(&Event { at: Timestamp(at), by: "test".into(), change }).unwrap();
}

fn begin(state: &mut ProjectState, at: i64) -> u64 {
    let wish = Wish { tag: "0.0.4".into(), ..Wish::default() };
    let request = state.request_deployment(wish, &Moment::default()).unwrap();
    let number = request.number;
    take(state, Change::DeploymentRequested(Box::new(request)), at);
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    take(state, Change::DeploymentChanged { number, fact: Fact::Leased(lease) }, at);
    // There is room.
    report(state, number, done(), at);
    number
}

fn report(state: &mut ProjectState, number: u64, outcome: Outcome, at: i64) {
    let deployment = state.deployment(number).unwrap();
    let (generation, step) = (deployment.generation, deployment.cursor);
    let fact = Fact::Reported { generation, rollback: false, step, outcome };
    take(state, Change::DeploymentChanged { number, fact }, at);
}

fn done() -> Outcome {
    Outcome::Done { task_failures: vec![], service_events: vec![] }
}

/// Carries out the set-up, each step told to have found that.
fn set_up(state: &mut ProjectState, number: u64, found: &[Drift], at: i64) {
    while state.deployment(number).unwrap().current_step().is_some_and(Step::is_set_up) {
        report(state, number, Outcome::Found { drift: found.to_vec() }, at);
        report(state, number, done(), at);
    }
}

fn give_up(state: &mut ProjectState, number: u64) {
    use crate::deployment::control::{Control, ControlUsed};
    let control = Control::Cancel { rollback: false };
    let used =
        ControlUsed { at: Timestamp(9), by: "ann".into(), why: String::new(), request_id: String::new(), control };
    take(state, Change::DeploymentChanged { number, fact: Fact::Controlled(used) }, 9);
}

fn drift(resource: &str, remedy: Remedy) -> Drift {
    Drift { resource: resource.into(), difference: "health check: TCP:22 → TCP:6000".into(), remedy }
}

#[test]
fn set_up_is_completed_until_it_was_finished_once_and_then_checked() {
    let mut state = project();
    assert_eq!((state.set_up(false), state.set_up(true)), (SetUp::Make, SetUp::Repair));
    let first = begin(&mut state, 2);
    report(&mut state, first, done(), 3);
    give_up(&mut state, first);
    assert_eq!(state.set_up(false), SetUp::Make, "it was broken off");
    let second = begin(&mut state, 4);
    set_up(&mut state, second, &[], 5);
    give_up(&mut state, second);
    assert_eq!((state.set_up(false), state.set_up(true)), (SetUp::Check, SetUp::Repair));
}

#[test]
fn what_was_begun_to_be_made_again_is_completed_by_the_next_deployment() {
    let mut state = project();
    let first = begin(&mut state, 2);
    set_up(&mut state, first, &[], 3);
    give_up(&mut state, first);
    let second = begin(&mut state, 4);
    report(&mut state, second, Outcome::Found { drift: vec![drift("load balancer x", Remedy::Made)] }, 5);
    assert_eq!(state.deployment(second).unwrap().makes(), ["load balancer x"]);
    give_up(&mut state, second);
    assert_eq!(state.set_up(false), SetUp::Make);
}

#[test]
fn drift_is_known_since_it_was_first_found_until_a_set_up_finds_none() {
    let mut state = project();
    let told = drift("load balancer x", Remedy::Told);
    for at in [10, 20] {
        let number = begin(&mut state, at);
        set_up(&mut state, number, &[told.clone(), drift("cluster x", Remedy::Made)], at);
        give_up(&mut state, number);
    }
    assert_eq!(state.drift, [KnownDrift { drift: told, since: Timestamp(10) }]);
    let said = status(&state, &Moment::default()).sentences;
    let said = said.iter().find(|sentence| sentence.text.contains("drift")).unwrap();
    assert_eq!(said.text, "flowcommerce/user: drift of the load balancer x: health check: TCP:22 → TCP:6000");
    assert!(said.waits_for.contains("repairs drift"));
    let number = begin(&mut state, 30);
    set_up(&mut state, number, &[drift("load balancer x", Remedy::Repaired)], 30);
    assert!(state.drift.is_empty());
}

#[test]
fn a_difference_that_is_found_again_is_no_news() {
    let mut state = project();
    let number = begin(&mut state, 2);
    let found = Outcome::Found { drift: vec![drift("load balancer x", Remedy::Told)] };
    report(&mut state, number, found.clone(), 3);
    let before = state.clone();
    report(&mut state, number, found, 4);
    assert_eq!(state, before);
}

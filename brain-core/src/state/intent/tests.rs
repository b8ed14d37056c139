use super::*;
use crate::{
    deployment::{Cause, Fact, Lease, Outcome, control::Control, control::ControlUsed},
    event::Event,
    hold::Frozen,
    id::AgentName,
    project::{DeployMode, ProjectDraft, TargetDraft},
    state::WayBack,
    status::status,
    time::Timestamp,
};
use proptest::prelude::*;

const TAGS: [&str; 3] = ["0.0.4", "0.0.5", "0.0.6"];

fn digest(seed: usize) -> Digest {
    Digest::parse(&format!("sha256:{}", format!("{seed:02x}").repeat(32))).unwrap()
}

fn automatic() -> ProjectState {
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(TargetDraft {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: 3,
            ..TargetDraft::default()
        }),
        deploy: DeployMode { automatic: true },
        ..ProjectDraft::default()
    };
    ProjectState::new(draft.validate(|_| Ok(6000)).unwrap(), Timestamp(1))
}

fn take(state: &mut ProjectState, change: Change) {
    state.apply(&Event { at: Timestamp(1_000), by: "ann".into(), change }).unwrap();
}

fn push(state: &mut ProjectState, tag: &str, seed: usize) {
    take(state, Change::ImageObserved { tag: tag.into(), digest: digest(seed) });
}

fn hold(state: &mut ProjectState, wish: HoldWish) -> bool {
    let change = state.request_hold(wish, "w".into()).unwrap();
    let changed = change.is_some();
    change.into_iter().for_each(|change| take(state, change));
    changed
}

/// Carries out the deployment that the policy asks for, as the server does; answers its tag.
fn deploy(state: &mut ProjectState) -> Option<String> {
    let request = state.request_deployment(state.wanted_deployment()?).unwrap();
    let tag = request.tag.clone();
    take(state, Change::DeploymentRequested(Box::new(request)));
    Some(tag)
}

fn fact(state: &mut ProjectState, fact: Fact) {
    let Some(number) = state.active().map(|active| active.number) else { return };
    let after = state.after(number, fact.clone(), Timestamp(1_000)).unwrap().0;
    let quarantine = state.quarantine_of(&after);
    take(state, Change::DeploymentChanged { number, fact });
    quarantine.into_iter().for_each(|change| take(state, change));
}

fn end(state: &mut ProjectState, fails: bool) {
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    fact(state, Fact::Leased(lease));
    while let Some(active) = state.active() {
        let (generation, rollback, step) = (active.generation, active.rollback.is_some(), active.cursor);
        let reason = "it crashed".to_owned();
        let outcome = if fails && !rollback {
            Outcome::Failed { reason, task_failures: vec![], service_events: vec![], cause: Cause::Version }
        } else {
            Outcome::Done { task_failures: vec![], service_events: vec![] }
        };
        fact(state, Fact::Reported { generation, rollback, step, outcome });
        let lost = state.active().is_some_and(|active| active.lease.is_none());
        if lost {
            let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
            fact(state, Fact::Leased(lease));
        }
    }
}

fn cancel(state: &mut ProjectState) {
    let control = Control::Cancel { rollback: false };
    let (by, why, request_id) = ("ann".into(), String::new(), String::new());
    fact(state, Fact::Controlled(ControlUsed { at: Timestamp(1_000), by, why, control, request_id }));
}

#[test]
fn the_newest_version_with_an_image_is_deployed_by_policy_and_pre_releases_and_older_ones_are_not() {
    let mut state = automatic();
    assert_eq!(deploy(&mut state), None, "there is no image");
    push(&mut state, "nightly", 1);
    push(&mut state, "0.0.5-rc.1", 2);
    assert_eq!(deploy(&mut state), None);
    push(&mut state, "0.0.4", 4);
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.4"));
    push(&mut state, "0.0.6", 6);
    assert_eq!(deploy(&mut state), None, "one is in progress");
    end(&mut state, false);
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.6"));
    end(&mut state, false);
    push(&mut state, "0.0.5", 5);
    assert_eq!(deploy(&mut state), None, "it is older than what serves");
}

#[test]
fn what_failed_is_quarantined_and_what_was_cancelled_is_not_and_neither_comes_again_by_itself() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    deploy(&mut state);
    end(&mut state, true);
    assert_eq!((state.holds.quarantines.len(), deploy(&mut state)), (1, None));
    let wish = Wish { tag: "0.0.4".into(), ..Wish::default() };
    assert!(matches!(state.request_deployment(wish), Err(Refusal::Held(Barrier::Quarantined(_)))));
    push(&mut state, "0.0.4", 44);
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.4"), "another image under the same tag is free");
    cancel(&mut state);
    assert_eq!((state.holds.quarantines.len(), deploy(&mut state)), (1, None));
    push(&mut state, "0.0.4", 4);
    assert!(hold(&mut state, HoldWish::LiftQuarantine("0.0.4".into())));
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.4"), "a person lifted it");
}

/// The deployment in progress fails at its first step, and what is around it is at fault.
fn fail_by_surroundings(state: &mut ProjectState) {
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    fact(state, Fact::Leased(lease));
    let generation = state.active().unwrap().generation;
    let (task_failures, service_events) = (vec![], vec![]);
    let reason = "AWS refuses".to_owned();
    let outcome = Outcome::Failed { reason, task_failures, service_events, cause: Cause::Surroundings };
    fact(state, Fact::Reported { generation, rollback: false, step: 0, outcome });
    assert_eq!(state.active(), None, "at the first step there is nothing to undo");
}

#[test]
fn what_its_surroundings_failed_waits_for_a_person_and_the_status_says_so() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    deploy(&mut state);
    fail_by_surroundings(&mut state);
    assert_eq!((state.holds.quarantines.len(), deploy(&mut state)), (0, None));
    let said = status(&state).sentences[1].text.clone();
    assert!(said.contains("not the version failed deployment 1") && said.contains("AWS refuses"), "{said}");
    assert!(hold(&mut state, HoldWish::LiftQuarantine("0.0.4".into())));
    assert!(!hold(&mut state, HoldWish::LiftQuarantine("0.0.4".into())), "there is nothing more to lift");
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.4"));
    fail_by_surroundings(&mut state);
    assert_eq!(deploy(&mut state), None, "it failed once more");
    push(&mut state, "0.0.5", 5);
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.5"), "another version is another matter");
}

#[test]
fn a_hold_is_set_once_and_says_who_when_why_and_how_it_is_lifted() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    assert_eq!(state.request_hold(HoldWish::Pin(String::new()), String::new()), Err(Refusal::NothingServes));
    assert!(hold(&mut state, HoldWish::Pin("v0.0.4".into())) && !hold(&mut state, HoldWish::Pin("0.0.4".into())));
    push(&mut state, "0.0.5", 5);
    let refusal = state.request_deployment(Wish { tag: "0.0.5".into(), ..Wish::default() }).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the project is pinned to 0.0.4, by ann since 1970-01-01T00:00:01Z: w; UnpinProject lifts it"
    );
    assert!(hold(&mut state, HoldWish::Freeze(Frozen { until: Some(Timestamp(5_000)) })));
    let said: Vec<String> = status(&state).sentences.into_iter().map(|sentence| sentence.text).collect();
    assert_eq!(said[0], format!("flowcommerce/user:0.0.5 is not deployed automatically: {refusal}"));
    assert_eq!(said[1], "flowcommerce/user is pinned to 0.0.4, by ann since 1970-01-01T00:00:01Z: w");
    let freeze = "flowcommerce/user is frozen until 1970-01-01T00:00:05Z, by ann since 1970-01-01T00:00:01Z: w";
    assert_eq!(said[2], freeze);
    assert!(!state.holds.is_over(Timestamp(4_999)) && state.holds.is_over(Timestamp(5_000)));
    assert!(hold(&mut state, HoldWish::Thaw) && !hold(&mut state, HoldWish::Thaw));
}

#[test]
fn going_back_is_allowed_while_frozen_and_never_to_what_is_quarantined() {
    let mut state = automatic();
    for (seed, tag) in TAGS.iter().enumerate() {
        push(&mut state, tag, seed);
        assert_eq!(deploy(&mut state).as_deref(), Some(*tag));
        end(&mut state, false);
    }
    hold(&mut state, HoldWish::Freeze(Frozen { until: None }));
    let back = |state: &ProjectState, tag: &str| {
        let wish = Wish { tag: tag.to_owned(), ..Wish::default() };
        state.request_rollback(wish, Timestamp(1_000)).map(drop)
    };
    assert_eq!(back(&state, "0.0.5"), Ok(()));
    hold(&mut state, HoldWish::Quarantine("0.0.5".into()));
    assert!(matches!(back(&state, "0.0.5"), Err(Refusal::Held(Barrier::Quarantined(_)))));
    assert_eq!(back(&state, "0.0.4"), Ok(()));
    let before = state.request_rollback(Wish::default(), Timestamp(1_000));
    assert!(matches!(before, Ok(WayBack::Deploy { request, .. }) if request.tag == "0.0.4"), "0.0.5 is passed over");
    hold(&mut state, HoldWish::Pin(String::new()));
    assert!(matches!(back(&state, "0.0.4"), Err(Refusal::Held(Barrier::Pinned(_)))));
}

proptest! {
    /// Whatever people hold and lift in between, the policy deploys nothing that is held.
    #[test]
    fn policy_never_overrides_a_hold(deeds in proptest::collection::vec((0u8..11, 0usize..3, any::<bool>()), 0..60)) {
        let mut state = automatic();
        for (deed, which, flag) in deeds {
            let tag = TAGS[which];
            let known = state.images.contains_key(tag);
            match deed {
                0 | 1 => push(&mut state, tag, which + if flag { 10 } else { 0 }),
                2 if known => drop(hold(&mut state, HoldWish::Pin(tag.into()))),
                3 => drop(hold(&mut state, HoldWish::Unpin)),
                4 if known => drop(hold(&mut state, HoldWish::Quarantine(tag.into()))),
                5 => drop(hold(&mut state, HoldWish::LiftQuarantine(tag.into()))),
                6 => drop(hold(&mut state, HoldWish::Freeze(Frozen { until: None }))),
                7 => drop(hold(&mut state, HoldWish::Thaw)),
                8 | 9 => end(&mut state, flag),
                10 => cancel(&mut state),
                _ => {}
            }
            let (holds, number) = (state.holds.clone(), state.deployments.back().map(|latest| latest.number));
            deploy(&mut state);
            let latest = state.deployments.back().filter(|latest| Some(latest.number) != number);
            let Some(latest) = latest else { continue };
            prop_assert!(holds.freeze.is_none());
            let other = |pin: &Pinned| pin.tag != latest.tag || pin.digest != latest.digest;
            prop_assert!(holds.pin.is_none_or(|held| !other(&held.hold)));
            let same = |image: &Quarantined| image.tag == latest.tag && image.digest == latest.digest;
            prop_assert!(!holds.quarantines.iter().any(|held| same(&held.hold)));
        }
    }
}

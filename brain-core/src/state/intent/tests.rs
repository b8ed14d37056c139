use super::*;
use crate::{
    deployment::{
        Cause, Fact, IllegalEvent, Lease, Outcome, beginning::Approval, control::Control, control::ControlUsed,
    },
    event::Event,
    hold::Frozen,
    id::AgentName,
    line::{Line, Moment, Stop},
    project::{DeployMode, ProjectDraft, TargetDraft},
    state::{Misfit, WayBack},
    status::status,
    time::Timestamp,
    window::{Window, is_open},
};
use proptest::prelude::*;
use std::time::Duration;

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

fn at(ms: i64) -> Moment {
    Moment { at: Timestamp(ms), line: Line::default() }
}

/// The line as ann has stopped it.
fn stopped() -> Moment {
    let mut line = Line::default();
    let change = line.request_stop(Stop { pause_running: false }, "an outage".into()).unwrap();
    line.apply(&Event { at: Timestamp(1_000), by: "ann".into(), change }).unwrap();
    Moment { at: Timestamp(1_000), line }
}

/// Every day from 00:10 to 00:20 UTC.
fn window() -> Window {
    Window::check("10 0 * * *", Duration::from_secs(600), "UTC", Timestamp(0)).unwrap()
}

const MINUTE: i64 = 60_000;

fn push(state: &mut ProjectState, tag: &str, seed: usize) {
    take(state, Change::ImageObserved { tag: tag.into(), digest: digest(seed) });
}

fn hold(state: &mut ProjectState, wish: HoldWish) -> bool {
    // Only a pin beside another one is refused.
    let change = state.request_hold(wish, "w".into()).unwrap_or_default();
    let changed = change.is_some();
    change.into_iter().for_each(|change| take(state, change));
    changed
}

/// Carries out the deployment that the policy asks for, as the server does; answers its tag.
fn deploy(state: &mut ProjectState) -> Option<String> {
    deploy_at(state, &Moment::default())
}

fn deploy_at(state: &mut ProjectState, moment: &Moment) -> Option<String> {
    let request = state.request_deployment(state.wanted_deployment(moment)?, moment).unwrap();
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
    if state.active().is_none_or(|active| active.held) {
        return;
    }
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
    assert!(matches!(state.request_deployment(wish, &Moment::default()), Err(Refusal::Held(Barrier::Quarantined(_)))));
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
    let said = status(&state, &Moment::default()).sentences[1].text.clone();
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
    let refusal =
        state.request_deployment(Wish { tag: "0.0.5".into(), ..Wish::default() }, &Moment::default()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the project is pinned to 0.0.4, by ann since 1970-01-01T00:00:01Z: w; UnpinProject lifts it"
    );
    assert!(hold(&mut state, HoldWish::Freeze(Frozen { until: Some(Timestamp(5_000)) })));
    let said: Vec<String> =
        status(&state, &Moment::default()).sentences.into_iter().map(|sentence| sentence.text).collect();
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
        state.request_rollback(wish, &Moment::default()).map(drop)
    };
    assert_eq!(back(&state, "0.0.5"), Ok(()));
    hold(&mut state, HoldWish::Quarantine("0.0.5".into()));
    assert!(matches!(back(&state, "0.0.5"), Err(Refusal::Held(Barrier::Quarantined(_)))));
    assert_eq!(back(&state, "0.0.4"), Ok(()));
    let before = state.request_rollback(Wish::default(), &Moment::default());
    assert!(matches!(before, Ok(WayBack::Deploy { request, .. }) if request.tag == "0.0.4"), "0.0.5 is passed over");
    hold(&mut state, HoldWish::Pin(String::new()));
    assert!(matches!(back(&state, "0.0.4"), Err(Refusal::Held(Barrier::Pinned(_)))));
}

/// Lets a deployment begin that waits for it, as the server does; answers what is said of it.
fn admit(state: &mut ProjectState, moment: &Moment) -> Option<Fact> {
    let (_, admission) = state.admission(moment)?;
    fact(state, admission.clone());
    Some(admission)
}

fn approve(state: &mut ProjectState, by: &str) -> Result<(), Misfit> {
    let number = state.active().unwrap().number;
    let approval = Fact::Approved(Approval { at: Timestamp(1_000), by: by.into(), why: String::new() });
    state.after(number, approval.clone(), Timestamp(1_000))?;
    fact(state, approval);
    Ok(())
}

#[test]
fn a_stopped_line_holds_everything_new_and_nothing_that_goes_back() {
    let mut state = automatic();
    for (seed, tag) in ["0.0.4", "0.0.5"].iter().enumerate() {
        push(&mut state, tag, seed);
        deploy(&mut state);
        end(&mut state, false);
    }
    push(&mut state, "0.0.6", 6);
    let stopped = stopped();
    assert_eq!(state.wanted_deployment(&stopped).map(|wish| wish.tag), None);
    let said: Vec<String> = status(&state, &stopped).sentences.into_iter().map(|sentence| sentence.text).collect();
    let who = "by ann since 1970-01-01T00:00:01Z: an outage";
    assert_eq!(said[0], format!("flowcommerce/user: the line is stopped, nothing new begins, {who}"));
    let held = format!(
        "flowcommerce/user:0.0.6 is not deployed automatically: the line is stopped, {who}; ReleaseLine lifts it"
    );
    assert_eq!(said[1], held);
    let back = |tag: &str| state.request_rollback(Wish { tag: tag.into(), ..Wish::default() }, &stopped).map(drop);
    assert_eq!(back(""), Ok(()));
    assert_eq!(back("0.0.4"), Ok(()));
    assert!(matches!(back("0.0.6"), Err(Refusal::Held(Barrier::LineStopped(_)))), "it never served");
}

#[test]
fn outside_of_its_windows_nothing_new_begins_unless_a_person_says_why() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    assert!(
        hold(&mut state, HoldWish::Windows(vec![window()])) && !hold(&mut state, HoldWish::Windows(vec![window()]))
    );
    let wish =
        |why: Option<&str>| Wish { tag: "0.0.4".into(), outside_windows: why.map(str::to_owned), ..Wish::default() };
    for (minute, open) in [(9, false), (10, true), (19, true), (20, false)] {
        let moment = at(minute * MINUTE);
        assert_eq!(state.wanted_deployment(&moment).is_some(), open, "minute {minute}");
        assert_eq!(state.request_deployment(wish(None), &moment).is_ok(), open, "minute {minute}");
        assert!(state.request_deployment(wish(Some("it burns")), &moment).is_ok());
    }
    let refusal = state.request_deployment(wish(None), &at(20 * MINUTE)).unwrap_err().to_string();
    assert!(refusal.contains("the next one opens at 1970-01-02T00:10:00Z"), "{refusal}");
    let said = status(&state, &at(0)).sentences;
    assert!(said.iter().any(|said| said.text.contains("inside of \"10 0 * * *\" UTC for 0 h 10 min only, set by ann")));
    hold(&mut state, HoldWish::Freeze(Frozen { until: None }));
    let refused = state.request_deployment(wish(Some("it burns")), &at(0));
    assert!(matches!(refused, Err(Refusal::Held(Barrier::Frozen(_)))), "it passes over windows, and over nothing else");
    assert!(hold(&mut state, HoldWish::Windows(vec![])) && state.holds.windows.is_none());
}

#[test]
fn a_deployment_waits_for_other_people_and_then_for_what_forbids_it() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    hold(&mut state, HoldWish::Approvals(2));
    assert_eq!(deploy(&mut state).as_deref(), Some("0.0.4"));
    assert!(!state.active().unwrap().wants_deployer() && admit(&mut state, &at(0)).is_none());
    let own = approve(&mut state, " Policy Auto_Deploy").unwrap_err();
    assert_eq!(own, Misfit::Illegal(1, IllegalEvent::OwnApproval));
    for _ in 0..2 {
        approve(&mut state, "ann").unwrap();
        let said = status(&state, &at(0)).sentences[0].text.clone();
        assert!(said.starts_with("flowcommerce/user:0.0.4 deploy waits until 1 more person has approved it"), "{said}");
    }
    hold(&mut state, HoldWish::Freeze(Frozen { until: None }));
    approve(&mut state, "bob").unwrap();
    assert!(matches!(admit(&mut state, &at(0)), Some(Fact::HeldBack { .. })));
    assert_eq!(admit(&mut state, &at(0)), None, "it has been said");
    let said = status(&state, &at(0)).sentences[0].text.clone();
    assert!(said.contains("waits to begin: the project is frozen, by ann"), "{said}");
    hold(&mut state, HoldWish::Thaw);
    assert!(matches!(admit(&mut state, &stopped()), Some(Fact::HeldBack { .. })));
    assert_eq!(admit(&mut state, &at(0)), Some(Fact::Admitted));
    assert!(state.active().unwrap().wants_deployer());
    assert_eq!(approve(&mut state, "eve").unwrap_err(), Misfit::Illegal(1, IllegalEvent::NothingToApprove));
    assert_eq!(approve(&mut state, "ANN"), Ok(()), "a repeated approval succeeds");
}

#[test]
fn what_waits_needs_as_many_approvals_as_are_asked_for_now_and_going_back_needs_none() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    deploy(&mut state);
    end(&mut state, false);
    hold(&mut state, HoldWish::Approvals(1));
    push(&mut state, "0.0.5", 5);
    deploy(&mut state);
    hold(&mut state, HoldWish::Approvals(3));
    assert_eq!(state.active().unwrap().approvals_missing(), 3);
    assert!(hold(&mut state, HoldWish::Approvals(0)));
    assert_eq!(admit(&mut state, &at(0)), Some(Fact::Admitted));
    end(&mut state, false);
    hold(&mut state, HoldWish::Approvals(1));
    let back = state.request_rollback(Wish::default(), &at(0));
    assert!(matches!(back, Ok(WayBack::Deploy { request, .. }) if request.back && !request.held));
    push(&mut state, "0.0.6", 6);
    let forward = state.request_rollback(Wish { tag: "0.0.6".into(), ..Wish::default() }, &at(0));
    assert!(matches!(forward, Ok(WayBack::Deploy { request, .. }) if request.held), "0.0.6 never served");
    deploy(&mut state);
    cancel(&mut state);
    assert_eq!(state.active(), None, "what waits can be cancelled");
}

#[test]
fn neither_a_shorter_freeze_nor_another_pin_takes_the_place_of_one_that_stands() {
    let mut state = automatic();
    push(&mut state, "0.0.4", 4);
    push(&mut state, "0.0.5", 5);
    let freeze = |until: Option<i64>| HoldWish::Freeze(Frozen { until: until.map(Timestamp) });
    assert!(hold(&mut state, freeze(Some(5_000))));
    assert!(!hold(&mut state, freeze(Some(4_000))) && !hold(&mut state, freeze(Some(5_000))));
    assert!(hold(&mut state, freeze(Some(6_000))), "a longer one does");
    assert!(hold(&mut state, freeze(None)) && !hold(&mut state, freeze(Some(7_000))));
    assert_eq!(state.holds.thaws(), None);
    assert!(hold(&mut state, HoldWish::Pin("0.0.4".into())));
    let refused = state.request_hold(HoldWish::Pin("0.0.5".into()), String::new()).unwrap_err();
    assert!(matches!(&refused, Refusal::Held(Barrier::Pinned(pin)) if pin.hold.tag == "0.0.4"), "{refused:?}");
    assert!(hold(&mut state, HoldWish::Unpin) && hold(&mut state, HoldWish::Pin("0.0.5".into())));
}

#[test]
fn going_back_while_a_deployment_waits_takes_back_what_serves_and_cancels_what_waits() {
    let mut state = automatic();
    hold(&mut state, HoldWish::Approvals(1));
    push(&mut state, "0.0.4", 4);
    deploy(&mut state);
    let first = state.request_rollback(Wish::default(), &at(0));
    assert!(matches!(first, Ok(WayBack::Cancel(1))), "nothing serves: {first:?}");
    approve(&mut state, "bob").unwrap();
    admit(&mut state, &at(0));
    end(&mut state, false);
    push(&mut state, "0.0.5", 5);
    deploy(&mut state);
    let none = state.request_rollback(Wish::default(), &at(0)).unwrap_err();
    assert_eq!(none, Refusal::NothingBefore, "0.0.4 is the first that served");
    approve(&mut state, "bob").unwrap();
    admit(&mut state, &at(0));
    end(&mut state, false);
    push(&mut state, "0.0.6", 6);
    deploy(&mut state);
    let way = state.request_rollback(Wish::default(), &at(0)).unwrap();
    let WayBack::Deploy { cancel: Some((number, _)), request } = way else { panic!("{way:?}") };
    assert_eq!((number, &*request.tag, request.back), (3, "0.0.4", true));
    assert_eq!(request.plan.from.iter().map(|from| &*from.version).collect::<Vec<_>>(), ["0.0.5"]);
}

#[test]
fn going_back_twice_goes_back_two_releases() {
    let mut state = automatic();
    for (index, tag) in TAGS.iter().enumerate() {
        push(&mut state, tag, index);
        assert_eq!(deploy(&mut state).as_deref(), Some(*tag));
        end(&mut state, false);
    }
    for expected in ["0.0.5", "0.0.4"] {
        let way = state.request_rollback(Wish::default(), &Moment::default()).unwrap();
        let WayBack::Deploy { cancel: None, request } = way else { panic!("{way:?}") };
        assert_eq!(request.tag, expected);
        take(&mut state, Change::DeploymentRequested(request));
        end(&mut state, false);
    }
    let none = state.request_rollback(Wish::default(), &Moment::default()).unwrap_err();
    assert_eq!(none, Refusal::NothingBefore);
}

#[test]
fn from_a_deployment_that_was_left_halfway_the_way_back_is_to_what_it_was_to_replace() {
    let mut state = automatic();
    for (index, tag) in TAGS.iter().enumerate() {
        push(&mut state, tag, index);
        assert_eq!(deploy(&mut state).as_deref(), Some(*tag));
        if *tag != "0.0.6" {
            end(&mut state, false);
        }
    }
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    fact(&mut state, Fact::Leased(lease));
    while !state.active().unwrap().serving().iter().any(|count| count.version == "0.0.6" && count.count > 0) {
        let active = state.active().unwrap();
        let (generation, rollback, step) = (active.generation, false, active.cursor);
        let outcome = Outcome::Done { task_failures: vec![], service_events: vec![] };
        fact(&mut state, Fact::Reported { generation, rollback, step, outcome });
    }
    cancel(&mut state);
    let way = state.request_rollback(Wish::default(), &Moment::default()).unwrap();
    let WayBack::Deploy { request, .. } = way else { panic!("{way:?}") };
    assert_eq!(request.tag, "0.0.5");
}

proptest! {
    /// Whatever people hold and lift in between, whenever: the policy begins nothing that is held.
    #[test]
    fn policy_never_overrides_a_hold(
        deeds in proptest::collection::vec((0u8..18, 0usize..3, any::<bool>(), 0i64..40), 0..80)
    ) {
        let mut state = automatic();
        let (running, stopped) = (Line::default(), stopped().line);
        let mut moment = at(0);
        for (deed, which, flag, minutes) in deeds {
            let tag = TAGS[which];
            let known = state.images.contains_key(tag);
            moment.at = moment.at.plus(Duration::from_secs(60 * minutes.unsigned_abs()));
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
                11 => moment.line = if flag { stopped.clone() } else { running.clone() },
                12 => drop(hold(&mut state, HoldWish::Windows(vec![window()]))),
                13 => drop(hold(&mut state, HoldWish::Windows(vec![]))),
                14 => drop(hold(&mut state, HoldWish::Approvals(u32::try_from(which).unwrap()))),
                15 | 16 if state.active().is_some() => drop(approve(&mut state, ["ann", "bob", AUTO_DEPLOY][which])),
                17 if state.active().is_some_and(|active| active.held) => fail_to_lease(&mut state),
                _ => {}
            }
            let number = state.deployments.back().map(|latest| latest.number);
            deploy_at(&mut state, &moment);
            let asked = state.deployments.back().filter(|latest| Some(latest.number) != number && !latest.held).cloned();
            let admitted = admit(&mut state, &moment) == Some(Fact::Admitted);
            let begun = asked.or_else(|| state.active().filter(|_| admitted).cloned());
            let Some(begun) = begun else { continue };
            let holds = &state.holds;
            prop_assert!(holds.freeze.is_none() && moment.line.stopped.is_none());
            let other = |pin: &Pinned| pin.tag != begun.tag || pin.digest != begun.digest;
            prop_assert!(holds.pin.as_ref().is_none_or(|held| !other(&held.hold)));
            let same = |image: &Quarantined| image.tag == begun.tag && image.digest == begun.digest;
            prop_assert!(!holds.quarantines.iter().any(|held| same(&held.hold)));
            prop_assert!(holds.windows.as_ref().is_none_or(|held| is_open(&held.hold, moment.at)));
            let others = begun.approvals.iter().filter(|approval| approval.by != begun.requested_by).count();
            prop_assert!(holds.approvals.as_ref().is_none_or(|held| others >= held.hold as usize));
        }
    }
}

/// No deployer gets what has not been let begin.
fn fail_to_lease(state: &mut ProjectState) {
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    let number = state.active().unwrap().number;
    assert!(state.after(number, Fact::Leased(lease), Timestamp(1_000)).is_err());
}

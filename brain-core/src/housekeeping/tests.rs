use super::*;
use crate::{
    deployment::{
        Cause, Fact, Outcome,
        control::{Control, ControlUsed},
    },
    drift::{KnownDrift, Remedy},
    event::Event,
    hold::{Hold, Pinned},
    id::AgentName,
    image::Digest,
    line::Moment,
    production::ServiceState,
    project::{ProjectDraft, RolloutPolicyDraft, TargetDraft},
    state::Wish,
};
use proptest::prelude::*;

fn project(keep_services: u32) -> ProjectState {
    let target =
        TargetDraft { region: "us-east-1".into(), container_port: 9000, desired_count: 3, ..TargetDraft::default() };
    let policy = RolloutPolicyDraft { keep_services: Some(keep_services), ..RolloutPolicyDraft::default() };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        rollout_policy: Some(policy),
        ..ProjectDraft::default()
    };
    let mut state = ProjectState::new(draft.validate(|_| Ok(6000)).unwrap(), Timestamp(0));
    for version in 0..10 {
        take(&mut state, Change::ImageObserved { tag: tag(version), digest: digest(version) });
    }
    state
}

fn tag(version: u8) -> String {
    format!("0.0.{version}")
}

fn digest(version: u8) -> Digest {
    Digest::parse(&format!("sha256:{}", format!("{version:02x}").repeat(32))).unwrap()
}

fn service(version: u8) -> String {
    names::service(&ProjectId::parse("user").unwrap(), &tag(version), &digest(version))
}

fn take(state: &mut ProjectState, change: Change) {
    state.apply(&Event { at: Timestamp(7), by: "test".into(), change }).unwrap();
}

fn lease() -> Lease {
    Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() }
}

fn begin(state: &mut ProjectState, version: u8) -> u64 {
    let request = state.request_deployment(Wish { tag: tag(version), ..Wish::default() }, &Moment::default()).unwrap();
    let number = request.number;
    take(state, Change::DeploymentRequested(Box::new(request)));
    number
}

/// Carries a deployment out, or lets each of its steps fail.
fn end(state: &mut ProjectState, number: u64, succeeds: bool) {
    take(state, Change::DeploymentChanged { number, fact: Fact::Leased(lease()) });
    while let Some(active) = state.active().cloned() {
        if active.lease.is_none() {
            take(state, Change::DeploymentChanged { number, fact: Fact::Leased(lease()) });
            continue;
        }
        let (task_failures, service_events) = (Vec::new(), Vec::new());
        let fails = !succeeds && active.rollback.is_none() && active.cursor > 8;
        let outcome = if fails {
            Outcome::Failed { reason: "it crashes".into(), task_failures, service_events, cause: Cause::Version }
        } else {
            Outcome::Done { task_failures, service_events }
        };
        let (generation, rollback, step) = (active.generation, active.rollback.is_some(), active.cursor);
        let fact = Fact::Reported { generation, rollback, step, outcome };
        take(state, Change::DeploymentChanged { number, fact });
    }
}

fn deploy(state: &mut ProjectState, version: u8, succeeds: bool) {
    let number = begin(state, version);
    end(state, number, succeeds);
}

fn kept(state: &ProjectState) -> Vec<u8> {
    let keep = state.keep().unwrap();
    (0..10).filter(|version| keep.services.contains(&service(*version))).collect()
}

#[test]
fn the_newest_successful_services_stay_for_the_way_back() {
    let mut state = project(2);
    assert_eq!(state.keep(), None, "nothing was deployed");
    for version in 0..6 {
        deploy(&mut state, version, version != 3);
    }
    // 5 serves, its deployment came from 4, and of those before 2 and 1 were good.
    assert_eq!(kept(&state), [1, 2, 4, 5]);
    let keep = state.keep().unwrap();
    assert_eq!((keep.instances, keep.task_definitions, keep.looks_for_drift), (3, 10, true));
    assert!(keep.images.iter().any(|image| image.ends_with(&digest(5).to_string())), "{keep:?}");
}

#[test]
fn what_is_pinned_or_runs_stays_however_old_it_is() {
    let mut state = project(0);
    for version in 0..5 {
        deploy(&mut state, version, true);
    }
    assert_eq!(kept(&state), [3, 4], "the latest deployment and what it came from");
    let pinned = Pinned { tag: tag(0), digest: digest(0) };
    take(&mut state, Change::HoldSet { hold: Hold::Pin(pinned), why: String::new() });
    let running =
        ServiceState { service: service(1), version: tag(1), desired: 0, running: 1, healthy: 0, route: None };
    take(&mut state, Change::ProductionObserved { services: vec![running] });
    assert_eq!(kept(&state), [0, 1, 3, 4]);
}

#[test]
fn nothing_is_removed_beside_a_deployment_and_a_look_from_before_one_is_old_news() {
    let mut state = project(0);
    deploy(&mut state, 0, true);
    let looked = |after, removable: &[&str]| HouseNews::Looked {
        after,
        drift: Some(Vec::new()),
        removable: removable.iter().map(ToString::to_string).collect(),
        lease: lease(),
    };
    assert_eq!(state.keep_house(looked(1, &[])), [], "nothing to remove is no news");
    let begun = state.keep_house(looked(1, &["service x"]));
    assert_eq!(begun, [Change::HousekeepingBegan { lease: lease(), removable: vec!["service x".into()] }]);
    take(&mut state, begun[0].clone());
    assert_eq!(state.housekeeper, Some(lease()));
    let number = begin(&mut state, 1);
    assert_eq!((state.keep(), state.keep_house(looked(1, &["service x"]))), (None, Vec::new()));
    end(&mut state, number, true);
    assert_eq!(state.housekeeper, None, "whoever deploys is the only one");
    assert_eq!(state.keep_house(looked(1, &["service x"])), []);
    take(&mut state, Change::HousekeepingEnded { lease: lease(), removed: vec!["service x".into()] });
    assert_eq!(state.removed.clone().unwrap().resources, ["service x"]);
    take(&mut state, Change::HousekeepingEnded { lease: lease(), removed: Vec::new() });
    assert!(state.removed.is_some(), "what was removed before is still known");
    let ended = HouseNews::Ended { lease: lease(), removed: Vec::new() };
    assert_eq!(state.keep_house(ended), [], "nobody kept house, and nothing was removed");
}

#[test]
fn one_process_at_a_time_keeps_house() {
    let mut state = project(0);
    deploy(&mut state, 0, true);
    let other = Lease { instance: "j".into(), ..lease() };
    let looked = |lease| HouseNews::Looked { after: 1, drift: None, removable: vec!["service x".into()], lease };
    let ended = |lease| HouseNews::Ended { lease, removed: Vec::new() };
    for news in [looked(lease()), looked(other.clone()), ended(other.clone())] {
        for change in state.keep_house(news) {
            take(&mut state, change);
        }
        assert_eq!(state.housekeeper, Some(lease()));
    }
    let over = state.keep_house(ended(lease()));
    take(&mut state, over[0].clone());
    assert_eq!(state.housekeeper, None);
    assert_eq!(state.keep_house(looked(other)).len(), 1);
}

#[test]
fn drift_that_is_known_is_no_news_and_keeps_its_time() {
    let mut state = project(0);
    deploy(&mut state, 0, true);
    let drift = |resource: &str| Drift { resource: resource.into(), difference: "d".into(), remedy: Remedy::Told };
    let looked =
        |drift: Vec<Drift>| HouseNews::Looked { after: 1, drift: Some(drift), removable: Vec::new(), lease: lease() };
    let news = state.keep_house(looked(vec![drift("a")]));
    assert_eq!(news, [Change::DriftObserved { drift: vec![drift("a")] }]);
    take(&mut state, news[0].clone());
    assert_eq!(state.keep_house(looked(vec![drift("a")])), []);
    let both = Change::DriftObserved { drift: vec![drift("a"), drift("b")] };
    state.apply(&Event { at: Timestamp(20), by: "test".into(), change: both }).unwrap();
    let since: Vec<i64> = state.drift.iter().map(|KnownDrift { since, .. }| since.0).collect();
    assert_eq!(since, [7, 20]);
    assert_eq!(state.keep_house(looked(Vec::new())), [Change::DriftObserved { drift: Vec::new() }]);
}

#[test]
fn turns_are_spread_over_the_interval() {
    let every = Duration::from_secs(3_600);
    let turns: Vec<Duration> = (0..400).map(|i| turn(&ProjectId::parse(&format!("p{i}")).unwrap(), every)).collect();
    assert!(turns.iter().all(|turn| *turn <= every));
    for quarter in 0..4 {
        let here = |turn: &&Duration| turn.as_secs() / 900 == quarter;
        let count = turns.iter().filter(here).count();
        assert!((60..140).contains(&count), "a fair share is 100, the quarter {quarter} has {count}");
    }
}

proptest! {
    #[test]
    fn what_serves_is_always_kept(deployments in proptest::collection::vec((0u8..10, any::<bool>()), 1..12), keep in 0u32..4) {
        let mut state = project(keep);
        for (version, succeeds) in deployments {
            if state.holds.quarantined(&tag(version), &digest(version)) {
                continue;
            }
            deploy(&mut state, version, succeeds);
            let kept = state.keep().unwrap();
            for serving in &state.serving {
                prop_assert!(kept.services.contains(&serving.service), "{serving:?} is not among {kept:?}");
            }
            let latest = state.deployments.back().unwrap();
            for named in latest.plan.from.iter().chain(&latest.plan.to) {
                prop_assert!(kept.services.contains(&named.service));
            }
            prop_assert!(kept.instances >= state.serving.iter().map(|serving| serving.count).sum::<u32>());
        }
    }
}

#[test]
fn what_was_cancelled_before_it_began_hides_nothing_of_the_deployment_before_it() {
    let mut state = project(0);
    deploy(&mut state, 0, true);
    let cancel = |state: &mut ProjectState, number| {
        let control = Control::Cancel { rollback: false };
        let used =
            ControlUsed { control, by: "u".into(), why: "not now".into(), at: Timestamp(7), request_id: String::new() };
        let fact = Fact::Controlled(used);
        take(state, Change::DeploymentChanged { number, fact });
    };
    let begun = begin(&mut state, 1);
    take(&mut state, Change::DeploymentChanged { number: begun, fact: Fact::Leased(lease()) });
    cancel(&mut state, begun);
    let never_begun = begin(&mut state, 2);
    cancel(&mut state, never_begun);
    assert_eq!(kept(&state), [0, 1, 2]);
}

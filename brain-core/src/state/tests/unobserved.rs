//! Production that cannot be observed.

use super::*;
use crate::{dependency::Dependency, id::ProjectId, plan::Known, production::ServiceState};

fn services(healthy: u32) -> Vec<ServiceState> {
    let service = |version: &str, healthy| ServiceState {
        service: format!("s-{version}"),
        version: version.to_owned(),
        desired: healthy,
        running: healthy,
        healthy,
        route: None,
    };
    vec![service("0.0.4", healthy)]
}

fn lost(why: &str, since: i64) -> Observation {
    Observation::ProductionUnobserved { why: why.to_owned(), since: Timestamp(since) }
}

#[test]
fn production_that_cannot_be_observed_is_told_with_why_and_since_when_until_it_is_seen_again() {
    let mut state = project();
    let line = |state: &ProjectState| status(state, &Moment::default()).production;
    take(&mut state, Observation::Production(services(3)));
    assert_eq!(line(&state), "0.0.4: 100%");
    assert_eq!(take(&mut state, lost("AWS answers DescribeServices with AccessDenied", 2_000)), 1);
    assert_eq!(line(&state), "0.0.4: 100% when last observed, before 1970-01-01T00:00:02Z");
    let told = status(&state, &Moment::default()).sentences[0].clone();
    let expected = "flowcommerce/user: production not observed since 1970-01-01T00:00:02Z: AWS answers DescribeServices \
                    with AccessDenied";
    assert_eq!((told.text.as_str(), told.since), (expected, Timestamp(2_000)));
    // The same again is no event; another reason is, and keeps the time of the first failure.
    assert_eq!(take(&mut state, lost("AWS answers DescribeServices with AccessDenied", 9_000)), 0);
    assert_eq!(take(&mut state, lost("no deployer is connected", 9_000)), 1);
    assert_eq!(state.unobserved.as_ref().unwrap().since, Timestamp(2_000));
    let since = state.production.as_ref().unwrap().since;
    assert_eq!(take(&mut state, Observation::Production(services(3))), 1);
    assert_eq!((line(&state).as_str(), state.production.as_ref().unwrap().since), ("0.0.4: 100%", since));
    assert_eq!(take(&mut state, Observation::Production(services(3))), 0);
    take(&mut state, lost("no deployer is connected", 9_000));
    take(&mut state, Observation::Production(services(2)));
    assert_eq!((state.unobserved.as_ref(), line(&state).as_str()), (None, "0.0.4: 100%"));
}

#[test]
fn what_was_observed_before_settles_no_doubt_once_production_cannot_be_observed() {
    let mut state = project();
    let known = Known { least: 2, most: 3, healthy: 2, proven: true, idle: false };
    let left = ServiceCount::of("s-0.0.4".to_owned(), "0.0.4".to_owned(), known);
    state.serving = vec![left.clone()];
    take(&mut state, Observation::Production(services(2)));
    assert_eq!(state.serving_now(true)[0].count, 2, "it was seen since the doubt arose");
    assert_eq!(state.serving_now(false), std::slice::from_ref(&left), "and may be otherwise by now");
    take(&mut state, lost("no deployer is connected", 2_000));
    assert_eq!(state.serving_now(true), [left]);
}

#[test]
fn of_several_services_the_one_that_was_seen_to_serve_nobody_gives_way_first() {
    let mut state = project();
    let count = |version: &str| {
        let known = Known { least: 1, most: 1, healthy: 1, proven: true, idle: false };
        ServiceCount::of(format!("s-{version}"), version.to_owned(), known)
    };
    state.serving = vec![count("0.0.4"), count("0.0.5")];
    let mut seen = services(1);
    seen.push(ServiceState { service: "s-0.0.5".into(), version: "0.0.5".into(), ..seen[0].clone() });
    seen[0].healthy = 0;
    take(&mut state, Observation::Production(seen));
    let idle = |current| state.serving_now(current).iter().map(|count| count.known().idle).collect::<Vec<_>>();
    assert_eq!((idle(true), idle(false)), (vec![true, false], vec![false, false]));
}

#[test]
fn a_deployment_that_waits_for_another_project_says_when_that_one_cannot_be_observed() {
    let mut state = project();
    state.spec.depends_on = vec![Dependency { project: ProjectId::parse("auth").unwrap(), version: None }];
    let images = vec![("0.0.4".to_owned(), digest(4))];
    take(&mut state, Observation::Images { complete: false, images, removed: vec![] });
    let request = state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap();
    let event = |change| crate::event::Event { at: Timestamp(7), by: "test".into(), change };
    state.apply(&event(Change::DeploymentRequested(Box::new(request)))).unwrap();
    let first = |state: &ProjectState| status(state, &Moment::default()).sentences[0].text.clone();
    let plain = "flowcommerce/user:0.0.4 deploy waits for projects/auth to run";
    assert_eq!(first(&state), plain);
    let held = |why: &str| event(Change::DeploymentChanged { number: 1, fact: Fact::HeldBack { why: why.into() } });
    state.apply(&held("nobody sees it")).unwrap();
    assert_eq!(first(&state), format!("{plain}; nobody sees it"));
    state.apply(&held("")).unwrap();
    assert_eq!(first(&state), plain);
    state.apply(&held("nobody sees it")).unwrap();
    let met = Fact::DependencyMet(ProjectId::parse("auth").unwrap());
    state.apply(&event(Change::DeploymentChanged { number: 1, fact: met })).unwrap();
    assert_eq!(state.active().unwrap().waiting, None);
}

#[test]
fn a_service_that_somebody_deleted_is_in_no_plan_once_that_was_seen() {
    let mut state = seeds();
    let request = state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap();
    let event = |at, change| crate::event::Event { at: Timestamp(at), by: "test".into(), change };
    state.apply(&event(6, Change::DeploymentRequested(Box::new(request)))).unwrap();
    let last = state.deployments.back_mut().unwrap();
    (last.phase, last.ended) = (crate::deployment::Phase::Succeeded, Some(Timestamp(1_000)));
    let certain = |version: &str| ServiceCount {
        service: format!("s-{version}"),
        version: version.to_owned(),
        count: 3,
        known: None,
        group: None,
    };
    let (there, gone) = (certain("0.0.4"), certain("0.0.3"));
    state.serving = vec![there.clone(), gone.clone()];
    let both = [there.clone(), gone];
    let see = |state: &mut ProjectState, healthy, at| {
        for change in state.observe(Observation::Production(services(healthy))) {
            state.apply(&event(at, change)).unwrap();
        }
    };
    see(&mut state, 3, 60_999);
    assert_eq!(state.serving_now(true), both, "such a look may have begun before the end");
    see(&mut state, 2, 61_000);
    assert_eq!(state.serving_now(true), [there]);
    assert_eq!(state.serving_now(false), both, "nobody has seen it lately");
}

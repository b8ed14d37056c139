//! Other definitions, and the project's end.

use super::*;
use crate::{dependency::Dependency, drift::SetUp, id::ProjectId, production::ServiceState};

fn apply(state: &mut ProjectState, change: Change) {
    state.apply(&Event { at: Timestamp(9), by: "ann".into(), change }).unwrap();
}

fn redefine(state: &ProjectState, change: impl FnOnce(&mut ProjectSpec)) -> Result<Option<Change>, DefinitionRefusal> {
    let mut spec = state.spec.clone();
    change(&mut spec);
    state.redefine(spec, vec!["target".to_owned()], String::new())
}

/// With a deployment that was cancelled before it began.
fn with_a_past(mut state: ProjectState) -> ProjectState {
    let request = state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap();
    apply(&mut state, Change::DeploymentRequested(Box::new(request)));
    state.deployments.back_mut().unwrap().phase = crate::deployment::Phase::Cancelled;
    state
}

#[test]
fn the_same_definition_is_no_news() {
    assert_eq!(redefine(&seeds(), |_| {}), Ok(None));
}

#[test]
fn what_was_read_elsewhere_is_unknown_until_it_is_read_again() {
    let mut state = seeds();
    let change = redefine(&state, |spec| spec.source.branch = "main".into()).unwrap().unwrap();
    apply(&mut state, change);
    assert_eq!((state.head.as_ref(), state.tags.len(), state.images.len()), (None, 2, 1));
    let change = redefine(&state, |spec| spec.image_repository = crate::image::ImageRepository::parse("a/b").unwrap());
    apply(&mut state, change.unwrap().unwrap());
    assert!(state.images.is_empty() && state.spec.image_repository.to_string() == "a/b");
}

#[test]
fn what_the_first_deployment_made_stays_and_every_fault_is_named() {
    let another = |spec: &mut ProjectSpec| {
        spec.target.region = "eu-west-1".into();
        spec.target.host_port = 6_001;
        spec.target.vpc_id = Some("vpc-1".into());
        spec.target.role_arn = Some("arn:aws:iam::123456789012:role/brain".into());
        spec.target.certificate_arn = Some("arn:aws:acm:us-east-1:123456789012:certificate/1".into());
        spec.image_repository = crate::image::ImageRepository::parse("a/b").unwrap();
    };
    assert!(redefine(&seeds(), another).is_ok(), "nothing was made yet");
    let state = with_a_past(seeds());
    let Err(DefinitionRefusal::Fixed(faults)) = redefine(&state, another) else { panic!("it is allowed") };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let expected = ["region", "host_port", "vpc_id", "role_arn", "certificate_arn"];
    let expected = expected.map(|field| format!("project.target.{field}"));
    assert_eq!(
        (&fields[..5], &fields[5..]),
        (&expected.each_ref().map(String::as_str)[..], &["project.image_repository"][..])
    );
    assert!(redefine(&state, |spec| spec.target.desired_count = 2).is_ok());
}

#[test]
fn what_a_deployment_follows_does_not_change_under_it() {
    let mut state = with_a_past(seeds());
    state.deployments.back_mut().unwrap().phase = crate::deployment::Phase::Running;
    let refused = redefine(&state, |spec| {
        spec.target.desired_count = 2;
        spec.rollout_policy.surge = 0;
        spec.source.branch = "main".into();
    });
    let Err(DefinitionRefusal::InProgress { number: 1, fields, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(fields, ["target", "rollout_policy"]);
    assert!(redefine(&state, |spec| spec.source.branch = "main".into()).is_ok());
    let other = Dependency { project: ProjectId::parse("other").unwrap(), version: None };
    assert!(redefine(&state, |spec| spec.depends_on.push(other.clone())).is_ok(), "it waits for nobody");
    state.deployments.back_mut().unwrap().awaits.push(other.clone());
    assert!(redefine(&state, |spec| spec.depends_on.push(other)).is_err());
    assert!(matches!(state.delete(true, String::new()), Err(DefinitionRefusal::InProgress { number: 1, .. })));
}

#[test]
fn what_runs_is_not_left_without_a_word() {
    let mut state = seeds();
    let service = ServiceState {
        service: "user-ecs-service-0-0-4".into(),
        version: "0.0.4".into(),
        desired: 3,
        running: 3,
        healthy: 3,
        route: None,
    };
    take(&mut state, Observation::Production(vec![service]));
    assert_eq!(state.delete(false, String::new()), Err(DefinitionRefusal::Running("0.0.4".into())));
    assert!(state.delete(true, String::new()).is_ok());
}

#[test]
fn what_was_left_running_is_reckoned_with_by_a_project_of_that_name() {
    let mut state = seeds();
    let service = ServiceState {
        service: "user-ecs-service-0-0-3".into(),
        version: "0.0.3".into(),
        desired: 3,
        running: 3,
        healthy: 2,
        route: None,
    };
    // Nothing was ever deployed from here.
    take(&mut state, Observation::Production(vec![service.clone()]));
    let known = |state: &ProjectState, current| {
        let counts = state.serving_now(current);
        let told = |count: &ServiceCount| (count.count, count.known().least, count.known().healthy);
        counts.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(known(&state, true), [(3, 3, 2)]);
    assert_eq!(known(&state, false), [], "and without a look nothing is known");
    let change = state.delete(true, String::new()).unwrap();
    apply(&mut state, change);
    let spec = state.spec.clone();
    apply(&mut state, Change::ProjectCreated(Box::new(spec)));
    assert_eq!(known(&state, false), [(3, 0, 0)], "it may be gone by now");
    take(&mut state, Observation::Production(vec![ServiceState { desired: 1, ..service }]));
    assert_eq!(known(&state, true), [(1, 1, 1)]);
}

#[test]
fn a_deleted_project_takes_nothing_and_one_of_its_name_counts_on() {
    let mut state = with_a_past(seeds());
    let change = state.delete(false, "moved to lambda".into()).unwrap();
    apply(&mut state, change);
    assert!(state.deleted.is_some() && state.tags.is_empty() && state.deployments.is_empty());
    let event = |change| Event { at: Timestamp(10), by: "test".into(), change };
    let refused = state.apply(&event(Change::HeadRemoved));
    assert_eq!(refused, Err(Misfit::Deleted));
    let again = Change::ProjectCreated(Box::new(state.spec.clone()));
    state.apply(&event(again.clone())).unwrap();
    assert_eq!((state.deleted, state.created), (None, Timestamp(10)));
    assert_eq!(state.set_up(false), SetUp::Check, "what is there may be in use");
    assert_eq!(state.apply(&event(again)), Err(Misfit::Creation));
    take(&mut state, source(true, &[("0.0.4", "c4")], None));
    let images = vec![("0.0.4".to_owned(), digest(4))];
    take(&mut state, Observation::Images { complete: true, images, removed: vec![] });
    assert_eq!(state.request_deployment(wish("0.0.4"), &Moment::default()).unwrap().number, 2);
}

//! Deployments that wait before they begin.

use super::*;

#[test]
fn a_deployment_that_waits_for_others_is_not_leased_until_they_run() {
    let spec = spec();
    let mut waiting = deployment(&spec);
    let dependency = |id: &str| Dependency { project: ProjectId::parse(id).unwrap(), version: None };
    waiting.awaits = vec![dependency("auth"), dependency("mail")];
    assert!(!waiting.wants_deployer());
    let refused = waiting.clone().apply(&spec, Fact::Leased(lease("a")), Timestamp(1));
    assert_eq!(refused.err(), Some(IllegalEvent::Awaits));
    let met = |id: &str| Fact::DependencyMet(ProjectId::parse(id).unwrap());
    let waiting = apply(&spec, waiting, met("mail"));
    let (ready, effects) = waiting.clone().apply(&spec, met("auth"), Timestamp(2)).unwrap();
    assert_eq!(effects, [Effect::HandOut]);
    assert_eq!(apply(&spec, ready.clone(), met("auth")), ready, "it may be told again");
    assert_eq!(apply(&spec, ready, Fact::Leased(lease("a"))).phase, Phase::Running);
    let cancelled = apply(&spec, waiting, control(Control::Cancel { rollback: true }));
    assert_eq!(cancelled.phase, Phase::Cancelled);
}

#[test]
fn a_deployment_that_is_held_begins_once_it_has_all_that_it_needs_and_is_admitted() {
    let spec = spec();
    let approve = |by: &str| Fact::Approved(Approval { at: Timestamp(1), by: by.into(), why: String::new() });
    let auth = ProjectId::parse("auth").unwrap();
    let mut waiting = deployment(&spec);
    waiting.held = true;
    waiting.approvals_required = 1;
    waiting.awaits = vec![Dependency { project: auth.clone(), version: None }];
    let refused = |waiting: &Deployment, fact| waiting.clone().apply(&spec, fact, Timestamp(1)).unwrap_err();
    assert_eq!(refused(&waiting, Fact::Admitted), IllegalEvent::NotHeld);
    let approved = apply(&spec, waiting.clone(), approve("bob"));
    assert_eq!(refused(&approved, Fact::Admitted), IllegalEvent::NotHeld, "auth does not run");
    let met = apply(&spec, waiting, Fact::DependencyMet(auth.clone()));
    assert_eq!(refused(&met, Fact::Admitted), IllegalEvent::NotHeld, "nobody has approved");
    let (ready, effects) = approved.apply(&spec, Fact::DependencyMet(auth), Timestamp(1)).unwrap();
    assert_eq!((effects, ready.wants_deployer()), (vec![], false), "something may forbid it");
    assert_eq!(refused(&ready, Fact::Leased(lease("a"))), IllegalEvent::Awaits);
    let paused = apply(&spec, ready.clone(), control(Control::Pause));
    assert_eq!(refused(&paused, Fact::Admitted), IllegalEvent::NotHeld);
    let (begun, effects) = ready.apply(&spec, Fact::Admitted, Timestamp(1)).unwrap();
    assert_eq!((effects, begun.wants_deployer()), (vec![Effect::HandOut], true));
    assert_eq!(refused(&begun, Fact::Admitted), IllegalEvent::NotHeld);
}

#[test]
fn what_is_held_back_before_its_first_lease_begins_once_it_is_admitted_and_what_has_begun_is_not() {
    let spec = spec();
    let held_back = || Fact::HeldBack { why: "the project is frozen".into() };
    let new = deployment(&spec);
    let held = apply(&spec, new.clone(), held_back());
    assert!(!held.wants_deployer() && held.waiting.as_deref() == Some("the project is frozen"));
    let lease_of_held = held.clone().apply(&spec, Fact::Leased(lease("one")), Timestamp(5));
    assert_eq!(lease_of_held.unwrap_err(), IllegalEvent::Awaits);
    let (admitted, effects) = held.apply(&spec, Fact::Admitted, Timestamp(6)).unwrap();
    assert_eq!((admitted.wants_deployer(), effects), (true, vec![Effect::HandOut]));
    let back = Deployment { back: true, ..new };
    for deployment in [back, running(&spec)] {
        assert_eq!(deployment.apply(&spec, held_back(), Timestamp(5)).unwrap_err(), IllegalEvent::NotHeld);
    }
}

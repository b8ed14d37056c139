//! What people are told of whole deployments.

use super::*;
use crate::{
    drift::Remedy,
    event::{Change, Event},
};

/// A deployment and what was told of it, each event a second after the one before. Every notice is asked for once more when all
/// is over: who was away meanwhile is told the same.
struct Story {
    spec: ProjectSpec,
    deployment: Deployment,
    events: Vec<Event>,
    told: Vec<&'static str>,
}

impl Story {
    fn new(spec: ProjectSpec) -> Self {
        let deployment = deployment(&spec);
        Self { spec, deployment, events: Vec::new(), told: Vec::new() }
    }

    /// When the next event happens.
    fn next(&self) -> Timestamp {
        Timestamp(1_000 * (self.events.len() as i64 + 1))
    }

    fn controls(&mut self, control: Control) {
        let (at, by, why, request_id) = (self.next(), "bob".into(), String::new(), String::new());
        self.happens(Fact::Controlled(ControlUsed { at, by, why, control, request_id }));
    }

    fn happens(&mut self, fact: Fact) {
        let at = self.next();
        self.deployment = self.deployment.clone().apply(&self.spec, fact.clone(), at).unwrap().0;
        let event = Event { at, by: "ann".into(), change: Change::DeploymentChanged { number: 1, fact } };
        self.told.extend(event.noticed(Some(&self.deployment)).map(|noticed| noticed.notice.name()));
        self.events.push(event);
    }

    fn done(&mut self, steps: usize) {
        for _ in 0..steps {
            let fact = done(&self.deployment);
            self.happens(fact);
        }
    }

    fn end(mut self) -> (Option<Ending>, Vec<&'static str>) {
        while !self.deployment.phase.is_final() {
            if self.deployment.lease.is_none() {
                self.happens(Fact::Leased(lease("a")));
            }
            self.done(1);
        }
        let later: Vec<&str> = self
            .events
            .iter()
            .filter_map(|event| event.noticed(Some(&self.deployment)))
            .map(|noticed| noticed.notice.name())
            .collect();
        assert_eq!(later, self.told, "in retrospect");
        (self.deployment.ending(), self.told)
    }
}

#[test]
fn a_deployment_starts_once_and_succeeds_whoever_carries_it_out() {
    let mut story = Story::new(spec());
    story.happens(Fact::Leased(lease("a")));
    story.done(3);
    story.happens(Fact::LeaseEnded);
    story.happens(Fact::Leased(lease("b")));
    assert_eq!(story.end(), (Some(Ending::Succeeded), vec!["deployment.started", "deployment.succeeded"]));
}

#[test]
fn one_that_stops_for_a_person_says_so() {
    let mut story = Story::new(careful());
    story.happens(Fact::Leased(lease("a")));
    while story.deployment.paused.is_none() {
        story.done(1);
    }
    story.happens(control(Control::Promote { step: None, to_end: false }));
    let told = ["deployment.started", "deployment.waiting", "deployment.promoted", "deployment.succeeded"];
    assert_eq!(story.end(), (Some(Ending::Succeeded), told.to_vec()));
}

#[test]
fn one_that_stays_paused_when_the_line_is_released_is_resumed_later() {
    let mut story = Story::new(spec());
    story.happens(Fact::Leased(lease("a")));
    story.happens(Fact::LineStopped { by: "ann".into(), why: "an outage".into() });
    story.controls(Control::Pause);
    story.happens(Fact::LineReleased);
    story.controls(Control::Resume);
    let paused = ["deployment.paused", "deployment.paused", "deployment.resumed"];
    let told = [&["deployment.started"][..], &paused, &["deployment.succeeded"]].concat();
    assert_eq!(story.end(), (Some(Ending::Succeeded), told));
}

#[test]
fn one_that_fails_in_the_shift_fails_first_and_is_then_rolled_back() {
    let mut story = Story::new(spec());
    story.happens(Fact::Leased(lease("a")));
    story.done(9);
    let fact = failed(&story.deployment);
    story.happens(fact);
    let told = ["deployment.started", "deployment.failed", "deployment.rolled_back"];
    assert_eq!(story.end(), (Some(Ending::RolledBack), told.to_vec()));
}

#[test]
fn one_whose_old_service_somebody_has_deleted_is_not_rolled_back_and_says_which() {
    let mut story = Story::new(spec());
    story.happens(Fact::Leased(lease("a")));
    story.done(9);
    let fact = failed(&story.deployment);
    story.happens(fact);
    story.happens(Fact::Leased(lease("a")));
    let gone = |resource: &str| {
        let (resource, difference) = (resource.to_owned(), "deleted by somebody else".to_owned());
        Drift { resource, difference, remedy: Remedy::Told }
    };
    for drift in ["service another", "service old", "service old"].map(gone) {
        let fact = report(&story.deployment, Outcome::Found { drift: vec![drift] });
        story.happens(fact);
    }
    let reason = "it crashes; service old cannot be brought back: deleted by somebody else";
    assert_eq!(story.deployment.reason.as_deref(), Some(reason));
    assert!(
        !story.deployment.serving().iter().any(|count| count.service == "old"),
        "the next plan does not count on it"
    );
    assert_eq!(story.end().0, Some(Ending::Failed));
}

#[test]
fn one_that_fails_before_anything_moved_has_failed_and_one_that_is_cancelled_has_not() {
    let mut story = Story::new(spec());
    story.happens(Fact::Leased(lease("a")));
    let fact = failed(&story.deployment);
    story.happens(fact);
    assert_eq!(story.end(), (Some(Ending::Failed), vec!["deployment.started", "deployment.failed"]));
    let mut story = Story::new(spec());
    story.happens(control(Control::Cancel { rollback: false }));
    assert_eq!(story.end(), (Some(Ending::Cancelled), vec!["deployment.cancelled"]));
}

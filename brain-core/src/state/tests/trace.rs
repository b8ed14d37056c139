//! The trace from a tag to its traffic, over the life of a deployment.

use super::*;
use crate::{
    deployment::{
        Cause, Fact, Lease, Outcome, Phase,
        control::{Control, ControlUsed},
    },
    id::AgentName,
    policy::OnFailure,
    trace::{Place, Span, spans},
};

/// A project whose 0.0.4 was tagged and got its image 3 ms later, and every span that ended since.
struct Story {
    state: ProjectState,
    at: i64,
    ended: Vec<Span>,
}

impl Story {
    fn new() -> Self {
        let mut story = Self { state: project(), at: 4, ended: Vec::new() };
        story.observe(source(true, &[("0.0.4", "c4")], Some("c4")));
        story.at += 3;
        let images = vec![("0.0.4".to_owned(), digest(4))];
        story.observe(Observation::Images { complete: true, images, removed: vec![] });
        story
    }

    fn observe(&mut self, observation: Observation) {
        for change in self.state.observe(observation) {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        self.state.apply(&Event { at: Timestamp(self.at), by: "test".into(), change }).unwrap();
    }

    fn deploy(&mut self) {
        self.at += 10;
        let wish = Wish { requested_by: "ann".into(), ..wish("0.0.4") };
        let request = self.state.request_deployment(wish, &Moment::default()).unwrap();
        self.apply(Change::DeploymentRequested(Box::new(request)));
    }

    fn happens(&mut self, fact: Fact) {
        self.at += 10;
        let before = self.state.deployments.back().unwrap().clone();
        self.apply(Change::DeploymentChanged { number: before.number, fact: fact.clone() });
        let after = self.state.deployments.back().unwrap();
        self.ended.extend(spans(&self.state, &before, after, &fact, Timestamp(self.at)));
    }

    fn report(&mut self, outcome: Outcome) {
        if self.state.deployments.back().unwrap().lease.is_none() {
            let agent = AgentName::parse("deployer-1").unwrap();
            self.happens(Fact::Leased(Lease { agent, instance: "i".into() }));
        }
        let deployment = self.state.deployments.back().unwrap();
        let (generation, rollback, step) = (deployment.generation, deployment.rollback.is_some(), deployment.cursor);
        self.happens(Fact::Reported { generation, rollback, step, outcome });
    }

    fn done(&mut self) {
        self.report(Outcome::Done { task_failures: vec![], service_events: vec![] });
    }

    fn fails(&mut self, why: &str) {
        let reason = why.to_owned();
        let outcome = Outcome::Failed { reason, task_failures: vec![], service_events: vec![], cause: Cause::Version };
        self.report(outcome);
    }

    fn finish(&mut self) {
        while !self.state.deployments.back().unwrap().phase.is_final() {
            self.done();
        }
    }

    fn named(&self, name: &str) -> &Span {
        self.ended.iter().find(|span| span.name == name).unwrap()
    }

    /// No id comes twice, and every span is below one that ended later, or begins its trace.
    fn is_whole(&self) {
        let ids: BTreeSet<(_, _)> = self.ended.iter().map(|span| (span.place.trace, span.place.span)).collect();
        assert_eq!(ids.len(), self.ended.len());
        for span in &self.ended {
            assert!(span.from <= span.to, "{span:?}");
            if let Some(parent) = span.parent {
                let parent = self.ended.iter().find(|other| other.place == Place { span: parent, ..span.place });
                let parent = parent.unwrap_or_else(|| panic!("{} hangs in the air", span.name));
                assert!(parent.from <= span.from && span.to <= parent.to, "{} leaves {}", span.name, parent.name);
            }
        }
    }
}

#[test]
fn a_release_is_one_trace_from_its_tag_to_its_traffic() {
    let mut story = Story::new();
    story.deploy();
    story.finish();
    story.is_whole();
    let release = story.named("release").clone();
    assert_eq!((release.from, release.to.0, release.parent), (Timestamp(4), story.at, None));
    assert_eq!(release.place, Place::release(&story.state.spec.id, Timestamp(1), "0.0.4"));
    assert!(story.ended.iter().all(|span| span.place.trace == release.place.trace && span.error.is_none()));
    assert_eq!((story.named("image").from, story.named("image").to), (Timestamp(4), Timestamp(7)));
    assert_eq!((story.named("pending").from, story.named("pending").to), (Timestamp(17), Timestamp(27)));
    let deploy = story.named("deploy");
    assert!(deploy.attributes.contains(&("brain.ending", "succeeded".into())), "{deploy:?}");
    let steps = story.state.deployments[0].plan.steps.len();
    let below = |parent: &Span| story.ended.iter().filter(|span| span.parent == Some(parent.place.span)).count();
    assert_eq!((below(&release), below(deploy)), (2, 1 + steps));
}

#[test]
fn a_version_that_comes_again_has_a_trace_of_its_own() {
    let mut story = Story::new();
    story.deploy();
    story.finish();
    story.ended.clear();
    story.deploy();
    let place = story.state.place_of_plan(&story.state.deployments[1]);
    assert_eq!(place, Place::deployment(&story.state.spec.id, Timestamp(1), 2));
    story.finish();
    story.is_whole();
    assert_eq!((story.named("deploy").place, story.named("deploy").parent), (place, None));
}

#[test]
fn a_step_that_fails_and_every_way_back_are_told_with_the_reason() {
    let mut story = Story::new();
    story.deploy();
    for _ in 0..9 {
        story.done();
    }
    story.fails("it crashes");
    assert_eq!(story.state.deployments[0].phase, Phase::RollingBack);
    let first = story.state.place_of_plan(&story.state.deployments[0]);
    story.done();
    story.fails("AWS refuses");
    let second = story.state.place_of_plan(&story.state.deployments[0]);
    assert_ne!(first, second);
    story.finish();
    story.is_whole();
    let failed: Vec<(&str, &str)> =
        story.ended.iter().filter_map(|span| Some((span.name, span.error.as_deref()?))).collect();
    let is_whole = |(name, _): &&(&str, &str)| matches!(*name, "roll_back" | "deploy");
    let whole: Vec<_> = failed.iter().filter(is_whole).collect();
    assert_eq!(whole, [&("roll_back", "AWS refuses"), &("deploy", "it crashes")]);
    let steps: Vec<&str> = failed.iter().filter(|failed| !is_whole(failed)).map(|(_, why)| *why).collect();
    assert_eq!(steps, ["it crashes", "AWS refuses"]);
    let backs: Vec<Place> = story.ended.iter().filter(|span| span.name == "roll_back").map(|span| span.place).collect();
    assert_eq!(backs, [first, second]);
}

#[test]
fn a_step_that_failed_into_a_pause_is_told_with_its_own_reason() {
    let mut story = Story::new();
    story.deploy();
    story.state.spec.rollout_policy.on_failure = OnFailure::Pause;
    story.done();
    story.fails("no figures");
    assert!(story.state.deployments[0].paused.is_some());
    let used = |control| ControlUsed {
        at: Timestamp(0),
        by: "ann".into(),
        why: String::new(),
        control,
        request_id: String::new(),
    };
    story.happens(Fact::Controlled(used(Control::Cancel { rollback: true })));
    story.finish();
    story.is_whole();
    let steps: Vec<&str> = story
        .ended
        .iter()
        .filter(|span| !matches!(span.name, "roll_back" | "deploy"))
        .filter_map(|span| span.error.as_deref())
        .collect();
    assert_eq!(steps, ["no figures"]);
}

//! What a change of a deployment ends is a span.

use super::{Place, Span};
use crate::{
    deployment::{Deployment, Ending, Fact, Outcome, Phase, StepTimes},
    plan::{Plan, Step},
    state::{DEPLOYMENTS_KEPT, ProjectState},
    time::Timestamp,
};

/// The plan that a deployment carries out, with the times of its steps.
struct Active<'a> {
    plan: &'a Plan,
    times: &'a [StepTimes],
    /// How often the way back was begun; 0: this is none.
    attempt: u32,
}

impl Deployment {
    fn active(&self) -> Active<'_> {
        match &self.rollback {
            None => Active { plan: &self.plan, times: &self.times, attempt: 0 },
            Some(back) => Active { plan: &back.plan, times: &back.times, attempt: back.attempts },
        }
    }
}

impl Active<'_> {
    /// Where its steps belong.
    fn place(&self, deploy: Place) -> Place {
        if self.attempt == 0 { deploy } else { deploy.child(&format!("roll_back {}", self.attempt)) }
    }
}

impl ProjectState {
    /// Where the steps belong that a deployment carries out now.
    #[must_use]
    pub fn place_of_plan(&self, deployment: &Deployment) -> Place {
        deployment.active().place(self.place_of(deployment).0)
    }

    /// Where a deployment is, and the release that it is below: the first of its version goes on with the version's trace.
    /// A later one may come months after, and has its own.
    fn place_of(&self, deployment: &Deployment) -> (Place, Option<Place>) {
        let earlier = |known: &Deployment| known.tag == deployment.tag && known.number < deployment.number;
        // Of those that are not kept any more, nobody knows what they deployed.
        let since = self.release(&deployment.tag).map(|release| release.since());
        let oldest = self.deployments.front().filter(|_| self.deployments.len() >= DEPLOYMENTS_KEPT);
        let forgotten = oldest.is_some_and(|oldest| since.is_none_or(|since| since < oldest.created));
        if forgotten || self.deployments.iter().any(earlier) {
            return (Place::deployment(&self.spec.id, self.created, deployment.number), None);
        }
        let release = Place::release(&self.spec.id, self.created, &deployment.tag);
        (release.child(&format!("deploy {}", deployment.number)), Some(release))
    }
}

/// Why a step was broken off.
fn failure(before: &Deployment, after: &Deployment, fact: &Fact) -> String {
    let paused = before.paused.as_ref().filter(|pause| pause.failed).map(|pause| pause.why.clone());
    match fact {
        Fact::Reported { outcome: Outcome::Failed { reason, .. }, .. } => reason.clone(),
        Fact::TimedOut => "it took longer than a step may".to_owned(),
        _ => paused.or_else(|| after.reason.clone()).unwrap_or_default(),
    }
}

/// The spans that end as a deployment becomes `after`, which is part of `state`, by a fact.
#[must_use]
pub fn spans(state: &ProjectState, before: &Deployment, after: &Deployment, fact: &Fact, at: Timestamp) -> Vec<Span> {
    let (deploy, release) = state.place_of(after);
    let span = |place, parent: Option<Place>, name, from, to| Span {
        place,
        parent: parent.map(|parent| parent.span),
        name,
        from,
        to,
        attributes: vec![("brain.project", state.spec.id.to_string()), ("brain.version", after.tag.clone())],
        error: None,
    };
    let mut spans = Vec::new();
    if before.phase == Phase::Pending && after.phase != Phase::Pending {
        spans.push(span(deploy.child("pending"), Some(deploy), "pending", after.created, at));
    }
    let (was, is) = (before.active(), after.active());
    let plan = was.place(deploy);
    let over = was.attempt != is.attempt;
    let failure = failure(before, after, fact);
    let step = |index: usize, step: &Step, from, to, error| {
        let mut span = span(plan.step(index), Some(plan), step.kind(), from, to);
        span.attributes.extend([("brain.step", step.to_string()), ("brain.step.number", (index + 1).to_string())]);
        Span { error, ..span }
    };
    if !over {
        for (index, (known, (times, then))) in was.plan.steps.iter().zip(is.times.iter().zip(was.times)).enumerate() {
            // One that failed into a pause and was passed over then has lost its begin.
            if let (Some(from), Some(to), None) = (times.started.or(then.started), times.ended, then.ended) {
                spans.push(step(index, known, from, to, None));
            }
        }
    }
    let unfinished = |times: &StepTimes| times.started.filter(|_| times.ended.is_none());
    let broken_off = is.times.get(before.cursor).and_then(unfinished);
    let broken_off = if over { was.times.get(before.cursor).and_then(unfinished) } else { broken_off };
    if let Some((from, known)) = broken_off.zip(was.plan.steps.get(before.cursor))
        && (over || after.phase.is_final())
    {
        spans.push(step(before.cursor, known, from, at, Some(failure.clone())));
    }
    if was.attempt > 0 && (over || after.phase.is_final()) {
        let from = was.times.first().and_then(|times| times.started).unwrap_or(at);
        let back = span(plan, Some(deploy), "roll_back", from, at);
        let is_back = after.ending() == Some(Ending::RolledBack);
        spans.push(Span { error: (!is_back).then_some(failure), ..back });
    }
    if let Some(ending) = after.ending() {
        spans.extend(ended(state, after, ending, at, (deploy, release), &span));
    }
    spans
}

/// The deployment's own span, and its release's.
fn ended(
    state: &ProjectState,
    deployment: &Deployment,
    ending: Ending,
    at: Timestamp,
    (deploy, release): (Place, Option<Place>),
    span: &impl Fn(Place, Option<Place>, &'static str, Timestamp, Timestamp) -> Span,
) -> Vec<Span> {
    let mut own = span(deploy, release, "deploy", deployment.created, at);
    own.attributes.extend([
        ("brain.deployment", deployment.number.to_string()),
        ("brain.requested_by", deployment.requested_by.clone()),
        ("brain.image", format!("{}@{}", state.spec.image_repository, deployment.digest)),
        ("brain.ending", ending.name().to_owned()),
    ]);
    let succeeded = ending == Ending::Succeeded;
    own.error = if succeeded { None } else { Some(deployment.reason.clone().unwrap_or_default()) };
    let mut spans = vec![own];
    let Some(root) = release else { return spans };
    let known = state.release(&deployment.tag);
    let since = known.map_or(deployment.created, |known| known.since().min(deployment.created));
    spans.push(span(root, None, "release", since, at));
    let seen = known.and_then(|known| Some((known.git?.since, known.image?.since)));
    if let Some((tag, image)) = seen.filter(|(tag, image)| tag < image) {
        spans.push(span(root.child("image"), Some(root), "image", tag, image));
    }
    spans
}

//! `/user/deployments/2`: one deployment, whole.

use super::{
    Board, Message, assets, html, not_found, part, project, project_of, stream,
    view::{Action, long, when},
};
use crate::project::Project;
use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use brain_core::{
    deployment::{Deployment, Phase},
    plan::Step,
    state::ProjectState,
    time::Timestamp,
};
use brain_proto::{
    convert::{deployment_to_proto, gate_told, timestamp_from_proto},
    v1,
};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "deployment.html")]
struct DeploymentPage {
    assets: &'static str,
    id: String,
    title: String,
    deployment: DeploymentView,
}

#[derive(Template)]
#[template(path = "deployment_main.html")]
struct DeploymentMain {
    id: String,
    title: String,
    deployment: DeploymentView,
}

/// What is shown of a deployment.
pub(super) struct DeploymentView {
    pub(super) number: u64,
    pub(super) href: String,
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) headline: String,
    pub(super) class: &'static str,
    pub(super) by: String,
    pub(super) why: String,
    pub(super) begun: String,
    pub(super) ended: Option<String>,
    pub(super) deployer: String,
    pub(super) deadline: Option<String>,
    pub(super) reason: String,
    pub(super) waiting: String,
    pub(super) awaits: Vec<String>,
    pub(super) pause: Option<Paused>,
    pub(super) plans: Vec<Steps>,
    pub(super) failures: Vec<String>,
    pub(super) service_events: Vec<String>,
    pub(super) controls: Vec<String>,
    pub(super) drift: Vec<String>,
    pub(super) acts: bool,
    pub(super) actions: Vec<Action>,
}

pub(super) struct Paused {
    pub(super) by: String,
    pub(super) why: String,
    pub(super) since: String,
}

pub(super) struct Steps {
    pub(super) name: &'static str,
    /// What its steps' places on the page begin with.
    pub(super) anchor: &'static str,
    pub(super) done: usize,
    pub(super) steps: Vec<Shown>,
}

pub(super) struct Shown {
    pub(super) text: String,
    pub(super) class: &'static str,
    pub(super) took: String,
    /// Of a gate: what it has read.
    pub(super) reading: String,
}

pub(super) async fn page(State(board): State<Arc<Board>>, Path((id, number)): Path<(String, u64)>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let Some((title, deployment)) = found(&board, &project, number) else { return gone(&project, number) };
    html(&DeploymentPage { assets: assets::version(), id, title, deployment })
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Path((id, number)): Path<(String, u64)>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    if found(&board, &project, number).is_none() {
        return not_found("deployment");
    }
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| {
        // One that was let go meanwhile leaves the page as it was.
        let main = |board: &Board, project: &Project| {
            let found = found(board, project, number);
            let id = project.id.to_string();
            found.map(|(title, deployment)| part(&DeploymentMain { id, title, deployment })).unwrap_or_default()
        };
        project::follow(&following, &project, &reader, None, main).await
    })
}

/// One that never was, or is no longer kept.
fn gone(project: &Project, number: u64) -> Response {
    let latest = project.read().state.deployments.back().map_or(0, |latest| latest.number);
    if number == 0 || number > latest {
        return not_found("deployment");
    }
    let href = format!("/-/events?project={}&topic=deployment", project.id);
    let more = Some(Action { href, text: "The log tells of it".to_owned() });
    let text = &format!("Deployment {number} is no longer kept whole.");
    let page = Message { assets: assets::version(), heading: "Not kept", text, more };
    (StatusCode::NOT_FOUND, html(&page)).into_response()
}

fn found(board: &Board, project: &Project, number: u64) -> Option<(String, DeploymentView)> {
    let inner = project.read();
    let deployment = inner.state.deployments.iter().find(|deployment| deployment.number == number)?;
    let title = inner.state.spec.image_repository.to_string();
    Some((title, DeploymentView::new(&inner.state, deployment, board.acts)))
}

impl DeploymentView {
    pub(super) fn new(state: &ProjectState, deployment: &Deployment, acts: bool) -> Self {
        let told = deployment_to_proto(&state.spec, deployment);
        let class = match deployment.phase {
            Phase::Pending | Phase::Running => "busy",
            Phase::Succeeded => "good",
            Phase::RollingBack | Phase::Failed | Phase::Cancelled => "bad",
        };
        let mut plans = vec![steps("Plan", "step", &told.steps)];
        if !told.rollback_steps.is_empty() {
            plans.insert(0, steps("Way back", "back", &told.rollback_steps));
        }
        let time = |time: Option<_>| time.map(timestamp_from_proto).map(when).unwrap_or_default();
        Self {
            number: deployment.number,
            href: format!("/{}/deployments/{}", state.spec.id, deployment.number),
            version: told.version,
            digest: told.image_digest,
            headline: told.headline,
            class,
            by: told.requested_by,
            why: told.request_reason,
            begun: when(deployment.created),
            ended: deployment.ended.map(when),
            deployer: told.deployer,
            deadline: deployment.deadline().map(when),
            reason: told.reason,
            waiting: told.waiting,
            awaits: told.awaits,
            pause: told.pause.map(|pause| Paused {
                by: pause.paused_by,
                why: pause.reason,
                since: time(pause.pause_time),
            }),
            plans,
            failures: told.task_failures.into_iter().map(failure).collect(),
            service_events: told
                .service_events
                .into_iter()
                .map(|event| format!("{} {}", time(event.time), event.message))
                .collect(),
            controls: told.controls.into_iter().map(|used| control(&used, &time(used.time))).collect(),
            drift: deployment.drift.iter().map(ToString::to_string).collect(),
            acts,
            actions: actions(state, deployment),
        }
    }
}

fn steps(name: &'static str, anchor: &'static str, steps: &[v1::StepStatus]) -> Steps {
    let at = |time: Option<_>| time.map(timestamp_from_proto);
    let shown = |step: &v1::StepStatus| {
        let (began, ended) = (at(step.start_time), at(step.end_time));
        let class = match (began, ended) {
            (_, Some(_)) => "done",
            (Some(_), None) => "now",
            (None, None) => "",
        };
        let took = |(began, ended): (Timestamp, Timestamp)| long(ended.since(began));
        let took = match (began, ended) {
            (Some(began), None) => format!("since {}", when(began)),
            (began, ended) => began.zip(ended).map(took).unwrap_or_default(),
        };
        let reading = gate_told(step).unwrap_or_default();
        Shown { text: step.description.clone(), class, took, reading }
    };
    let done = steps.iter().filter(|step| step.end_time.is_some()).count();
    Steps { name, anchor, done, steps: steps.iter().map(shown).collect() }
}

fn failure(failure: v1::TaskFailure) -> String {
    let v1::TaskFailure { task, reason, exit_code } = failure;
    let code = exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    format!("{task}: {reason}{code}")
}

fn control(used: &v1::DeploymentControl, at: &str) -> String {
    let why = if used.reason.is_empty() { String::new() } else { format!(": {}", used.reason) };
    format!("{at} {} by {}{why}", used.what, used.requested_by)
}

/// What a person may do to it now.
fn actions(state: &ProjectState, deployment: &Deployment) -> Vec<Action> {
    if deployment.phase.is_final() {
        return Vec::new();
    }
    let (id, number) = (&state.spec.id, deployment.number);
    let action = |verb: &str, more: &str, text: &str| Action {
        href: format!("/{id}/-/do/{verb}?number={number}{more}"),
        text: text.to_owned(),
    };
    let mut actions = Vec::new();
    if deployment.approvals_missing() > 0 {
        actions.push(action("approve", "", "Approve"));
    }
    match (&deployment.paused, deployment.phase) {
        (Some(_), _) => actions.push(action("resume", "", "Resume")),
        (None, Phase::Running | Phase::Pending | Phase::RollingBack) => actions.push(action("pause", "", "Pause")),
        (None, _) => {}
    }
    let waits = |step: &Step| matches!(step, Step::Bake { .. } | Step::Gate { .. } | Step::Hold);
    let ahead = deployment.plan.steps.iter().enumerate().skip(deployment.cursor);
    let next = ahead.filter(|(_, step)| waits(step)).map(|(index, _)| index + 1).next();
    if let Some(step) = next.filter(|_| deployment.phase == Phase::Running) {
        actions.push(action("promote", &format!("&step={step}"), "Promote"));
        actions.push(action("promote-all", "", "Promote to the end"));
    }
    actions.push(action("cancel", "", "Cancel, and roll back"));
    actions.push(action("leave", "", "Cancel, and leave it as it is"));
    actions
}

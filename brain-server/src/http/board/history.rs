//! `/user/deployments`: the deployments of a project that are kept; of older ones the audit log tells.

use super::{
    Board, assets, html, not_found, part, project, project_of, stream,
    view::{long, when},
};
use crate::project::Project;
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use brain_core::{
    deployment::{Deployment, Phase},
    state::ProjectState,
};
use std::sync::Arc;

/// A deployment, as tables show it.
pub(super) struct Past {
    pub(super) number: u64,
    pub(super) href: String,
    pub(super) version: String,
    pub(super) outcome: &'static str,
    pub(super) class: &'static str,
    pub(super) reason: String,
    pub(super) by: String,
    pub(super) begun: String,
    pub(super) took: String,
}

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    assets: &'static str,
    id: String,
    title: String,
    main: String,
}

#[derive(Template)]
#[template(path = "history_main.html")]
struct HistoryMain {
    id: String,
    title: String,
    history: Vec<Past>,
}

pub(super) async fn page(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let title = project.read().state.spec.image_repository.to_string();
    html(&HistoryPage { assets: assets::version(), id, title, main: main(&board, &project) })
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| project::follow(&following, &project, &reader, None, main).await)
}

fn main(_: &Board, project: &Project) -> String {
    let inner = project.read();
    let state = &inner.state;
    part(&HistoryMain {
        id: state.spec.id.to_string(),
        title: state.spec.image_repository.to_string(),
        history: past(state, usize::MAX),
    })
}

/// The latest deployments, `most` of them.
pub(super) fn past(state: &ProjectState, most: usize) -> Vec<Past> {
    state.deployments.iter().rev().take(most).map(|deployment| past_of(state, deployment)).collect()
}

fn past_of(state: &ProjectState, deployment: &Deployment) -> Past {
    let (outcome, class) = match deployment.phase {
        Phase::Pending => ("waiting", "busy"),
        Phase::Running => ("in process", "busy"),
        Phase::RollingBack => ("being rolled back", "bad"),
        Phase::Succeeded => ("succeeded", "good"),
        Phase::Failed => ("failed", "bad"),
        Phase::Cancelled => ("cancelled", "bad"),
    };
    Past {
        number: deployment.number,
        href: format!("/{}/deployments/{}", state.spec.id, deployment.number),
        version: deployment.tag.clone(),
        outcome,
        class,
        reason: deployment.reason.clone().unwrap_or_default(),
        by: deployment.requested_by.clone(),
        begun: when(deployment.created),
        took: deployment.ended.map(|ended| long(ended.since(deployment.created))).unwrap_or_default(),
    }
}

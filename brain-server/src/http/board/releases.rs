//! `/user/releases`: every release of a project.

use super::{Board, assets, html, not_found, part, project, project_of, stream, view::when};
use crate::project::Project;
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use brain_core::{release::Release, state::ProjectState};
use serde::Deserialize;
use std::sync::Arc;

/// Releases on a page.
const PAGE: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    page: usize,
    /// The page that has this one, wherever newer ones have moved it to.
    tag: String,
}

/// A release, as tables show it.
pub(super) struct Listed {
    pub(super) tag: String,
    pub(super) image: String,
    pub(super) since: String,
    pub(super) held: Option<String>,
    pub(super) deployable: bool,
}

#[derive(Template)]
#[template(path = "releases.html")]
struct ReleasesPage {
    assets: &'static str,
    title: String,
    stream: String,
    main: String,
}

#[derive(Template)]
#[template(path = "releases_main.html")]
struct ReleasesMain {
    id: String,
    title: String,
    acts: bool,
    releases: Vec<Listed>,
    back: Option<usize>,
    next: Option<usize>,
}

pub(super) async fn page(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let title = project.read().state.spec.image_repository.to_string();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("page", &asked.page.to_string()).append_pair("tag", &asked.tag);
    let stream = format!("/{id}/releases/stream?{}", query.finish());
    html(&ReleasesPage { assets: assets::version(), title, stream, main: main(&board, &project, &asked) })
}

pub(super) async fn stream(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| {
        project::follow(&following, &project, &reader, None, |board, project| main(board, project, &asked)).await
    })
}

fn main(board: &Board, project: &Project, asked: &Asked) -> String {
    let inner = project.read();
    let state = &inner.state;
    let all = state.releases();
    let place = all.iter().position(|release| release.tag == asked.tag).map(|place| place / PAGE);
    let page = place.unwrap_or(asked.page).min(all.len().saturating_sub(1) / PAGE);
    let skipped = page * PAGE;
    let releases: Vec<Listed> = all.iter().skip(skipped).take(PAGE).map(|release| listed(state, release)).collect();
    part(&ReleasesMain {
        id: state.spec.id.to_string(),
        title: state.spec.image_repository.to_string(),
        acts: board.acts,
        back: page.checked_sub(1),
        next: (skipped + releases.len() < all.len()).then_some(page + 1),
        releases,
    })
}

pub(super) fn listed(state: &ProjectState, release: &Release<'_>) -> Listed {
    let repository = &state.spec.image_repository;
    let held = release.image.and_then(|image| {
        let mut all = state.holds.quarantines.iter();
        let held = all.find(|held| held.hold.tag == release.tag && held.hold.digest == image.digest)?;
        let why = if held.why.is_empty() { String::new() } else { format!(": {}", held.why) };
        Some(format!("quarantined by {} since {}{why}", held.by, when(held.since)))
    });
    Listed {
        tag: release.tag.to_owned(),
        image: release.image.map(|_| repository.with_tag(release.tag)).unwrap_or_default(),
        since: when(release.since()),
        deployable: release.image.is_some() && state.active().is_none(),
        held,
    }
}

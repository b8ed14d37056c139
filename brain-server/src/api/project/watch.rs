//! WatchProject: all that is known of a project, then what changes.

use super::super::cut_off;
use crate::project::{News, Project};
use brain_core::{event::Change, state::ProjectState};
use brain_proto::{
    convert::{project_to_proto, release_to_proto},
    name,
    v1::WatchProjectResponse,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::Status;

/// What changes of a project did to what is watched.
#[derive(Debug, Default)]
struct Touched {
    releases: BTreeSet<String>,
    project: bool,
}

impl Touched {
    fn add(&mut self, news: &News) {
        for event in &news.events {
            match &event.change {
                Change::TagObserved { tag, .. }
                | Change::TagRemoved { tag }
                | Change::ImageObserved { tag, .. }
                | Change::ImageRemoved { tag } => {
                    self.releases.insert(tag.clone());
                    // A tag also changes the head's label.
                    self.project = true;
                }
                Change::ProjectCreated(_) | Change::HeadObserved { .. } | Change::HeadRemoved => self.project = true,
                Change::SourceMoved { .. }
                | Change::TagFailed { .. }
                | Change::PollFailed { .. }
                | Change::PollRecovered { .. }
                | Change::ProductionObserved { .. }
                | Change::DeploymentRequested(_)
                | Change::DeploymentChanged { .. } => {}
            }
        }
    }
}

/// Sends what is known, unless `resume` names it, then what changes. Changes that come together are sent together, each
/// release as it is by then.
pub(super) async fn watch(
    project: Arc<Project>,
    resume: String,
    sender: mpsc::Sender<Result<WatchProjectResponse, Status>>,
) {
    let mut news = project.subscribe();
    let (mut seen, first) = {
        let inner = project.read();
        let known = resume == token(&project, inner.version);
        (inner.version, (!known).then(|| snapshot(&project, inner.version, &inner.state)))
    };
    if let Some(first) = first
        && sender.send(Ok(first)).await.is_err()
    {
        return;
    }
    loop {
        let mut touched = Touched::default();
        match news.recv().await {
            Ok(news) if news.version > seen => touched.add(&news),
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => {
                let _ = sender.send(Err(cut_off(&name::project(&project.id)))).await;
                return;
            }
            Err(RecvError::Closed) => return,
        }
        // A gap is met again by the next turn, which ends the stream.
        while let Ok(news) = news.try_recv() {
            touched.add(&news);
        }
        if !touched.project {
            continue;
        }
        let message = {
            let inner = project.read();
            seen = inner.version;
            changes(&project, seen, &inner.state, touched)
        };
        if sender.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

fn snapshot(project: &Project, version: u64, state: &ProjectState) -> WatchProjectResponse {
    WatchProjectResponse {
        snapshot: true,
        project: Some(project_to_proto(state)),
        releases: state.releases().iter().map(|release| release_to_proto(state, release)).collect(),
        removed_releases: Vec::new(),
        resume_token: token(project, version),
    }
}

fn changes(project: &Project, version: u64, state: &ProjectState, touched: Touched) -> WatchProjectResponse {
    let mut releases = Vec::new();
    let mut removed_releases = Vec::new();
    for tag in touched.releases {
        match state.listed_release(&tag) {
            Some(release) => releases.push(release_to_proto(state, &release)),
            None => removed_releases.push(name::release(&project.id, &tag)),
        }
    }
    let resume_token = token(project, version);
    WatchProjectResponse {
        snapshot: false,
        project: Some(project_to_proto(state)),
        releases,
        removed_releases,
        resume_token,
    }
}

fn token(project: &Project, version: u64) -> String {
    super::super::page::token(&format!("{}@{version}", project.id))
}

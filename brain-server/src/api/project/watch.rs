//! WatchProject: all that is known of a project, then what changes.

use super::super::cut_off;
use crate::project::{News, Project};
use brain_core::{drift::KnownDrift, event::Change, looks::Unobserved, state::ProjectState};
use brain_proto::{
    convert::{project_to_proto, release_to_proto},
    error, name,
    v1::WatchProjectResponse,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{
    broadcast::error::{RecvError, TryRecvError},
    mpsc,
};
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
                Change::ProjectCreated(_)
                | Change::ProjectChanged { .. }
                | Change::HeadObserved { .. }
                | Change::HeadRemoved
                | Change::HousekeepingEnded { .. }
                | Change::HoldSet { .. }
                | Change::HoldLifted { .. } => self.project = true,
                Change::SourceMoved { .. }
                | Change::TagFailed { .. }
                | Change::PollFailed { .. }
                | Change::PollRecovered { .. }
                | Change::ProductionObserved { .. }
                | Change::ProductionUnobserved { .. }
                | Change::ProductionObservedAgain
                | Change::DriftObserved { .. }
                | Change::HousekeepingBegan { .. }
                | Change::DeploymentRequested(_)
                | Change::DeploymentChanged { .. }
                // Told by the end of the stream.
                | Change::ProjectDeleted { .. }
                // Of the line, and never among a project's.
                | Change::LineStopped { .. }
                | Change::LineReleased { .. } => {}
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
    let (mut seen, mut beside, first) = {
        let inner = project.read();
        let known = resume == token(&project, inner.version);
        (inner.version, beside(&inner.state), (!known).then(|| snapshot(&project, inner.version, &inner.state)))
    };
    if let Some(first) = first
        && sender.send(Ok(first)).await.is_err()
    {
        return;
    }
    loop {
        let mut touched = Touched::default();
        let mut next = match news.recv().await {
            Ok(news) => Ok(news),
            Err(RecvError::Lagged(behind)) => Err(TryRecvError::Lagged(behind)),
            Err(RecvError::Closed) => return gone(&project, &sender).await,
        };
        loop {
            match next {
                Ok(news) => {
                    if news.version > seen {
                        seen = news.version;
                        touched.add(&news);
                    }
                }
                Err(TryRecvError::Lagged(_)) => {
                    let _ = sender.send(Err(cut_off(&name::project(&project.id)))).await;
                    return;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
            next = news.try_recv();
        }
        if project.read().state.deleted.is_some() {
            return gone(&project, &sender).await;
        }
        let now = self::beside(&project.read().state);
        touched.project |= now != beside;
        beside = now;
        if !touched.project {
            continue;
        }
        // The state may be ahead of the news that came: what it has more is told again with its own.
        let message = changes(&project, seen, &project.read().state, touched);
        if sender.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

/// Ends the watch of a project that was deleted.
async fn gone(project: &Project, sender: &mpsc::Sender<Result<WatchProjectResponse, Status>>) {
    let _ = sender.send(Err(error::not_found(&name::project(&project.id)))).await;
}

/// What of the project changes with events of which few change it: those of deployments, and looks at production.
fn beside(state: &ProjectState) -> (Vec<KnownDrift>, Option<Unobserved>) {
    (state.drift.clone(), state.unobserved.clone())
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

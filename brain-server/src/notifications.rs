//! Notifications: each follows the committed log from its own place in it, and sends on what its filters let through.
//!
//! The log is the queue, so a receiver that is slow or gone holds up its own notification and nothing else; what happened
//! meanwhile, also while the server was down, is read from the log, whose tail bounds it. A notice is delivered at least once
//! and in the log's order, or given up after so many tries, which is logged and counted. What is told by a deployment's state
//! is missed, and counted so, once its project is deleted.

use crate::{
    api::event::{Position, forwards},
    config::notification::Notification,
    directory::Directory,
    project::Shared,
    store::{Committed, Revision, StoreError},
};
use anyhow::Context;
use brain_core::{
    event::{Event, Noticed},
    stream::Stream,
};
use futures::StreamExt;
use message::Message;
use place::Place;
use sender::Sender;
use std::{path::Path, sync::Arc, time::Duration};
use tracing::{error, warn};
use url::Url;

mod message;
pub mod pattern;
mod place;
mod sender;
pub mod signature;

/// Commits that are passed over before the place is kept without a notice: the log drops what is older than its tail.
const KEPT_EVERY: u64 = 1_000;
/// Pause before the log is followed anew after the store has failed.
const RETRY: Duration = Duration::from_secs(1);

/// Starts all of them; each runs until the server ends.
pub(crate) fn start(
    notifications: Vec<Notification>,
    data: &Path,
    board: Option<Url>,
    directory: &Arc<Directory>,
    shared: &Arc<Shared>,
    loaded: u64,
) -> anyhow::Result<()> {
    if notifications.is_empty() {
        return Ok(());
    }
    let client = sender::client().context("no HTTP client for notifications")?;
    let end = Position { revision: loaded, index: u32::MAX };
    for notification in notifications {
        let place = Place::open(data, &notification.name, end)?;
        let follower = Follower {
            kept: place.reached.revision,
            place,
            sender: Sender::new(client.clone(), notification, shared.clock.clone()),
            board: board.clone(),
            directory: Arc::clone(directory),
            shared: Arc::clone(shared),
        };
        let ended = shared.shutdown.clone();
        shared.tasks.spawn(async move { ended.run_until_cancelled(follower.follow()).await });
    }
    Ok(())
}

struct Follower {
    sender: Sender,
    place: Place,
    /// The revision that was kept last.
    kept: u64,
    board: Option<Url>,
    directory: Arc<Directory>,
    shared: Arc<Shared>,
}

impl Follower {
    async fn follow(mut self) {
        loop {
            // The commit of the place too: some of its events may not have been looked at.
            let from = Revision(self.place.reached.revision.saturating_sub(1));
            let mut commits = self.shared.store.watch(from);
            loop {
                match commits.next().await {
                    Some(Ok(commit)) => self.take(&commit).await,
                    // A receiver was slower than the log; what was missed stands in it.
                    Some(Err(StoreError::Lagged)) => break,
                    Some(Err(StoreError::Compacted { oldest })) => {
                        self.missed(oldest).await;
                        break;
                    }
                    Some(Err(error)) => {
                        warn!(notification = self.sender.notification().name, %error, "the log cannot be followed");
                        tokio::time::sleep(RETRY).await;
                        break;
                    }
                    None => {
                        tokio::time::sleep(RETRY).await;
                        break;
                    }
                }
            }
        }
    }

    /// Sends what is to be told of a commit.
    async fn take(&mut self, commit: &Committed) {
        let revision = commit.revision.0;
        let reached = self.place.reached;
        for (position, event) in forwards(commit).filter(|(position, _)| *position > reached) {
            let Some(message) = self.message(position, commit, event).await else { continue };
            self.sender.deliver(&message).await;
            self.place.reached = position;
            self.keep().await;
        }
        self.place.reached = Position { revision, index: u32::MAX };
        if revision >= self.kept + KEPT_EVERY {
            self.keep().await;
        }
    }

    async fn keep(&mut self) {
        self.kept = self.place.reached.revision;
        self.place.keep().await;
    }

    /// What is sent of an event, if its filters let it through.
    async fn message(&self, position: Position, commit: &Committed, event: &Event) -> Option<Message> {
        let Notification { projects, events, .. } = self.sender.notification();
        let project = match &commit.stream {
            Stream::Project(id) => Some(id),
            // The line is of all projects.
            Stream::Line => None,
        };
        if project.is_some_and(|id| !projects.iter().any(|pattern| pattern.fits(id.as_str()))) {
            return None;
        }
        let noticed = self.noticed(commit, event).await?;
        if !events.iter().any(|pattern| pattern.fits(noticed.notice.name())) {
            return None;
        }
        Some(Message::new(position, project, event, noticed, self.board.as_ref()))
    }

    async fn noticed(&self, commit: &Committed, event: &Event) -> Option<Noticed> {
        let (Stream::Project(id), Some(number)) = (&commit.stream, event.change.deployment()) else {
            return event.noticed(None);
        };
        let Some(project) = self.directory.get(id) else {
            // Deleted since, and with it what its deployments' notices are told by.
            self.sender.count("missed", 1);
            return None;
        };
        if project.read().version < commit.version {
            // It is durable, and told of, before it is applied.
            project.settled().await;
        }
        let inner = project.read();
        event.noticed(inner.state.deployment(number))
    }

    /// The log does not reach back to the place any more.
    async fn missed(&mut self, oldest: u64) {
        let reached = self.place.reached.revision;
        let name = &self.sender.notification().name;
        error!(notification = name, after = reached, until = oldest, "notices are missed: the log begins later");
        self.sender.count("missed", oldest.saturating_sub(reached + 1));
        self.place.reached = Position { revision: oldest.saturating_sub(1), index: u32::MAX };
        self.keep().await;
    }
}

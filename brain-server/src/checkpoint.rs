//! Checkpoints: now and then the state of every project that changed, and of the line, so that start-up reads little.

use crate::{
    directory::{Deleted, Directory},
    project::Shared,
    store::{CheckpointEntry, Revision, StoreError},
};
use brain_core::stream::{Stream, StreamState};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tracing::{info, warn};

/// Commits after which a checkpoint is worth its cost.
const EVERY: u64 = 50_000;
/// How often it is looked whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(5);

/// Writes checkpoints until the server shuts down. The last one is the caller's to write.
pub(crate) async fn run(directory: Arc<Directory>, shared: Arc<Shared>) {
    let mut checkpointer = Checkpointer::new(directory, Arc::clone(&shared));
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if shared.revision.load(Ordering::Relaxed) < checkpointer.covered + EVERY {
            continue;
        }
        if let Err(error) = checkpointer.write().await {
            warn!(%error, "no checkpoint was written; the log keeps everything");
        }
    }
}

/// Writes one checkpoint of everything that changed since the last one that it wrote.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    covered: u64,
    versions: HashMap<Stream, u64>,
}

impl Checkpointer {
    /// One that has written none yet.
    #[must_use]
    pub(crate) fn new(directory: Arc<Directory>, shared: Arc<Shared>) -> Self {
        Self { directory, shared, covered: 0, versions: HashMap::new() }
    }

    /// The line, if it changed. Its commits are applied before it is steady again.
    async fn line(&self) -> Option<CheckpointEntry> {
        let _steady = self.shared.line.steady().await;
        let (version, line) = self.shared.line.versioned();
        let known = self.versions.get(&Stream::Line).copied().unwrap_or(0);
        let entry = CheckpointEntry { stream: Stream::Line, version, state: StreamState::Line(line) };
        (version != known).then_some(entry)
    }

    /// What changed since the last checkpoint.
    async fn changed(&self) -> Vec<CheckpointEntry> {
        let mut entries = Vec::new();
        let (projects, deleted) = self.directory.with_deleted().await;
        for project in projects {
            // A commit up to `covers` may be durable and not applied yet.
            project.settled().await;
            let inner = project.read();
            let stream = Stream::Project(project.id.clone());
            if self.versions.get(&stream) == Some(&inner.version) {
                continue;
            }
            let (version, state) = (inner.version, StreamState::Project(Box::new(inner.state.clone())));
            entries.push(CheckpointEntry { stream, version, state });
        }
        // What is left of deleted ones too: the log may soon have no word of them any more.
        for Deleted { id, version, state, .. } in deleted {
            let stream = Stream::Project(id);
            if self.versions.get(&stream) != Some(&version) {
                entries.push(CheckpointEntry { stream, version, state: StreamState::Project(Box::new(state)) });
            }
        }
        entries.extend(self.line().await);
        entries
    }

    /// Writes one.
    pub(crate) async fn write(&mut self) -> Result<(), StoreError> {
        let covers = self.shared.revision.load(Ordering::Relaxed);
        let entries = self.changed().await;
        let written: Vec<(Stream, u64)> = entries.iter().map(|entry| (entry.stream.clone(), entry.version)).collect();
        self.shared.store.checkpoint(entries, Revision(covers)).await?;
        info!(covers, streams = written.len(), "checkpoint written");
        self.versions.extend(written);
        self.covered = covers;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

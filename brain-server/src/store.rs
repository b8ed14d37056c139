//! The store: a revisioned log of what happened to projects, from which all state is folded.
//!
//! Shaped after etcd, so that etcd is one more backend. Every backend passes the same contract: a commit is all or nothing,
//! durable when it is acknowledged, and refused when the project is not at the version it was decided against; revisions have
//! no gaps; a watch gives every commit once and in order, or ends with an error and can be resumed.

use async_trait::async_trait;
use brain_core::{event::Event, id::ProjectId, state::ProjectState};
use futures::stream::BoxStream;
use std::{fmt, path::PathBuf, sync::Arc};
use thiserror::Error;

mod live;
pub mod memory;
pub mod sled;

/// Position in the log. Every committed transition has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// What happens to one project, decided against one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The project.
    pub project: ProjectId,
    /// Its version before; 0: it does not exist. Afterwards it is one more.
    pub expected: u64,
    /// What happens.
    pub events: Vec<Event>,
}

/// A transition that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its position in the log.
    pub revision: Revision,
    /// The project.
    pub project: ProjectId,
    /// Its version after.
    pub version: u64,
    /// What happened.
    pub events: Vec<Event>,
}

/// A project as it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedProject {
    /// Its id.
    pub id: ProjectId,
    /// Its version.
    pub version: u64,
    /// Its state.
    pub state: ProjectState,
}

/// Everything, as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The latest revision.
    pub revision: Revision,
    /// All projects, by id.
    pub projects: Vec<LoadedProject>,
}

/// A project's state, to be kept beside the log.
#[derive(Debug, Clone)]
pub struct CheckpointEntry {
    /// The project.
    pub project: ProjectId,
    /// Its version.
    pub version: u64,
    /// Its state at that version.
    pub state: ProjectState,
}

/// Why the store did not do what was asked. Nothing of it was done.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The project is at another version.
    #[error("project {project} is at version {actual}, not {expected}")]
    Conflict {
        /// The project.
        project: ProjectId,
        /// The version that was expected.
        expected: u64,
        /// The version that it is at.
        actual: u64,
    },
    /// What was asked for is no longer in the log: load everything again.
    #[error("the log begins at revision {oldest}: what was before is only in the state")]
    Compacted {
        /// The oldest revision that is there.
        oldest: u64,
    },
    /// A watch fell too far behind, and may resume from what it saw last.
    #[error("the watch fell too far behind the log")]
    Lagged,
    /// The store cannot be reached or written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store is damaged. Nothing was changed.
    #[error("{}: {what}; nothing was changed: restore the directory from a backup", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A stream of commits.
pub type Commits = BoxStream<'static, Result<Arc<Committed>, StoreError>>;

/// Where everything is kept.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Commits all transitions or none. When it answers, they are durable against power loss; the answer is the revision of
    /// the last one.
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError>;

    /// Everything that is committed.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Every commit after `after`, in order: those that are in the log, then those to come.
    fn watch(&self, after: Revision) -> Commits;

    /// Keeps states, so that a load need not fold the log up to `covers`; the log before it may be dropped, up to a tail for
    /// watches. The states and those of earlier checkpoints must hold every commit up to `covers`.
    async fn checkpoint(&self, projects: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError>;

    /// Ends the store. Commits that were not acknowledged may be lost.
    async fn close(&self) -> Result<(), StoreError>;
}

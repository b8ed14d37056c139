//! The store: a revisioned log of what happened to projects and to the line, from which all state is folded.
//!
//! Shaped after etcd, so that etcd is one more backend. Every backend passes the same contract: a commit is all or nothing,
//! durable when it is acknowledged, and refused when the project is not at the version it was decided against; revisions have
//! no gaps; a watch gives every commit once and in order, or ends with an error and can be resumed.

use async_trait::async_trait;
use brain_core::{
    event::Event,
    id::ProjectId,
    line::Line,
    state::ProjectState,
    stream::{Stream, StreamState},
    time::Timestamp,
};
use futures::stream::BoxStream;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};
use thiserror::Error;

mod live;
mod measured;
pub mod memory;
pub mod sled;

pub(crate) use measured::Measured;

/// Position in the log. Every committed transition has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// What happens to one stream, decided against one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The stream: a project, or the line.
    pub stream: Stream,
    /// Its version before; 0: nothing has happened to it yet. Afterwards it is one more.
    pub expected: u64,
    /// What happens.
    pub events: Vec<Event>,
}

/// A transition that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its position in the log.
    pub revision: Revision,
    /// The stream.
    pub stream: Stream,
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
    /// The line with its version; 0: it was never stopped.
    pub line: (u64, Line),
    /// All projects, by id.
    pub projects: Vec<LoadedProject>,
}

impl Loaded {
    fn new(revision: Revision, streams: BTreeMap<Stream, (u64, StreamState)>) -> Self {
        let mut loaded = Self { revision, ..Self::default() };
        for (stream, (version, state)) in streams {
            match (stream, state) {
                (Stream::Project(id), StreamState::Project(state)) => {
                    loaded.projects.push(LoadedProject { id, version, state: *state });
                }
                (_, StreamState::Line(line)) => loaded.line = (version, line),
                // The fold gives each stream a state of its kind.
                (Stream::Line, StreamState::Project(_)) => {}
            }
        }
        loaded
    }

    /// Versions by stream; those that nothing has happened to are left out.
    fn versions(&self) -> impl Iterator<Item = (Stream, u64)> {
        let line = (self.line.0 > 0).then_some((Stream::Line, self.line.0));
        let projects = self.projects.iter().map(|project| (Stream::Project(project.id.clone()), project.version));
        line.into_iter().chain(projects)
    }
}

/// A stream's state, to be kept beside the log.
#[derive(Debug, Clone)]
pub struct CheckpointEntry {
    /// The stream.
    pub stream: Stream,
    /// Its version.
    pub version: u64,
    /// Its state at that version.
    pub state: StreamState,
}

/// Why the store did not do what was asked. Nothing of it was done.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The stream is at another version.
    #[error("{stream} is at version {actual}, not {expected}")]
    Conflict {
        /// The stream.
        stream: Stream,
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

    /// The latest commits before `before`, at most `most`, the latest first: of one stream, or of all. Fewer: the log holds no
    /// more.
    async fn earlier(
        &self,
        before: Revision,
        of: Option<Stream>,
        most: usize,
    ) -> Result<Vec<Arc<Committed>>, StoreError>;

    /// Keeps states, so that a load need not fold the log up to `covers`; the log before it may be dropped, up to a tail for
    /// watches. The states and those of earlier checkpoints must hold every commit up to `covers`.
    async fn checkpoint(&self, entries: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError>;

    /// Notes that a server is there now. That is not durable: what is lost of it counts as away.
    async fn attend(&self, at: Timestamp) -> Result<(), StoreError>;

    /// When a server was last noted to be there; `None`: nothing is known of that.
    async fn attended(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Ends the store. Commits that were not acknowledged may be lost.
    async fn close(&self) -> Result<(), StoreError>;
}

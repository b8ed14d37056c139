//! What agents observe, before the server has decided whether it is news.

use crate::{image::Digest, production::ServiceState, release::AheadOf, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One observation of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Tags and branch head.
    Source {
        /// Whether `tags` is all there is.
        complete: bool,
        /// Tags and their commits.
        tags: Vec<(String, String)>,
        /// Tags that are gone.
        removed: Vec<String>,
        /// The head, when it was seen.
        head: ObservedBranch,
        /// Where the repository has moved to; `None` when it has not.
        moved_to: Option<String>,
    },
    /// Images.
    Images {
        /// Whether `images` is all there is.
        complete: bool,
        /// Tags and their digests.
        images: Vec<(String, Digest)>,
        /// Tags that are gone.
        removed: Vec<String>,
    },
    /// A poll that failed (with why) or works again.
    Poll {
        /// Whose poll.
        target: PollTarget,
        /// Why it failed; `None`: it works again.
        failure: Option<String>,
    },
    /// A tag that the project's policy asks for and that could not be made.
    TagFailed {
        /// Tag.
        tag: String,
        /// Commit.
        commit: String,
        /// Why.
        why: String,
    },
    /// What runs in production.
    Production(Vec<ServiceState>),
    /// Production has not been seen for too long.
    ProductionUnobserved {
        /// Why, and what a person can do.
        why: String,
        /// When the first look failed, or was missing.
        since: Timestamp,
    },
}

/// The branch, as observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ObservedBranch {
    /// Nothing new.
    #[default]
    Unchanged,
    /// It does not exist.
    Missing,
    /// What it points at.
    Head(ObservedHead),
}

/// The head of the branch, as observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedHead {
    /// Commit.
    pub commit: String,
    /// How far ahead of which tag, where that is known.
    pub ahead_of: Option<AheadOf>,
}

/// What a watcher polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PollTarget {
    /// The git repository.
    Source,
    /// The image repository.
    Images,
}

impl fmt::Display for PollTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "git repository",
            Self::Images => "image repository",
        })
    }
}

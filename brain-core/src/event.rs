//! Events: the lines of the log from which all state is folded.
//!
//! These types are what stands on disk. They are stored with their field names, so a field may be added if it has a
//! default; none may be renamed, retyped or taken away, and no variant either. A test of the store holds the bytes of
//! today's events and must read them for ever.

use crate::{
    deployment::{Fact, Lease, Request},
    drift::Drift,
    hold::{Hold, Lifted},
    image::Digest,
    observation::PollTarget,
    production::ServiceState,
    project::ProjectSpec,
    release::AheadOf,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

mod notice;
mod told;

pub use notice::{Notice, Noticed};
pub use told::{Told, Topic};

/// Something that happened to a project, or to the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Who caused it: a person's name, an agent, a webhook or a policy.
    #[serde(rename = "b")]
    pub by: String,
    /// What changed.
    #[serde(rename = "c")]
    pub change: Change,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The project was created.
    ProjectCreated(Box<ProjectSpec>),
    /// A tag is new, or moved to another commit.
    TagObserved {
        /// Tag.
        tag: String,
        /// Commit.
        commit: String,
    },
    /// A tag is gone.
    TagRemoved {
        /// Tag.
        tag: String,
    },
    /// The branch points at another commit, or how far ahead it is became known.
    HeadObserved {
        /// Commit.
        commit: String,
        /// How far ahead of which tag.
        ahead_of: Option<AheadOf>,
    },
    /// The branch is gone, or was never there.
    HeadRemoved,
    /// The repository has moved to another address, or its address is right again (`None`).
    SourceMoved {
        /// The new address.
        to: Option<String>,
    },
    /// Brain could not make a tag that the project's policy asks for.
    TagFailed {
        /// Tag.
        tag: String,
        /// Commit.
        commit: String,
        /// Why.
        why: String,
    },
    /// An image is new, or its tag moved to another digest.
    ImageObserved {
        /// Tag.
        tag: String,
        /// Digest.
        digest: Digest,
    },
    /// An image is gone.
    ImageRemoved {
        /// Tag.
        tag: String,
    },
    /// Polling fails, or fails for another reason.
    PollFailed {
        /// Whose poll.
        target: PollTarget,
        /// Why.
        why: String,
    },
    /// Polling works again.
    PollRecovered {
        /// Whose poll.
        target: PollTarget,
    },
    /// Something else runs in production.
    ProductionObserved {
        /// All services with a task or a desired count.
        services: Vec<ServiceState>,
    },
    /// Production cannot be observed, or for another reason.
    ProductionUnobserved {
        /// Why, and what a person can do.
        why: String,
        /// When the first look failed, or was missing.
        since: Timestamp,
    },
    /// Production is observed again, and is as it was.
    ProductionObservedAgain,
    /// A deployment was asked for and accepted.
    DeploymentRequested(Box<Request>),
    /// Something happened to a deployment.
    DeploymentChanged {
        /// Its number.
        number: u64,
        /// What happened.
        fact: Fact,
    },
    /// The set-up differs otherwise from the definition, or no more.
    DriftObserved {
        /// All differences.
        drift: Vec<Drift>,
    },
    /// A deployer may keep house.
    HousekeepingBegan {
        /// The deployer.
        lease: Lease,
        /// What it has found to remove, by kind and name.
        removable: Vec<String>,
    },
    /// A deployer has kept house.
    HousekeepingEnded {
        /// The deployer.
        lease: Lease,
        /// What it has removed, by kind and name.
        removed: Vec<String>,
    },
    /// Something is held.
    HoldSet {
        /// What.
        hold: Hold,
        /// Why; may be empty.
        why: String,
    },
    /// A hold is lifted.
    HoldLifted {
        /// Which.
        lifted: Lifted,
        /// Why; may be empty.
        why: String,
    },
    /// The line is stopped: nothing new begins in any project. This and the next are of the line's own stream.
    LineStopped {
        /// Whether deployments under way are paused.
        pause_running: bool,
        /// Why; may be empty.
        why: String,
    },
    /// The line runs again.
    LineReleased {
        /// Why; may be empty.
        why: String,
    },
    /// The project's definition is another.
    ProjectChanged {
        /// The definition.
        spec: Box<ProjectSpec>,
        /// Paths of the fields that differ, at most [`FIELDS_TOLD`].
        fields: Vec<String>,
        /// Why; may be empty.
        why: String,
    },
    /// The project is deleted. What runs is left as it is. A project of its name may be created anew.
    ProjectDeleted {
        /// Why; may be empty.
        why: String,
    },
}

/// Changed fields that are told.
pub const FIELDS_TOLD: usize = 50;

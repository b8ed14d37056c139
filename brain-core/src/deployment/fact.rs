//! What happens to a deployment, what is to be done then, and what does not fit.

use super::{Lease, ServiceEvent, TaskFailure, beginning::Approval, control::ControlUsed};
use crate::{drift::Drift, gate::Reading, id::ProjectId, time::Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A deployer took the lease; the generation rises by one.
    Leased(Lease),
    /// The lease ended without a renewal, or the deployer left.
    LeaseEnded,
    /// The server was away, and is back: nobody could act from then on.
    Unattended {
        /// The last that is known of its being there.
        since: Timestamp,
    },
    /// A report about the current step.
    Reported {
        /// Generation of the reporter's lease.
        generation: u64,
        /// Whether the step is the rollback's.
        rollback: bool,
        /// Index of the step.
        step: usize,
        /// How it stands.
        outcome: Outcome,
    },
    /// The current step took longer than it may.
    TimedOut,
    /// A person did something to it.
    Controlled(ControlUsed),
    /// A project that it waited for runs what it needs.
    DependencyMet(ProjectId),
    /// The line is stopped, and deployments under way are paused.
    LineStopped {
        /// Who stopped it.
        by: String,
        /// Why; may be empty.
        why: String,
    },
    /// The line runs again.
    LineReleased,
    /// Somebody has approved it.
    Approved(Approval),
    /// Nothing is missing any more, and something forbids it to begin, also one that was about to be; or nobody can tell whether a project that it waits for
    /// runs what it needs.
    HeldBack {
        /// What, and how that is lifted; empty: it can be told again.
        why: String,
    },
    /// It may begin.
    Admitted,
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the variants")]
pub enum Outcome {
    Done {
        task_failures: Vec<TaskFailure>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        service_events: Vec<ServiceEvent>,
    },
    Waiting {
        why: String,
        /// What would have failed if it waited too long.
        #[serde(default, skip_serializing_if = "Cause::is_version")]
        cause: Cause,
    },
    /// A bake has seen the service well, or not: then it begins again. It waits on, as does a hold, of which `why` tells only
    /// what is not well.
    Watched {
        why: String,
        #[serde(default, skip_serializing_if = "Cause::is_version")]
        cause: Cause,
        well: bool,
    },
    /// A gate has read its figures. It waits on; where it has passed, `why` is empty and its end is told next.
    Read {
        why: String,
        #[serde(default, skip_serializing_if = "Cause::is_version")]
        cause: Cause,
        reading: Reading,
    },
    /// What was found of the new version so far, told as it is found: a step that waits has it too when it is broken off.
    Evidence {
        task_failures: Vec<TaskFailure>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        service_events: Vec<ServiceEvent>,
    },
    /// Set-up has found differences. What is to be done about one is stored before it is done.
    Found { drift: Vec<Drift> },
    Failed {
        reason: String,
        task_failures: Vec<TaskFailure>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        service_events: Vec<ServiceEvent>,
        #[serde(default, skip_serializing_if = "Cause::is_version")]
        cause: Cause,
    },
}

/// What a failure judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Cause {
    /// The version: its tasks failed, were never healthy, or a gate found it bad. So was every failure that earlier releases
    /// wrote.
    #[default]
    Version,
    /// What is around it: AWS refused or had no room, a setting is wrong, a plan cannot be carried out. Of the version
    /// nothing was found out.
    Surroundings,
}

impl Cause {
    fn is_version(&self) -> bool {
        *self == Self::Version
    }
}

/// What is to be done after a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Hand the deployment to a deployer.
    HandOut,
    /// Tell the holder of this generation to leave it.
    Withdraw(u64),
    /// The deployment is over.
    Ended {
        /// Whether its latest deployer may still be acting.
        leftover: bool,
    },
}

/// A fact that does not fit the deployment's state. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IllegalEvent {
    /// The deployment is over.
    #[error("the deployment has ended")]
    Ended,
    /// The report is of an older lease.
    #[error("generation {reported} is not the current one, {current}")]
    StaleGeneration {
        /// The report's.
        reported: u64,
        /// The deployment's.
        current: u64,
    },
    /// The report is of another step.
    #[error("step {reported} is not the current one, {current}")]
    WrongStep {
        /// The report's.
        reported: usize,
        /// The deployment's.
        current: usize,
    },
    /// Another deployer holds the lease.
    #[error("another deployer holds the lease")]
    AlreadyLeased,
    /// Nobody holds the lease.
    #[error("nobody holds the lease")]
    NotLeased,
    /// It is paused.
    #[error("the deployment is paused")]
    Paused,
    /// It stands at a hold, which neither a deployer nor time ends.
    #[error("the deployment waits for somebody to promote it")]
    NotPromoted,
    /// It may not begin yet.
    #[error("the deployment waits for other projects, for approvals, or for what forbids it")]
    Awaits,
    /// It needs no approval, or no more.
    #[error("the deployment waits for no approval")]
    NothingToApprove,
    /// Whoever asked for it does not approve it.
    #[error("it was asked for by the same person: somebody else has to approve it")]
    OwnApproval,
    /// It is not about to begin.
    #[error("the deployment is not about to begin")]
    NotHeld,
    /// A promotion is meant for a step before which another one waits for its own.
    #[error("step {step} cannot be promoted yet: step {next} waits before it; promote that one, or to the end")]
    NotNext {
        /// The step that was meant.
        step: usize,
        /// The step that waits before it.
        next: usize,
    },
    /// No step that only waits lies ahead.
    #[error("there is nothing to promote: no bake and no hold lies ahead")]
    NothingToPromote,
}

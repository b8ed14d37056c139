//! What a deployment waits for before it begins: other projects, approvals, and whatever forbids it once they are there.
//!
//! One that has to wait is `held` from its request on, or from when a deployer would have taken it and something forbade that.
//! The server admits it when nothing is missing any more and nothing forbids it; until then no deployer is handed it.

use super::{Deployment, Effect, IllegalEvent, Phase};
use crate::{id::ProjectId, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Approvals that a deployment keeps; it can need no more.
pub const APPROVALS_MAX: u32 = 10;

/// That somebody has approved a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}

impl Deployment {
    /// Approvals that are missing.
    #[must_use]
    pub fn approvals_missing(&self) -> u32 {
        if !self.held {
            return 0;
        }
        self.approvals_required.saturating_sub(u32::try_from(self.approvals.len()).unwrap_or(u32::MAX))
    }

    /// Whether it waits for others, and has never touched anything.
    #[must_use]
    pub fn has_not_begun(&self) -> bool {
        self.phase == Phase::Pending && (self.held || !self.awaits.is_empty())
    }

    /// Whether it may begin as soon as nothing forbids it.
    #[must_use]
    pub fn is_ready_to_begin(&self) -> bool {
        self.held
            && !self.phase.is_final()
            && self.paused.is_none()
            && self.awaits.is_empty()
            && self.approvals_missing() == 0
    }

    /// Whether it was accepted as something new that may begin, and no deployer has had it yet.
    pub(crate) fn awaits_its_first_lease(&self) -> bool {
        let may_begin = self.phase == Phase::Pending && !self.held && self.awaits.is_empty();
        may_begin && self.generation == 0 && !self.back
    }

    pub(super) fn dependency_met(&mut self, project: &ProjectId) -> Vec<Effect> {
        let before = self.awaits.len();
        self.awaits.retain(|dependency| dependency.project != *project);
        let last = self.awaits.is_empty() && before > 0;
        if before > 0 {
            self.waiting = None;
        }
        if last && !self.held { vec![Effect::HandOut] } else { Vec::new() }
    }

    /// Whether that person has approved it.
    pub(super) fn is_approved_by(&self, by: &str) -> bool {
        self.approvals.iter().any(|known| is_same_person(&known.by, by))
    }

    pub(super) fn approved(&mut self, approval: Approval) -> Result<Vec<Effect>, IllegalEvent> {
        if self.is_approved_by(&approval.by) {
            return Ok(Vec::new());
        }
        if self.approvals_missing() == 0 {
            return Err(IllegalEvent::NothingToApprove);
        }
        if is_same_person(&self.requested_by, &approval.by) {
            return Err(IllegalEvent::OwnApproval);
        }
        self.approvals.push(approval);
        Ok(Vec::new())
    }

    /// What forbids it to begin, or why nobody can tell whether what it waits for is there; empty: people can.
    pub(super) fn held_back(&mut self, why: String) -> Result<Vec<Effect>, IllegalEvent> {
        let waits = !self.phase.is_final() && self.paused.is_none() && !self.awaits.is_empty();
        if self.awaits_its_first_lease() {
            self.held = true;
        } else if !waits && !self.is_ready_to_begin() {
            return Err(IllegalEvent::NotHeld);
        }
        self.waiting = (!why.is_empty()).then_some(why);
        Ok(Vec::new())
    }

    pub(super) fn admitted(&mut self) -> Result<Vec<Effect>, IllegalEvent> {
        if !self.is_ready_to_begin() {
            return Err(IllegalEvent::NotHeld);
        }
        (self.held, self.waiting) = (false, None);
        Ok(vec![Effect::HandOut])
    }

    /// How many have to approve it, as the project says now. What has begun needs none.
    pub(crate) fn require_approvals(&mut self, count: u32) {
        if self.held {
            self.approvals_required = count;
        }
    }
}

/// Names are what people type: neither case nor space makes another person of somebody.
fn is_same_person(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

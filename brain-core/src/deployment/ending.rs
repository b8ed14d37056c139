//! How deployments end.

use super::{Deployment, Phase, Rollback};

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// All traffic is on the new version.
    Succeeded,
    /// What was before is back.
    RolledBack,
    /// It failed, and what was before is not back.
    Failed,
    /// A person ended it as it stands.
    Cancelled,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::RolledBack, Self::Failed, Self::Cancelled];

    /// Its name, for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Deployment {
    /// How it ended; `None`: it has not.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        let is_back = |back: &Rollback| self.cursor >= back.plan.steps.len() && self.has_brought_back(back);
        let is_back = self.rollback.as_ref().is_some_and(is_back);
        match self.phase {
            Phase::Pending | Phase::Running | Phase::RollingBack => None,
            Phase::Succeeded => Some(Ending::Succeeded),
            Phase::Failed | Phase::Cancelled if is_back => Some(Ending::RolledBack),
            Phase::Failed => Some(Ending::Failed),
            Phase::Cancelled => Some(Ending::Cancelled),
        }
    }
}

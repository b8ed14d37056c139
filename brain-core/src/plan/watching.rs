//! What is watched of the new version while a plan waits for a person.

use super::{Plan, Step};

/// What a deployer watches at a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// Service of the new version.
    pub service: String,
    /// Healthy tasks that it is to have.
    pub healthy: u32,
    /// Task failures after which the step has failed; 0: not counted.
    pub max_task_failures: u32,
}

impl Plan {
    /// What is watched at that step: at a hold what the steps before it have seen last of the new version. `None`: nothing is,
    /// or there is nothing of it yet.
    #[must_use]
    pub fn watched_at(&self, index: usize) -> Option<Watching> {
        self.steps.get(index).filter(|step| matches!(step, Step::Hold))?;
        let new = self.makes()?;
        let seen = self.steps[..index].iter().rev().find_map(|step| match step {
            Step::Verify { service, healthy, max_task_failures, at_most: false }
            | Step::Bake { service, healthy, max_task_failures, .. }
                if service == new =>
            {
                Some((*healthy, *max_task_failures))
            }
            _ => None,
        });
        let (healthy, max_task_failures) = seen.filter(|(healthy, _)| *healthy > 0)?;
        Some(Watching { service: new.to_owned(), healthy, max_task_failures })
    }
}

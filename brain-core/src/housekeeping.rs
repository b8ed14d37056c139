//! Housekeeping: what of a project's past stays, decided against its state, and what became of the rest.
//!
//! Old services at no task are an instant way back, old task definitions are a record, and an empty instance costs money. On a
//! schedule a deployer looks at a project on which nothing is being done. Where it finds something to remove, the server
//! records that and gives it a lease, which is never prolonged: it stops before its end, or at once when a deployment is asked
//! for. Whatever is left is for the next time.

use crate::{
    deployment::{Deployment, Lease, Phase},
    drift::{Drift, SetUp},
    event::Change,
    id::ProjectId,
    names,
    plan::{Plan, Step},
    state::ProjectState,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// Resources that one turn of housekeeping removes, and that are named.
pub const REMOVED_MAX: usize = 50;

/// What of a project is never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Services, by name. Any other may go once it has no task and wants none.
    pub services: BTreeSet<String>,
    /// Images whose task definitions stay.
    pub images: BTreeSet<String>,
    /// Newest revisions of the task definition that stay, beside those that a service uses.
    pub task_definitions: u32,
    /// Instances that stay at the least.
    pub instances: u32,
    /// Whether the set-up is looked at for drift: it was finished once.
    pub looks_for_drift: bool,
    /// Number of the latest deployment: what was seen before another one is old news.
    pub after: u64,
}

/// What a deployer says of its housekeeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HouseNews {
    /// It has looked.
    Looked {
        /// Number of the latest deployment when it was asked to.
        after: u64,
        /// What of the set-up differs; `None`: it did not look at that.
        drift: Option<Vec<Drift>>,
        /// What it would remove.
        removable: Vec<String>,
        /// The process that looked, and that may remove it.
        lease: Lease,
    },
    /// It has ended, or its time is over.
    Ended {
        /// The process.
        lease: Lease,
        /// What it has removed.
        removed: Vec<String>,
    },
}

/// What housekeeping last removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Kinds and names.
    pub resources: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// When a project's turn comes within each `interval`: spread by a hash, so that a thousand projects do not ask AWS at once.
#[must_use]
pub fn turn(project: &ProjectId, interval: Duration) -> Duration {
    let spread = names::hash_hex(project.as_str());
    let spread = u32::from_str_radix(&spread[..8], 16).unwrap_or_default();
    interval.mul_f64(f64::from(spread) / f64::from(u32::MAX))
}

impl ProjectState {
    /// What is kept; `None` where there is nothing to keep house of, or something is being done to the project.
    #[must_use]
    pub fn keep(&self) -> Option<Keep> {
        let latest = self.deployments.back().filter(|latest| latest.phase.is_final())?;
        let id = &self.spec.id;
        let mut services: BTreeSet<String> = self.serving.iter().map(|serving| serving.service.clone()).collect();
        let running = self.production.iter().flat_map(|production| &production.services);
        services.extend(running.map(|running| running.service.clone()));
        // One that was cancelled before a deployer had it says nothing of what is there: the one before it does.
        let begun = self.deployments.iter().rev().find(|deployment| deployment.generation > 0);
        for deployment in begun.into_iter().chain([latest]) {
            services.extend(named_by(&deployment.plan));
            services.extend(deployment.rollback.iter().flat_map(|rollback| named_by(&rollback.plan)));
        }
        let image = |deployment: &Deployment| self.spec.image_repository.with_digest(&deployment.digest);
        let mut images: BTreeSet<String> = [image(latest)].into();
        if let Some(pin) = &self.holds.pin {
            services.insert(names::service(id, &pin.hold.tag, &pin.hold.digest));
            images.insert(self.spec.image_repository.with_digest(&pin.hold.digest));
        }
        // The way back: what was deployed successfully, the newest first.
        let mut left = self.spec.rollout_policy.keep_services;
        for deployment in self.deployments.iter().rev() {
            let service = names::service(id, &deployment.tag, &deployment.digest);
            if left > 0 && deployment.phase == Phase::Succeeded && !services.contains(&service) {
                services.insert(service.clone());
                left -= 1;
            }
            if services.contains(&service) {
                images.insert(image(deployment));
            }
        }
        let serving: u32 = self.serving.iter().map(|serving| serving.count).sum();
        Some(Keep {
            services,
            images,
            task_definitions: self.spec.rollout_policy.keep_task_definitions,
            instances: if serving == 0 { self.spec.target.desired_count } else { serving },
            looks_for_drift: self.set_up(false) == SetUp::Check,
            after: latest.number,
        })
    }

    /// What a deployer's word of its housekeeping changes.
    #[must_use]
    pub fn keep_house(&self, news: HouseNews) -> Vec<Change> {
        match news {
            HouseNews::Looked { after, drift, removable, lease } => {
                let latest = self.deployments.back();
                let changed = latest.is_none_or(|latest| latest.number != after || !latest.phase.is_final());
                if changed || self.housekeeper.is_some() {
                    return Vec::new();
                }
                let known = |drift: &Vec<Drift>| drift.iter().eq(self.drift.iter().map(|known| &known.drift));
                let drift = drift.filter(|drift| !known(drift)).map(|drift| Change::DriftObserved { drift });
                let begins = (!removable.is_empty()).then_some(Change::HousekeepingBegan { lease, removable });
                drift.into_iter().chain(begins).collect()
            }
            // What was removed is told, whoever may act by now.
            HouseNews::Ended { lease, removed } => {
                let news = !removed.is_empty() || self.housekeeper.as_ref() == Some(&lease);
                news.then_some(Change::HousekeepingEnded { lease, removed }).into_iter().collect()
            }
        }
    }
}

impl ProjectState {
    pub(crate) fn house_kept(&mut self, lease: &Lease, removed: &[String], at: Timestamp) {
        self.housekeeper.take_if(|keeper| keeper == lease);
        if !removed.is_empty() {
            self.removed = Some(Removed { resources: removed.to_vec(), at });
        }
    }
}

/// Every service that a plan knows.
fn named_by(plan: &Plan) -> impl Iterator<Item = String> {
    let made = plan.steps.iter().filter_map(|step| match step {
        Step::Service { service, .. } => Some(service),
        _ => None,
    });
    plan.from.iter().chain(&plan.to).map(|count| &count.service).chain(made).cloned()
}

#[cfg(test)]
mod tests;

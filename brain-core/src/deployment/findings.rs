//! What was found of the new version, kept because AWS forgets it, which services are gone, and what gates have read.

use super::{Deployment, Rollback};
use crate::{
    drift::{Drift, Remedy},
    gate::Reading,
    plan::{ServiceCount, Step},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Task failures that a deployment keeps, the newest. ECS forgets stopped tasks within the hour; brain does not.
pub const TASK_FAILURES_KEPT: usize = 20;
/// What ECS said of the new service that a deployment keeps, the newest. ECS itself keeps 100 for each service.
pub const SERVICE_EVENTS_KEPT: usize = 50;

/// Failed tasks that a deployment knows again when it is told of them once more. A policy lets 100 fail in a step, and a step
/// tells again of those that failed shortly before it.
const TASK_FAILURES_KNOWN: usize = 1_000;

/// How what is told of a service begins.
const SERVICE: &str = "service ";

/// A task that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Task id.
    pub task: String,
    /// Stop reason, or what the load balancer said.
    pub reason: String,
    /// Exit code of the container.
    pub exit_code: Option<i32>,
}

/// One line of what ECS says of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// When, by AWS's clock.
    pub at: Timestamp,
    /// ECS's words.
    pub message: String,
}

impl Deployment {
    /// Keeps what the gate that the plan has come to has read. A way back has no gates.
    pub(super) fn read(&mut self, reading: Reading) {
        if self.rollback.is_none() && matches!(self.current_step(), Some(Step::Gate { .. })) {
            self.readings.insert(self.cursor, reading);
        }
    }

    pub(super) fn remember_events(&mut self, events: Vec<ServiceEvent>) {
        self.service_events.extend(events);
        self.service_events.sort();
        self.service_events.dedup();
        let excess = self.service_events.len().saturating_sub(SERVICE_EVENTS_KEPT);
        self.service_events.drain(..excess);
    }

    /// Keeps which services are gone, as steps tell it. Of the one that the plan makes, set-up tells other things. One that a way
    /// back was to bring back is a part of why the deployment failed.
    pub(super) fn remember_missing(&mut self, drift: &[Drift]) {
        for Drift { resource, difference, remedy } in drift {
            let Some(service) = resource.strip_prefix(SERVICE).filter(|_| *remedy == Remedy::Told) else { continue };
            let plan = self.active_plan();
            let makes = self.rollback.is_none() && has(&plan.to, service);
            let concerns = !makes && (has(&plan.from, service) || has(&plan.to, service));
            if !concerns {
                continue;
            }
            let comes_back = self.rollback.is_some() && has(&plan.to, service);
            if !self.missing.iter().any(|known| known == service) {
                self.missing.push(service.to_owned());
            }
            let why = format!("{resource} cannot be brought back: {difference}");
            if comes_back && !self.reason.as_ref().is_some_and(|reason| reason.contains(&why)) {
                let first = self.reason.take().unwrap_or_default();
                self.reason = Some(format!("{first}; {why}"));
            }
        }
    }

    /// Whether all that its way back was to bring back is there.
    pub(super) fn has_brought_back(&self, back: &Rollback) -> bool {
        !self.missing.iter().any(|service| has(&back.plan.to, service))
    }

    /// Keeps tasks that failed, each once; answers how many were not known.
    pub(super) fn remember(&mut self, failures: Vec<TaskFailure>) -> u32 {
        let mut news = 0;
        for failure in failures {
            let kept = self.task_failures.iter().any(|known| known.task == failure.task);
            if kept || self.failed_tasks.contains(&failure.task) {
                continue;
            }
            // Earlier releases forgot those that they did not keep, and what they decided is told again as it was.
            if self.plan.edition >= 1 {
                self.failed_tasks.push(failure.task.clone());
            }
            self.task_failures.push(failure);
            news += 1;
        }
        let excess = self.failed_tasks.len().saturating_sub(TASK_FAILURES_KNOWN);
        self.failed_tasks.drain(..excess);
        let excess = self.task_failures.len().saturating_sub(TASK_FAILURES_KEPT);
        self.task_failures.drain(..excess);
        news
    }
}

/// Whether a service has tasks there.
fn has(counts: &[ServiceCount], service: &str) -> bool {
    counts.iter().any(|count| count.count > 0 && count.service == service)
}

//! The state machine of a deployment. Agents report facts; only [`Deployment::apply`] decides a phase.
//!
//! | phase | means | left when |
//! |---|---|---|
//! | Pending | accepted, never handed out; it may wait for other projects or for approvals | a deployer takes the lease |
//! | Running | the plan is carried out | its last step is done, or one fails |
//! | RollingBack | the rollback plan is carried out | its last step is done, or it failed too often |
//! | Succeeded | all traffic is on the new version | never |
//! | Failed | the reason says whether the old version is back | never |
//! | Cancelled | a person ended it; the reason says whether the old version is back | never |
//!
//! Running and RollingBack may be paused, by a person, a hold of the plan, or a failure where the policy says so: then no
//! deployer acts and no time counts. At a hold one watches.

use crate::{
    dependency::Dependency,
    drift::Drift,
    gate::Reading,
    image::Digest,
    plan::{self, Plan, ServiceCount, Step},
    policy::RolloutPolicy,
    project::ProjectSpec,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

pub mod beginning;
pub mod control;
mod ending;
mod fact;
mod failure;
mod findings;
mod hold;
mod lease;
mod request;
#[cfg(test)]
mod tests;
mod watch;

use beginning::Approval;
use control::ControlUsed;
pub use ending::Ending;
pub use fact::{Cause, Effect, Fact, IllegalEvent, Outcome};
pub use findings::{SERVICE_EVENTS_KEPT, ServiceEvent, TASK_FAILURES_KEPT, TaskFailure};
pub use lease::Lease;
pub use request::Request;
pub use watch::{BAKE_RESTARTS_MAX, Watched};

/// Times that a rollback is begun before a person is called.
pub const ROLLBACK_ATTEMPTS: u32 = 3;
/// Name under which the rollout policy pauses.
const POLICY: &str = "rollout policy";

/// One version on its way into production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Number within the project, from 1.
    pub number: u64,
    /// Tag of the release.
    pub tag: String,
    /// Digest that was pinned.
    pub digest: Digest,
    /// Who asked for it.
    pub requested_by: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The request's id, to answer a repeated request alike.
    pub request_id: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Where it stands.
    pub phase: Phase,
    /// The plan.
    pub plan: Plan,
    /// Times of the plan's steps.
    pub times: Vec<StepTimes>,
    /// The plan to undo it, once it failed.
    pub rollback: Option<Rollback>,
    /// Index of the step that comes next in the plan that is being carried out.
    pub cursor: usize,
    /// From when the current step's timeout counts: its begin, or the latest lease.
    pub counts_from: Option<Timestamp>,
    /// Why the current step waits.
    pub waiting: Option<String>,
    /// Tasks of the new version that failed, the newest.
    pub task_failures: Vec<TaskFailure>,
    /// Tasks of the new version that failed, those of a step that failed with them aside.
    #[serde(default)]
    pub failed_before: u32,
    /// Whether some of them were told of before their step was done, which is then judged by them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_since: bool,
    /// Ids of tasks that failed and are counted, the newest: more than are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tasks: Vec<String>,
    /// What ECS said of the new service, oldest first.
    #[serde(default)]
    pub service_events: Vec<ServiceEvent>,
    /// Who may act now.
    pub lease: Option<Lease>,
    /// Whose lease was taken away, and who may therefore still be acting for as long as a lease lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Lease>,
    /// Number of the latest lease.
    pub generation: u64,
    /// Why it failed.
    pub reason: Option<String>,
    /// What its failure judges; `None`: it has not failed, or did so before this was told apart.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// What would be at fault if the current step waited too long.
    #[serde(default)]
    pub waiting_cause: Cause,
    /// Whether policy may deploy the image again though this deployment failed.
    #[serde(default)]
    pub pardoned: bool,
    /// The policy, where it is not the project's.
    #[serde(default)]
    pub policy: Option<RolloutPolicy>,
    /// Why nothing is done now, though it is not over.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// Steps of the plan before this index that only wait are passed over.
    #[serde(default)]
    pub promoted: usize,
    /// Whether a person has ended it.
    #[serde(default)]
    pub cancelled: bool,
    /// What people did to it, oldest first.
    #[serde(default)]
    pub controls: Vec<ControlUsed>,
    /// What has to run first, and does not yet.
    #[serde(default)]
    pub awaits: Vec<Dependency>,
    /// Whether it brings back what was deployed before.
    #[serde(default)]
    pub back: bool,
    /// Whether it has not been let begin: something is missing, or forbids it.
    #[serde(default)]
    pub held: bool,
    /// Approvals that it needs to begin.
    #[serde(default)]
    pub approvals_required: u32,
    /// Those that it has, oldest first, by different people.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// Why it may begin outside of every deploy window; `None`: it may not.
    #[serde(default)]
    pub outside_windows: Option<String>,
    /// What its set-up found that differed, in that order.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// What gates of its plan read last, by the indices of their steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub readings: BTreeMap<usize, Reading>,
    /// Services that were found to be gone: somebody has deleted them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Nothing is done until a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who paused it.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether the step has failed; it begins anew when the deployment is resumed.
    pub failed: bool,
    /// Whether the line has paused it: the line's release ends it, or leaves it to a person who has paused it besides.
    #[serde(default)]
    pub line: bool,
}

/// Where a deployment stands; see the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the module's table says it")]
pub enum Phase {
    Pending,
    Running,
    RollingBack,
    Succeeded,
    Failed,
    Cancelled,
}

impl Phase {
    /// Whether the deployment is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// When a step began and was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepTimes {
    /// Begin.
    pub started: Option<Timestamp>,
    /// End.
    pub ended: Option<Timestamp>,
    /// Time of it that was paused.
    #[serde(default)]
    pub paused: Duration,
    /// Time that it took under leases that are over; the current one's is counted from its begin.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub leased: Duration,
    /// Of a bake, what was seen of the service.
    #[serde(default, skip_serializing_if = "Watched::is_none")]
    pub watched: Watched,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Its steps.
    pub plan: Plan,
    /// Their times, of the latest attempt.
    pub times: Vec<StepTimes>,
    /// Times it was begun.
    pub attempts: u32,
}

impl Deployment {
    /// A deployment that was just accepted.
    #[must_use]
    pub fn new(request: Request, created: Timestamp) -> Self {
        let Request {
            number,
            tag,
            digest,
            requested_by,
            request_id,
            plan,
            policy,
            awaits,
            back,
            held,
            approvals_required,
            outside_windows,
            why,
        } = request;
        Self {
            number,
            tag,
            digest,
            requested_by,
            why,
            request_id,
            created,
            ended: None,
            phase: Phase::Pending,
            times: vec![StepTimes::default(); plan.steps.len()],
            plan,
            rollback: None,
            cursor: 0,
            counts_from: None,
            waiting: None,
            task_failures: Vec::new(),
            failed_before: 0,
            failed_since: false,
            failed_tasks: Vec::new(),
            service_events: Vec::new(),
            lease: None,
            former: None,
            generation: 0,
            reason: None,
            cause: None,
            waiting_cause: Cause::Version,
            pardoned: false,
            policy,
            paused: None,
            promoted: 0,
            cancelled: false,
            controls: Vec::new(),
            awaits,
            back,
            held,
            approvals_required,
            approvals: Vec::new(),
            outside_windows,
            drift: Vec::new(),
            readings: BTreeMap::new(),
            missing: Vec::new(),
        }
    }

    /// The plan that is being carried out.
    #[must_use]
    pub fn active_plan(&self) -> &Plan {
        self.rollback.as_ref().map_or(&self.plan, |rollback| &rollback.plan)
    }

    /// The step that comes next; `None` when all are done.
    #[must_use]
    pub fn current_step(&self) -> Option<&Step> {
        self.active_plan().steps.get(self.cursor)
    }

    /// The policy that holds for it.
    #[must_use]
    pub fn policy<'a>(&'a self, spec: &'a ProjectSpec) -> &'a RolloutPolicy {
        self.policy.as_ref().unwrap_or(&spec.rollout_policy)
    }

    /// Counts as this deployment has set them, with what is known of them where it has not succeeded.
    #[must_use]
    pub fn serving(&self) -> Vec<ServiceCount> {
        let mut serving = match (self.phase, &self.rollback) {
            (Phase::Succeeded, _) => return self.plan.to.clone(),
            // What its rollback has set, as far as it came.
            (_, Some(rollback)) => plan::serving_at(&rollback.plan, self.cursor),
            (_, None) => plan::serving_at(&self.plan, self.cursor),
        };
        serving.retain(|count| !self.missing.contains(&count.service));
        serving
    }

    /// The state after `fact`, and what is to be done. `spec` is the project's definition, for the plan of a rollback.
    pub fn apply(mut self, spec: &ProjectSpec, fact: Fact, at: Timestamp) -> Result<(Self, Vec<Effect>), IllegalEvent> {
        if self.phase.is_final() {
            return if self.is_repeated(&fact) { Ok((self, Vec::new())) } else { Err(IllegalEvent::Ended) };
        }
        let effects = match fact {
            Fact::Leased(lease) => self.leased(lease, at)?,
            Fact::LeaseEnded => self.lease_ended(at)?,
            Fact::Unattended { since } => self.unattended(since, at)?,
            Fact::Reported { generation, rollback, step, outcome } => {
                self.check_report(generation, rollback, step)?;
                let mut effects = match outcome {
                    Outcome::Waiting { why, cause } => {
                        (self.waiting, self.waiting_cause) = (Some(why), cause);
                        Vec::new()
                    }
                    Outcome::Watched { why, cause, well } => {
                        (self.waiting, self.waiting_cause) = (Some(why).filter(|why| !why.is_empty()), cause);
                        self.seen(spec, well, cause, at)
                    }
                    Outcome::Read { why, cause, reading } => {
                        (self.waiting, self.waiting_cause) = (Some(why).filter(|why| !why.is_empty()), cause);
                        self.read(reading);
                        Vec::new()
                    }
                    Outcome::Evidence { task_failures, service_events } => {
                        self.remember_events(service_events);
                        self.found_failed(spec, task_failures, at)
                    }
                    Outcome::Found { drift } => {
                        self.remember_missing(&drift);
                        self.remember_drift(drift);
                        Vec::new()
                    }
                    Outcome::Done { .. } if self.holds() => return Err(IllegalEvent::NotPromoted),
                    Outcome::Done { task_failures, service_events } => {
                        self.remember_events(service_events);
                        self.step_done(spec, task_failures, at)
                    }
                    Outcome::Failed { reason, task_failures, service_events, cause } => {
                        self.remember_events(service_events);
                        self.remember(task_failures);
                        self.step_failed(spec, reason, cause, at)
                    }
                };
                // Whoever reported what ended it does nothing more.
                for effect in &mut effects {
                    if let Effect::Ended { leftover } = effect {
                        *leftover = false;
                        self.former = None;
                    }
                }
                effects
            }
            Fact::TimedOut => self.timed_out(spec, at)?,
            Fact::Controlled(used) => self.controlled(spec, used)?,
            Fact::DependencyMet(project) => self.dependency_met(&project),
            Fact::LineStopped { by, why } => self.line_stopped(by, why, at),
            Fact::LineReleased => self.line_released(at),
            Fact::Approved(approval) => self.approved(approval)?,
            Fact::HeldBack { why } => self.held_back(why)?,
            Fact::Admitted => self.admitted()?,
        };
        Ok((self, effects))
    }

    /// A step that is done may still have cost tasks. A version that loses a few in each step is as bad as one that loses
    /// them in one.
    fn step_done(&mut self, spec: &ProjectSpec, failures: Vec<TaskFailure>, at: Timestamp) -> Vec<Effect> {
        self.waiting = None;
        let last = failures.last().or(self.task_failures.last()).map(|failure| failure.reason.clone());
        let told = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        let news = self.remember(failures);
        // Earlier releases counted a task as often as it was told of, and what they decided is told again as it was.
        let counted = if self.plan.settles { news } else { told };
        self.failed_before = self.failed_before.saturating_add(counted);
        let judged = counted > 0 || std::mem::take(&mut self.failed_since);
        match last.filter(|_| judged).and_then(|last| self.too_many_in_all(spec, &last)) {
            Some(reason) => self.step_failed(spec, reason, Cause::Version, at),
            None => self.advance(at),
        }
    }

    /// Goes on to the next step, past those that only wait and were promoted.
    fn advance(&mut self, at: Timestamp) -> Vec<Effect> {
        loop {
            if let Some(times) = self.current_times() {
                times.ended = Some(at);
            }
            self.cursor += 1;
            let passed = self.rollback.is_none() && self.cursor < self.promoted;
            match self.current_step() {
                None => return self.end(self.phase_at_end(), at),
                Some(step) if passed && step.only_waits() => {}
                Some(Step::Hold) => return self.hold(at),
                Some(_) => {
                    self.counts_from = Some(at);
                    self.begin_step(at);
                    return Vec::new();
                }
            }
        }
    }

    fn phase_at_end(&self) -> Phase {
        match (&self.rollback, self.cancelled) {
            (None, _) => Phase::Succeeded,
            (Some(_), false) => Phase::Failed,
            (Some(_), true) => Phase::Cancelled,
        }
    }

    fn end(&mut self, phase: Phase, at: Timestamp) -> Vec<Effect> {
        self.phase = phase;
        self.ended = Some(at);
        self.failed_tasks = Vec::new();
        self.counts_from = None;
        self.former = self.lease.take().or(self.former.take());
        vec![Effect::Withdraw(self.generation), Effect::Ended { leftover: self.former.is_some() }]
    }

    fn begin_step(&mut self, at: Timestamp) {
        if let Some(times) = self.current_times() {
            times.started.get_or_insert(at);
        }
    }

    /// When the first step of the plan that moves traffic was begun.
    #[must_use]
    pub fn first_shifted(&self) -> Option<Timestamp> {
        let moves = |(step, times): (&Step, &StepTimes)| times.started.filter(|_| step.moves_traffic());
        self.plan.steps.iter().zip(&self.times).filter_map(moves).min()
    }

    /// When the last step of the plan that moved traffic was done.
    #[must_use]
    pub fn shifted(&self) -> Option<Timestamp> {
        self.first_shifted()?;
        let moves = |(step, times): (&Step, &StepTimes)| times.ended.filter(|_| step.settles_traffic());
        self.plan.steps.iter().zip(&self.times).filter_map(moves).max()
    }

    fn current_times(&mut self) -> Option<&mut StepTimes> {
        let times = match &mut self.rollback {
            Some(rollback) => &mut rollback.times,
            None => &mut self.times,
        };
        times.get_mut(self.cursor)
    }
}

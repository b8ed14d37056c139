//! What becomes of a deployment whose step has failed, and what the failure judges.

use super::{
    Cause, Deployment, Effect, IllegalEvent, POLICY, Pause, Phase, ROLLBACK_ATTEMPTS, Rollback, StepTimes, TaskFailure,
};
use crate::{
    plan::{self, Step},
    policy::OnFailure,
    project::ProjectSpec,
    time::Timestamp,
};

impl Deployment {
    /// Whether it failed, and of its version nothing was found out.
    #[must_use]
    pub fn failed_by_surroundings(&self) -> bool {
        self.phase == Phase::Failed && self.cause == Some(Cause::Surroundings)
    }

    pub(super) fn timed_out(&mut self, spec: &ProjectSpec, at: Timestamp) -> Result<Vec<Effect>, IllegalEvent> {
        if self.lease.is_none() {
            return Err(IllegalEvent::NotLeased);
        }
        if self.holds() {
            return Err(IllegalEvent::NotPromoted);
        }
        let seconds = self.step_limit().as_secs();
        let cause = self.cause_of_timeout();
        let unwell = self.is_back_and_unwell();
        let waiting = self.waiting.take().map(|why| format!(": {why}")).unwrap_or_default();
        let step = self.current_step().map(ToString::to_string).unwrap_or_default();
        let again = self.current_step_times().is_some_and(|times| times.watched.restarts > 0);
        let again = if again { " after it began again" } else { "" };
        let why = format!("\"{step}\" took longer than {seconds} s{again}{waiting}");
        if unwell {
            return Ok(self.left_unwell(&why, at));
        }
        Ok(self.step_failed(spec, why, cause, at))
    }

    /// Whether the old version has its tasks back, and nothing is waited for but their health.
    fn is_back_and_unwell(&self) -> bool {
        let Some(Rollback { plan, .. }) = &self.rollback else { return false };
        // Where there is no room for its tasks, or AWS does not answer, another attempt may bring them.
        let unwell = self.waiting.is_some() && self.waiting_cause == Cause::Version;
        let awaited = match self.current_step() {
            Some(Step::Verify { service, healthy: 1.., at_most: false, .. }) if unwell => service,
            _ => return false,
        };
        plan.edition >= 2 && plan.to.iter().any(|old| old.service == *awaited)
    }

    /// A version that is sick by itself is not made healthy by another attempt: what was asked for is there, and ECS goes on
    /// to start its tasks.
    fn left_unwell(&mut self, why: &str, at: Timestamp) -> Vec<Effect> {
        let first = self.reason.take().map(|first| format!("{first}; ")).unwrap_or_default();
        self.reason = Some(format!("{first}the old version is back, and not all of it is healthy: {why}"));
        self.pass_over(at)
    }

    /// Only where the new version's tasks were awaited, and nothing else was missing, is it at fault. A gate that waits has
    /// no figures to judge it by.
    fn cause_of_timeout(&self) -> Cause {
        match self.current_step() {
            Some(Step::Verify { max_task_failures: 1.., .. } | Step::Bake { .. }) if self.waiting.is_some() => {
                self.waiting_cause
            }
            _ => Cause::Surroundings,
        }
    }

    /// Tasks were found to have failed in a step that goes on. It is judged by them when it is done; a hold at once, since nothing
    /// but a person ends it, and whoever promotes it is not to be told afterwards that the version had failed before.
    pub(super) fn found_failed(
        &mut self,
        spec: &ProjectSpec,
        failures: Vec<TaskFailure>,
        at: Timestamp,
    ) -> Vec<Effect> {
        let news = self.remember(failures);
        self.failed_before = self.failed_before.saturating_add(news);
        self.failed_since |= news > 0;
        let last = self.task_failures.last().filter(|_| news > 0 && self.holds());
        match last.and_then(|last| self.too_many_in_all(spec, &last.reason)) {
            Some(reason) => self.step_failed(spec, reason, Cause::Version, at),
            None => Vec::new(),
        }
    }

    /// How many tasks of the version have failed, and why the `last` one did, where they are too many for the whole deployment.
    pub(super) fn too_many_in_all(&self, spec: &ProjectSpec, last: &str) -> Option<String> {
        let failed = self.failed_before;
        let most = self.policy(spec).max_task_failures_in_all(spec.target.desired_count);
        let too_many = self.rollback.is_none() && failed >= most;
        too_many.then(|| format!("{failed} tasks failed in all; the last one: {last}"))
    }

    pub(super) fn step_failed(
        &mut self,
        spec: &ProjectSpec,
        reason: String,
        cause: Cause,
        at: Timestamp,
    ) -> Vec<Effect> {
        self.waiting = None;
        self.failed_since = false;
        if self.gives_back_at_last() {
            return self.left_undone(&reason, at);
        }
        let policy = self.policy(spec).clone();
        let Some(rollback) = &mut self.rollback else {
            if policy.on_failure == OnFailure::Pause {
                self.paused = Some(Pause { by: POLICY.to_owned(), why: reason, since: at, failed: true, line: false });
                return vec![self.interrupt()];
            }
            self.cause = Some(cause);
            return self.roll_back(spec, reason, at);
        };
        if rollback.attempts < ROLLBACK_ATTEMPTS {
            rollback.attempts += 1;
            if rollback.plan.settles {
                // Its first steps again would set counts that later ones have gone beyond.
                rollback.plan = plan::rollback_again(spec, &policy, &rollback.plan, self.cursor);
            }
            rollback.times = vec![StepTimes::default(); rollback.plan.steps.len()];
            return self.start_over();
        }
        let first = self.reason.take().unwrap_or_default();
        self.reason =
            Some(format!("{first}; the rollback did not finish either, a person must look at the services: {reason}"));
        self.end(self.phase_at_end(), at)
    }

    /// Whether nothing is left to do but to give capacity back.
    fn gives_back_at_last(&self) -> bool {
        let plan = self.active_plan();
        let rest = plan.steps.get(self.cursor..).unwrap_or_default();
        plan.edition >= 1 && matches!(rest, [Step::ReturnCapacity { .. }])
    }

    /// Traffic is where it is to be, so that instances which stay for now are nothing to undo: housekeeping gives them back
    /// later.
    fn left_undone(&mut self, why: &str, at: Timestamp) -> Vec<Effect> {
        let first = self.reason.take().map(|first| format!("{first}; ")).unwrap_or_default();
        self.reason = Some(format!("{first}capacity was not given back, which is left to housekeeping: {why}"));
        self.end(self.phase_at_end(), at)
    }

    pub(super) fn roll_back(&mut self, spec: &ProjectSpec, reason: String, at: Timestamp) -> Vec<Effect> {
        let plan = plan::rollback(spec, self.policy(spec), &self.plan, self.cursor);
        self.reason = Some(reason);
        // A hold ends with the version that failed in it.
        self.paused = None;
        if plan.steps.is_empty() {
            let phase = if self.cancelled { Phase::Cancelled } else { Phase::Failed };
            return self.end(phase, at);
        }
        self.rollback = Some(Rollback { times: vec![StepTimes::default(); plan.steps.len()], plan, attempts: 1 });
        self.phase = Phase::RollingBack;
        self.start_over()
    }

    /// Goes on with the first step of the plan that is now active, under a new lease.
    fn start_over(&mut self) -> Vec<Effect> {
        self.cursor = 0;
        self.counts_from = None;
        self.former = self.lease.take().or(self.former.take());
        vec![Effect::Withdraw(self.generation), Effect::HandOut]
    }
}

//! Leases: who may act on a deployment, and how long its current step has taken.

use super::{Deployment, Effect, IllegalEvent, Phase, StepTimes};
use crate::{id::AgentName, plan::Step, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A deployer's right to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The deployer.
    pub agent: AgentName,
    /// Which start of its process.
    pub instance: String,
}

impl Deployment {
    /// Whether whoever took it under this generation still has it.
    #[must_use]
    pub fn is_held_under(&self, generation: u64) -> bool {
        self.lease.is_some() && self.generation == generation
    }

    /// When the current step has taken too long. Time without a deployer does not count: nobody could have acted. A hold takes as
    /// long as it takes.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.lease.as_ref()?;
        if self.holds() || !self.wants_deployer() {
            return None;
        }
        let before = self.current_step_times().map(|times| times.leased).unwrap_or_default();
        Some(self.counts_from?.plus(self.step_limit().saturating_sub(before)))
    }

    /// Longest time of the current step. That of a bake counts from when it last began again; that of a gate on alarms is
    /// longer by the time that they look at, once that is known.
    pub(super) fn step_limit(&self) -> Duration {
        let least = self.current_step().map(Step::least).unwrap_or_default();
        let reading = self.readings.get(&self.cursor).filter(|_| self.rollback.is_none());
        self.active_plan().step_timeout + least + reading.map(|reading| reading.looks_back).unwrap_or_default()
    }

    /// Time that the current step has taken by `now`, pauses left out.
    #[must_use]
    pub fn step_elapsed(&self, now: Timestamp) -> Duration {
        let began = self.current_step_times().and_then(|times| Some((times.started?, times.paused)));
        began.map_or(Duration::ZERO, |(began, paused)| now.since(began).saturating_sub(paused))
    }

    pub(super) fn current_step_times(&self) -> Option<&StepTimes> {
        match &self.rollback {
            Some(rollback) => rollback.times.get(self.cursor),
            None => self.times.get(self.cursor),
        }
    }

    pub(super) fn leased(&mut self, lease: Lease, at: Timestamp) -> Result<Vec<Effect>, IllegalEvent> {
        // The same process may take its own lease anew, after its stream broke; nobody else may.
        if self.lease.as_ref().is_some_and(|held| *held != lease) {
            return Err(IllegalEvent::AlreadyLeased);
        }
        if self.stands_still() {
            return Err(IllegalEvent::Paused);
        }
        if self.held || !self.awaits.is_empty() {
            return Err(IllegalEvent::Awaits);
        }
        self.count_leased(at);
        self.lease = Some(lease);
        self.former = None;
        self.generation += 1;
        self.counts_from = Some(at);
        if self.holds() {
            // Whoever watches from now on tells only what is not well.
            self.waiting = None;
        }
        if self.phase == Phase::Pending {
            self.phase = Phase::Running;
        }
        self.begin_step(at);
        Ok(Vec::new())
    }

    pub(super) fn lease_ended(&mut self, at: Timestamp) -> Result<Vec<Effect>, IllegalEvent> {
        if self.lease.is_none() {
            return Err(IllegalEvent::NotLeased);
        }
        self.count_leased(at);
        self.lease = None;
        self.counts_from = None;
        self.waiting = None;
        Ok(if self.stands_still() { Vec::new() } else { vec![Effect::HandOut] })
    }

    /// Whether its time went on while nobody was there.
    #[must_use]
    pub fn counts_time(&self) -> bool {
        self.lease.is_some() && self.counts_from.is_some() && !self.phase.is_final() && !self.holds()
    }

    /// Neither the time that the step may take nor that for which a service was seen well goes on without a server: no
    /// deployer acts or watches for longer than its lease. What was seen and not stored before is lost with it.
    pub(super) fn unattended(&mut self, since: Timestamp, at: Timestamp) -> Result<Vec<Effect>, IllegalEvent> {
        if !self.counts_time() {
            return Err(IllegalEvent::NotLeased);
        }
        self.count_leased(since);
        self.counts_from = Some(at);
        Ok(Vec::new())
    }

    /// Adds the time of the lease that is over to the step's, so that a step does not get its time anew with every lease.
    pub(super) fn count_leased(&mut self, at: Timestamp) {
        let Some(from) = self.counts_from.filter(|_| self.lease.is_some()) else { return };
        if let Some(times) = self.current_times() {
            times.leased += at.since(from);
            times.watched.lease_over(at);
        }
    }

    pub(super) fn check_report(&self, generation: u64, rollback: bool, step: usize) -> Result<(), IllegalEvent> {
        if self.lease.is_none() {
            return Err(IllegalEvent::NotLeased);
        }
        if generation != self.generation || rollback != self.rollback.is_some() {
            return Err(IllegalEvent::StaleGeneration { reported: generation, current: self.generation });
        }
        if step != self.cursor {
            return Err(IllegalEvent::WrongStep { reported: step, current: self.cursor });
        }
        Ok(())
    }
}

//! How far a bake has come. Only what a deployer has seen well counts: neither the time without one, nor what was before the
//! service was last seen not well.

use super::{Cause, Deployment, Effect};
use crate::{plan::Step, project::ProjectSpec, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Times that a bake begins again, for a host that dies or a task that is moved, before the version has failed: otherwise one
/// that comes and goes would be watched for ever.
pub const BAKE_RESTARTS_MAX: u32 = 5;

/// What was seen of a service that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watched {
    /// Time for which it was seen well under leases that are over.
    pub well: Duration,
    /// Since when it is seen well under the current lease.
    pub since: Option<Timestamp>,
    /// Whether it was last seen not well.
    pub unwell: bool,
    /// Times that the bake began again.
    pub restarts: u32,
}

impl Watched {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The lease is over.
    pub(super) fn lease_over(&mut self, at: Timestamp) {
        if let Some(since) = self.since.take() {
            self.well += at.since(since);
        }
    }
}

impl Deployment {
    /// Time for which what the current step watches was seen well before the current lease.
    #[must_use]
    pub fn watched(&self) -> Duration {
        self.current_step_times().map(|times| times.watched.well).unwrap_or_default()
    }

    /// What is watched was seen well or not. When it ceases to be well the bake begins again, and so does its time.
    pub(super) fn seen(&mut self, spec: &ProjectSpec, well: bool, cause: Cause, at: Timestamp) -> Vec<Effect> {
        let bakes = matches!(self.current_step(), Some(Step::Bake { .. }));
        let Some(times) = self.current_times().filter(|_| bakes) else { return Vec::new() };
        let watched = &mut times.watched;
        if well {
            watched.unwell = false;
            watched.since.get_or_insert(at);
            return Vec::new();
        }
        let restarts = watched.restarts + u32::from(!watched.unwell);
        let begins = restarts > watched.restarts;
        *watched = Watched { well: Duration::ZERO, since: None, unwell: true, restarts };
        if !begins {
            return Vec::new();
        }
        if restarts > BAKE_RESTARTS_MAX {
            let step = self.current_step().map(ToString::to_string).unwrap_or_default();
            let why = self.waiting.take().map(|why| format!(": {why}")).unwrap_or_default();
            return self.step_failed(spec, format!("\"{step}\" began again {BAKE_RESTARTS_MAX} times{why}"), cause, at);
        }
        times.leased = Duration::ZERO;
        self.counts_from = Some(at);
        Vec::new()
    }
}

//! Whether what is known of a project's production is current: how looks at it went since the server began.

use super::{Project, Shared};
use brain_core::{
    looks::{Looks, Unobserved},
    observation::Observation,
    time::Timestamp,
};
use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

impl Project {
    /// A look at production is stored, or showed nothing new, all of which was looked at so long ago. Where none had succeeded
    /// before, whoever waits for that is told.
    pub(crate) fn seen(&self, age: Duration) {
        let back = self.looks().seen(self.began.elapsed(), age);
        if back {
            // Nobody may be listening.
            let _ = self.shared.changed.send(self.id.clone());
        }
    }

    /// A look at production has failed.
    pub(crate) fn unseen(&self, why: String) {
        self.looks().failed(why, self.began.elapsed());
    }

    /// Whether production was seen lately, and the latest look has succeeded.
    pub(crate) fn production_is_current(&self) -> bool {
        self.looks().is_current(self.began.elapsed(), self.shared.patience)
    }

    /// When all of production was last looked at, be it before the server began.
    pub(crate) fn production_seen(&self) -> Option<Timestamp> {
        let ago = self.looks().looked_ago(self.began.elapsed())?;
        Some(self.shared.ago(ago))
    }

    /// What is to be stored now, because production was not seen for too long. `silence`: why nobody says anything of it.
    pub(crate) fn lost(&self, silence: impl FnOnce() -> String) -> Option<Observation> {
        let known: Option<Unobserved> = self.read().state.unobserved.clone();
        let at = self.began.elapsed();
        let (why, ago) = self.looks().lost(known.as_ref(), at, self.shared.patience, silence)?;
        Some(Observation::ProductionUnobserved { why, since: self.shared.ago(ago) })
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The time so long ago.
    fn ago(&self, ago: Duration) -> Timestamp {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().0.saturating_sub(ago))
    }
}

//! The deployer's own view of its leases: how long it may act, by its monotonic clock.
//!
//! It counts from when it *sent* the hello or renewal that was answered, and stops a fifth before the end: whatever the
//! network did to the answer, the server's count ends later.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Renewals that may be unanswered. Beyond, the oldest are forgotten; the lease is long over then.
const UNANSWERED_MAX: usize = 32;

/// How long this deployer may act.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    length: Duration,
    until: Instant,
    unanswered: VecDeque<(u64, Instant)>,
    sequence: u64,
}

impl LeaseClock {
    /// A lease of `length`, granted in answer to what was sent at `sent`.
    pub(crate) fn new(length: Duration, sent: Instant) -> Self {
        let inner = Inner { length, until: sent + usable(length), unanswered: VecDeque::new(), sequence: 0 };
        Self { inner: Mutex::new(inner) }
    }

    /// Whether this deployer may act now.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        now < self.until()
    }

    /// When it has to stop.
    pub(crate) fn until(&self) -> Instant {
        self.lock().until
    }

    /// How often to renew.
    pub(crate) fn period(&self) -> Duration {
        self.lock().length / 3
    }

    /// A renewal is sent now; answers its number.
    pub(crate) fn renewing(&self, now: Instant) -> u64 {
        let mut inner = self.lock();
        inner.sequence += 1;
        let sequence = inner.sequence;
        inner.unanswered.push_back((sequence, now));
        if inner.unanswered.len() > UNANSWERED_MAX {
            inner.unanswered.pop_front();
        }
        sequence
    }

    /// A renewal was answered.
    pub(crate) fn renewed(&self, sequence: u64) {
        let mut inner = self.lock();
        while let Some((first, sent)) = inner.unanswered.front().copied().filter(|(first, _)| *first <= sequence) {
            inner.unanswered.pop_front();
            if first == sequence {
                inner.until = inner.until.max(sent + usable(inner.length));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usable(length: Duration) -> Duration {
    length * 4 / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_counted_from_when_its_renewal_was_sent() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let clock = LeaseClock::new(Duration::from_millis(1000), start);
        assert!(clock.holds(at(799)) && !clock.holds(at(800)));
        let first = clock.renewing(at(300));
        let second = clock.renewing(at(600));
        clock.renewed(first);
        assert!(clock.holds(at(1099)) && !clock.holds(at(1100)));
        clock.renewed(second);
        clock.renewed(first);
        assert!(clock.holds(at(1399)) && !clock.holds(at(1400)));
    }
}

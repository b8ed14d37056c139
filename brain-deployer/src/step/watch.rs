//! How long what a bake watches has been seen well.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What was seen of a service that is watched.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Time for which workers before this one saw it well.
    before: Duration,
    /// The first of the looks in a row that saw it well.
    since: Option<Instant>,
}

impl Watch {
    /// It was seen well for so long before.
    pub(crate) fn after(before: Duration) -> Self {
        Self(Mutex::new(Seen { before, since: None }))
    }

    /// It is seen well; answers for how long now.
    pub(super) fn well(&self) -> Duration {
        let mut seen = self.seen();
        seen.before + seen.since.get_or_insert_with(Instant::now).elapsed()
    }

    /// It is seen not well: whatever was before counts no more.
    pub(super) fn unwell(&self) {
        *self.seen() = Seen::default();
    }

    /// What is left of `duration`, while it is well.
    pub(crate) fn left(&self, duration: Duration) -> Option<Duration> {
        let seen = self.seen();
        duration.checked_sub(seen.before + seen.since?.elapsed()).filter(|left| !left.is_zero())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn only_what_was_seen_well_without_a_break_counts() {
        let watch = Watch::after(Duration::from_secs(40));
        advance(Duration::from_secs(100)).await;
        assert_eq!(watch.well(), Duration::from_secs(40), "nobody had looked before");
        advance(Duration::from_secs(10)).await;
        assert_eq!(watch.well(), Duration::from_secs(50));
        assert_eq!(watch.left(Duration::from_secs(60)), Some(Duration::from_secs(10)));
        watch.unwell();
        advance(Duration::from_secs(10)).await;
        assert_eq!((watch.left(Duration::from_secs(60)), watch.well()), (None, Duration::ZERO));
    }
}

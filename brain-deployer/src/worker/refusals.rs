//! Refusals in a row: how long they are waited out before a step has failed.
//!
//! A permission that is taken away for a moment, or a role that is changed, is refused for seconds: that leaves no deployment
//! half-way. So a step forward fails once it was refused often and for a while; and a way back, which nobody takes after it,
//! waits until its step's time is over.

use crate::cloud::{CloudError, ErrorKind};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;
use tokio::time::Instant;

/// Times that a refusal is met before the step fails: consistency is eventual, and what was just made may not be found yet.
const REFUSALS_MIN: u32 = 5;
/// Time over which they have to be spread: a policy that was changed is in force everywhere within a minute.
const REFUSED_FOR: Duration = Duration::from_mins(1);
/// Shortest and longest pause after an error.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Errors in a row of one kind of call.
pub(super) struct Errors {
    pauses: ExponentialBackoff,
    refusals: u32,
    since: Option<Instant>,
}

impl Errors {
    pub(super) fn none() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(PAUSE.0)
            .with_max_delay(PAUSE.1)
            .without_max_times()
            .build();
        Self { pauses, refusals: 0, since: None }
    }

    /// An error was met; answers whether it was refused often and long enough, and the pause after it.
    pub(super) fn met(&mut self, error: &CloudError) -> (bool, Duration) {
        let refused = error.kind == ErrorKind::Terminal && self.refused();
        (refused, self.pause())
    }

    /// The pause after an error.
    pub(super) fn pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(PAUSE.1).min(PAUSE.1)
    }

    /// Counts a refusal; answers whether there were enough for long enough.
    pub(super) fn refused(&mut self) -> bool {
        self.refusals += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        self.refusals >= REFUSALS_MIN && since.elapsed() >= REFUSED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep};

    #[tokio::test(start_paused = true)]
    async fn refusals_of_a_few_seconds_are_waited_out_and_those_of_a_minute_are_not() {
        let mut errors = Errors::none();
        let began = Instant::now();
        while !errors.refused() {
            sleep(errors.pause()).await;
        }
        let took = began.elapsed();
        assert!(took >= REFUSED_FOR && took < REFUSED_FOR + PAUSE.1, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_after_a_long_time_is_one() {
        let mut errors = Errors::none();
        assert!(!errors.refused());
        advance(Duration::from_hours(1)).await;
        assert!(!errors.refused());
    }
}

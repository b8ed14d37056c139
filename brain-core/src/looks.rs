//! Whether what is known of a project's production is current.
//!
//! A deployer looks at production at an interval and tells how each look went. Production that has not been seen for two
//! intervals, and a while for the look itself, is not current: one look that is lost says nothing, and a deployer that is
//! started anew is back by then. A look at the counts of its cluster alone is enough for that, as long as they are those of the
//! last look at all of it, which is told with its age. What asks for more, as the order between projects does, also wants the latest look to have
//! succeeded. None of this is stored: a server that begins has seen nothing yet. What is stored is that production cannot be
//! observed, and that it can again.
//!
//! Times are those since looks were first expected, by a clock that no one sets.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time that a look itself may take, beside two intervals.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Time after which a reason that has changed is stored: reasons may come and go with every look.
const OTHER_REASON_AFTER: Duration = Duration::from_mins(1);
/// Time after which it is said again that production cannot be observed, where that was not stored.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Why and since when production cannot be observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unobserved {
    /// Why, and what a person can do.
    pub why: String,
    /// When the first look failed, or was missing.
    pub since: Timestamp,
}

/// How long production may not have been seen and still is current, where it is looked at every `interval`.
#[must_use]
pub fn patience(interval: Duration) -> Duration {
    interval.saturating_mul(2).saturating_add(LOOK_WITHIN)
}

/// How the looks at one project's production went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looks {
    /// When it was last seen, be it by its counts alone.
    seen: Option<Duration>,
    /// How long before that all of it was looked at.
    age: Duration,
    /// Why the looks since have failed.
    failing: Option<Failing>,
    /// When it was last said that it cannot be observed, and whether because a look had failed.
    said: Option<(Duration, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failing {
    why: String,
    since: Duration,
    /// When the latest look failed.
    latest: Duration,
}

impl Looks {
    /// It was seen to be as it was when all of it was looked at, so long before. Answers whether that ends a time in which it was
    /// not seen.
    pub fn seen(&mut self, at: Duration, age: Duration) -> bool {
        let back = self.failing.take().is_some() || self.seen.is_none() || self.said.is_some();
        (self.seen, self.age, self.said) = (Some(at), age, None);
        back
    }

    /// A look has failed.
    pub fn failed(&mut self, why: String, at: Duration) {
        let since = self.failing.take().map_or(at, |failing| failing.since);
        self.failing = Some(Failing { why, since, latest: at });
    }

    /// How long ago all of it was last looked at, which may be longer than the server is there.
    #[must_use]
    pub fn looked_ago(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.seen?) + self.age)
    }

    /// Whether the latest look has succeeded, and is not older than `patience`.
    #[must_use]
    pub fn is_current(&self, at: Duration, patience: Duration) -> bool {
        self.failing.is_none() && self.seen.is_some_and(|seen| at.saturating_sub(seen) <= patience)
    }

    /// What is to be said now of production that was not seen for longer than `patience`, where `known` is what is stored: why,
    /// and how long ago the first look failed or was missing. `silence`: why nobody says anything of it, where that is so.
    pub fn lost(
        &mut self,
        known: Option<&Unobserved>,
        at: Duration,
        patience: Duration,
        silence: impl FnOnce() -> String,
    ) -> Option<(String, Duration)> {
        let seen = self.seen.unwrap_or_default();
        if at.saturating_sub(seen) <= patience {
            return None;
        }
        let since = self.failing.as_ref().map_or(seen, |failing| failing.since);
        // Whoever has said nothing for so long says nothing any more: its deployer may be gone.
        let heard = self.failing.as_ref().filter(|failing| at.saturating_sub(failing.latest) <= patience);
        let failed = heard.is_some();
        let why = heard.map_or_else(silence, |failing| failing.why.clone());
        let again = match (known, self.said) {
            (Some(known), _) if known.why == why => return None,
            (Some(_), Some((_, true))) if failed => OTHER_REASON_AFTER,
            _ => SAID_AGAIN_AFTER,
        };
        if self.said.is_some_and(|(said, _)| at.saturating_sub(said) < again) {
            return None;
        }
        self.said = Some((at, failed));
        Some((why, at.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(35);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lost(looks: &mut Looks, known: Option<&Unobserved>, at: u64) -> Option<(String, u64)> {
        let lost = looks.lost(known, s(at), PATIENCE, || "silence".to_owned());
        lost.map(|(why, ago)| (why, at - ago.as_secs()))
    }

    #[test]
    fn two_intervals_and_a_while_make_production_unobserved_and_one_lost_look_does_not() {
        assert_eq!(patience(s(15)), PATIENCE);
        let mut looks = Looks::default();
        assert_eq!(lost(&mut looks, None, 35), None, "a server that begins has seen nothing yet");
        assert_eq!(lost(&mut looks, None, 36), Some(("silence".to_owned(), 0)));
        looks.seen(s(40), s(0));
        looks.failed("denied".to_owned(), s(55));
        assert_eq!(lost(&mut looks, None, 70), None);
        assert!(looks.seen(s(70), s(0)), "the failure is over");
        assert!(!looks.seen(s(85), s(0)), "and then it is no news");
        looks.failed("denied".to_owned(), s(100));
        looks.failed("denied still".to_owned(), s(115));
        assert_eq!(lost(&mut looks, None, 120), None);
        assert_eq!(lost(&mut looks, None, 121), Some(("denied still".to_owned(), 100)), "since the first failure");
    }

    #[test]
    fn what_is_stored_is_not_said_again_and_another_failure_only_now_and_then() {
        let mut looks = Looks::default();
        let stored = |why: &str| Some(Unobserved { why: why.to_owned(), since: Timestamp(0) });
        let said = |why: &str, since| Some((why.to_owned(), since));
        assert_eq!(lost(&mut looks, None, 40), said("silence", 0));
        looks.failed("denied".to_owned(), s(41));
        let silent = stored("silence");
        assert_eq!(
            lost(&mut looks, silent.as_ref(), 45),
            said("denied", 41),
            "what a look says is better than nothing"
        );
        assert_eq!(lost(&mut looks, None, 49), None, "it is on its way to the store");
        assert_eq!(lost(&mut looks, None, 50), said("denied", 41), "the store has not taken it");
        let denied = stored("denied");
        assert_eq!(lost(&mut looks, denied.as_ref(), 60), None);
        looks.failed("throttled".to_owned(), s(90));
        assert_eq!(lost(&mut looks, denied.as_ref(), 109), None, "it may change with every look");
        assert_eq!(lost(&mut looks, denied.as_ref(), 110), said("throttled", 41));
        let throttled = stored("throttled");
        assert_eq!(lost(&mut looks, throttled.as_ref(), 125), None);
        assert_eq!(lost(&mut looks, throttled.as_ref(), 126), said("silence", 41), "nobody says anything any more");
    }

    #[test]
    fn production_is_current_while_the_latest_look_has_succeeded_and_is_not_old() {
        let mut looks = Looks::default();
        assert!(!looks.is_current(s(1), PATIENCE), "nothing was seen");
        looks.seen(s(1), s(0));
        assert!(looks.is_current(s(36), PATIENCE) && !looks.is_current(s(37), PATIENCE));
        looks.seen(s(40), s(30));
        assert!(
            looks.is_current(s(75), PATIENCE) && looks.looked_ago(s(75)) == Some(s(65)),
            "its counts are as they were"
        );
        looks.failed("denied".to_owned(), s(2));
        assert!(!looks.is_current(s(3), PATIENCE), "a look has failed");
        looks.seen(s(4), s(0));
        assert!(looks.is_current(s(5), PATIENCE));
    }
}

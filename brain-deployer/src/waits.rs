//! When to look again: every look costs calls, so it comes when the goal is likely to be reached.
//!
//! The first wait of a kind is looked at in growing pauses. Of each wait two times are kept: the last look that found the goal
//! not reached, and the one that found it reached. The next wait of the kind is first looked at between the two while they lie
//! far apart, and at the later one once they are close: so it converges, on one look for a wait. What is kept drifts down
//! by itself, so that waits which have become shorter are noticed.

use crate::step::looks::Kind;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Longest time without a look, however long the last wait took: so late a failure is noticed at most.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
/// The two times of a wait are close when they differ by this part.
const CLOSE: f64 = 0.04;
/// What the earlier time is multiplied by after each wait.
const DRIFT: f64 = 0.985;
/// A wait that takes longer than the last one is looked at after this part of it.
const OVERDUE: f64 = 0.04;
/// Pauses of a first wait are this part of the time that it has taken.
const GROWTH: f64 = 0.25;
/// Shortest pause, as a part of the interval: of a first wait, and of one that should be over.
const SHORTEST: u32 = 8;
const SHORTEST_OVERDUE: u32 = 32;
/// Longest pause, in intervals.
const LONGEST: u32 = 4;
/// Pause, in intervals, where only a person ends the wait.
const SELDOM: u32 = 8;
/// Projects and kinds whose waits are kept.
const KEPT_MAX: usize = 20_000;

/// A wait that was over, counted from the act.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Learned {
    /// Not reached yet.
    before: Duration,
    /// Reached.
    after: Duration,
}

impl Learned {
    fn first_look(self) -> Duration {
        if self.after - self.before.min(self.after) <= self.after.mul_f64(CLOSE) {
            self.after
        } else {
            (self.before + self.after) / 2
        }
    }
}

/// The pause between two looks while a person is waited for.
pub(crate) fn seldom(interval: Duration) -> Duration {
    (interval * SELDOM).min(NOTICED_WITHIN)
}

/// What was learned of all projects.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<(String, Kind), Learned>>);

impl Waits {
    /// The pause before the next look at a wait that has taken `waited` so far.
    pub(crate) fn pause(&self, project: &str, kind: Option<Kind>, waited: Duration, interval: Duration) -> Duration {
        let learned = kind.and_then(|kind| self.learned(project, kind));
        let Some(first) = learned.map(Learned::first_look) else {
            let pause = waited.mul_f64(GROWTH).clamp(interval / SHORTEST, interval * LONGEST);
            return pause.min(NOTICED_WITHIN);
        };
        let pause = if waited < first {
            first - waited
        } else {
            let overdue = (waited - first) / 2;
            overdue.max(first.mul_f64(OVERDUE)).clamp(interval / SHORTEST_OVERDUE, interval * LONGEST)
        };
        pause.min(NOTICED_WITHIN)
    }

    /// A wait is over: seen at `after`, and not yet at `before`.
    pub(crate) fn learn(&self, project: &str, kind: Kind, before: Duration, after: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in [project, ""] {
            let key = (owner.to_owned(), kind);
            // A wait that was looked at once tells nothing of how much earlier it was over.
            let known = all.get(&key).map_or(Duration::ZERO, |known| known.before.mul_f64(DRIFT));
            let before = before.max(known).min(after);
            if all.len() < KEPT_MAX || all.contains_key(&key) {
                all.insert(key, Learned { before, after });
            }
        }
    }

    /// What is known of the project, or else of another.
    fn learned(&self, project: &str, kind: Kind) -> Option<Learned> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(project.to_owned(), kind)).or_else(|| all.get(&(String::new(), kind))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Waits for what takes so long; answers the looks, and how late the last one was.
    fn wait(waits: &Waits, takes: Duration) -> (u32, Duration) {
        let (mut waited, mut before, mut looks) = (Duration::ZERO, Duration::ZERO, 0);
        loop {
            waited += waits.pause("projects/user", Some(Kind::Start), waited, INTERVAL);
            looks += 1;
            if waited >= takes {
                waits.learn("projects/user", Kind::Start, before, waited);
                return (looks, waited - takes);
            }
            before = waited;
        }
    }

    #[test]
    fn a_wait_that_takes_as_long_as_the_last_ones_is_looked_at_once_and_hardly_late() {
        let waits = Waits::default();
        let takes = secs(38.0);
        let (first, _) = wait(&waits, takes);
        assert!((10..30).contains(&first), "{first} looks at the first wait");
        for _ in 0..6 {
            wait(&waits, takes);
        }
        let (mut looks, mut late) = (0, Duration::ZERO);
        for _ in 0..20 {
            let (more, later) = wait(&waits, takes);
            (looks, late) = (looks + more, late + later);
        }
        // Two more in each wait: no failure may go unnoticed for longer than a quarter of a minute.
        assert!(looks <= 20 * 4, "{looks} looks at 20 waits");
        assert!(late / 20 <= takes.mul_f64(0.04), "{late:?} late in 20 waits");
    }

    #[test]
    fn waits_that_become_shorter_or_longer_are_followed() {
        let waits = Waits::default();
        for _ in 0..5 {
            wait(&waits, secs(10.0));
        }
        for takes in [5.0, 14.0] {
            let mut last = (0, Duration::ZERO);
            for _ in 0..60 {
                last = wait(&waits, secs(takes));
            }
            assert!(last.0 <= 3 && last.1 <= secs(takes * 0.1), "{takes} s: {last:?}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_a_failure_may_go_unnoticed() {
        let waits = Waits::default();
        waits.learn("projects/user", Kind::Boot, secs(290.0), secs(300.0));
        for waited in [0.0, 1.0, 100.0, 250.0, 299.0, 1_000.0, 100_000.0] {
            for kind in [Some(Kind::Boot), Some(Kind::Start), None] {
                assert!(waits.pause("projects/user", kind, secs(waited), INTERVAL) <= NOTICED_WITHIN);
            }
        }
        assert_eq!([seldom(INTERVAL), seldom(secs(0.1))], [NOTICED_WITHIN, secs(0.8)]);
    }

    #[test]
    fn a_project_that_was_never_waited_for_is_taken_to_be_like_the_last_one() {
        let waits = Waits::default();
        waits.learn("projects/user", Kind::Boot, secs(9.9), secs(10.0));
        assert_eq!(waits.pause("projects/other", Some(Kind::Boot), secs(1.0), INTERVAL), secs(9.0));
        waits.learn("projects/other", Kind::Boot, secs(4.9), secs(5.0));
        assert_eq!(waits.pause("projects/user", Some(Kind::Boot), secs(1.0), INTERVAL), secs(9.0));
    }
}

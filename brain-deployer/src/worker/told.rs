//! What a step has told of why it waits: once, and again when it is news. Each time is stored for good.

use std::time::Duration;
use tokio::time::Instant;

/// Shortest time between two texts that both say what is not well, where a wait may last for days: a crash loop has another text
/// at every look.
const SELDOM: Duration = Duration::from_mins(5);

/// What was told last, and when; an empty text says that all is well.
#[derive(Debug, Default)]
pub(super) struct Told(Option<(String, Instant)>);

impl Told {
    /// Whether `why` is to be told now, as it then is. `lasts`: the wait may last for days.
    pub(super) fn is_news(&mut self, why: &str, lasts: bool, now: Instant) -> bool {
        // Whose wait has told nothing yet, there is nothing to take back.
        let before = self.0.as_ref().map_or("", |(before, _)| before);
        if before == why {
            return false;
        }
        let turns = before.is_empty() || why.is_empty();
        let just_told = self.0.as_ref().is_some_and(|(_, at)| now.saturating_duration_since(*at) < SELDOM);
        let news = turns || !lasts || !just_told;
        if news {
            self.0 = Some((why.to_owned(), now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_once_and_another_one_at_once() {
        let (mut told, now) = (Told::default(), Instant::now());
        let news = ["", "0 of 1", "0 of 1", "1 of 1", ""].map(|why| told.is_news(why, false, now));
        assert_eq!(news, [false, true, false, true, true]);
    }

    #[test]
    fn in_a_wait_of_days_another_text_is_told_seldom_and_what_turns_well_or_not_at_once() {
        let (mut told, began) = (Told::default(), Instant::now());
        let at = |second: u64| began + Duration::from_secs(second);
        let looks = (0..=40).map(|look| look * 15);
        let crash_loop = looks.filter(|second| told.is_news(&format!("{second} failed"), true, at(*second)));
        assert_eq!(crash_loop.collect::<Vec<u64>>(), [0, 300, 600]);
        assert!(told.is_news("", true, at(615)), "it is well");
        assert!(!told.is_news("", true, at(2_000)));
        assert!(told.is_news("1 failed", true, at(2_001)), "it is not any more");
        assert!(!told.is_news("2 failed", true, at(2_016)));
        assert!(told.is_news("", true, at(2_031)));
    }
}

//! Times for people: how long ago, how long it took, and the clock.

use jiff::{Timestamp, tz::TimeZone};

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A time of the API; beyond the range of the calendar, the epoch.
pub(crate) fn of(time: prost_types::Timestamp) -> Timestamp {
    Timestamp::new(time.seconds, time.nanos).unwrap_or_default()
}

/// "12 s", "5 min", "3 h", "2 d": what a person would say.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds @ 90..5_400 => format!("{} min", (seconds + 30) / 60),
        seconds @ 5_400..172_800 => format!("{} h", (seconds + 1_800) / 3_600),
        seconds => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// How long ago, "5 min"; empty for an absent time.
pub(crate) fn age(time: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    time.map_or_else(String::new, |time| span(now.as_second() - of(time).as_second()))
}

/// How long from one to the other, to a tenth of a second where it is short.
pub(crate) fn between(start: Timestamp, end: Timestamp) -> String {
    let millis = (end.as_millisecond() - start.as_millisecond()).max(0);
    if millis < 10_000 { format!("{}.{} s", millis / 1_000, millis % 1_000 / 100) } else { span(millis / 1_000) }
}

/// "15:04:05", by the clock on the wall.
pub(crate) fn clock(time: Timestamp) -> String {
    time.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// "2026-01-02 15:04 CET", by the clock on the wall; empty for an absent time.
pub(crate) fn date(time: Option<prost_types::Timestamp>) -> String {
    time.map_or_else(String::new, |time| {
        of(time).to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    })
}

/// "2026-01-02 15:04:05", by the clock on the wall; empty for an absent time.
pub(crate) fn second(time: Option<prost_types::Timestamp>) -> String {
    time.map_or_else(String::new, |time| {
        of(time).to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

/// "90 s", "5 min" of a duration of the API.
pub(crate) fn length(duration: prost_types::Duration) -> String {
    span(duration.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_as_people_do() {
        let told: Vec<String> = [-5, 0, 89, 90, 300, 5_400, 86_400, 180_000].into_iter().map(span).collect();
        assert_eq!(told, ["0 s", "0 s", "89 s", "2 min", "5 min", "2 h", "24 h", "2 d"]);
    }

    #[test]
    fn short_spans_have_tenths() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!(between(at(1_000), at(1_250)), "0.2 s");
        assert_eq!(between(at(0), at(12_900)), "12 s");
    }
}

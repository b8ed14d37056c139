//! Deploy windows: when a project may be deployed. Cron expressions in the civil time of a place, each with a length.
//!
//! A window is as long as it says on the day of a change of the clocks too. One that would begin in the hour that is skipped
//! begins right after it, and one that would begin in the hour that is repeated begins the first time. Time zones are those
//! of the IANA data base that is built in, so that every server decides alike.

use crate::time::Timestamp;
use croner::{
    CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution, Weekday,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, ZonedDateTime, civil,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, time::Duration};

/// Most windows that a project may have.
pub const WINDOWS_MAX: usize = 20;
/// Longest cron expression, in characters.
pub const CRON_MAX: usize = 100;
/// Shortest and longest window. Cron tells minutes, and no week has more than one of itself.
pub const DURATION: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));

/// A time in which deployments may begin, again and again. It is kept as it was written, and has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// How long it stays open.
    pub duration: Duration,
    /// IANA time zone of the expression.
    pub zone: String,
}

/// What is wrong with a window: the field, and why.
pub type WindowFault = (&'static str, String);

impl Window {
    /// Checks a window; every fault is told. `now`: it must open some time after it.
    pub fn check(cron: &str, duration: Duration, zone: &str, now: Timestamp) -> Result<Self, Vec<WindowFault>> {
        let mut faults = Vec::new();
        let (least, most) = DURATION;
        if duration < least || duration > most {
            faults.push(("duration", format!("must be {} to {} seconds", least.as_secs(), most.as_secs())));
        }
        let pattern = pattern(cron).map_err(|why| faults.push(("cron", why))).ok();
        let place = place(zone).map_err(|why| faults.push(("time_zone", why))).ok();
        if let (Some(pattern), Some(place)) = (&pattern, &place)
            && next(pattern, place, now).is_none()
        {
            faults.push(("cron", "never comes: there is no such day".to_owned()));
        }
        let window = Self { cron: cron.trim().to_owned(), duration, zone: zone.to_owned() };
        if faults.is_empty() { Ok(window) } else { Err(faults) }
    }

    /// When it next opens after `at`; `None`: never, or what is kept cannot be read any more, and then nothing begins in it.
    #[must_use]
    pub fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        next(&pattern(&self.cron).ok()?, &place(&self.zone).ok()?, at)
    }

    /// When it closes, if it is open at `at`. It may open again at once.
    #[must_use]
    pub fn closes(&self, at: Timestamp) -> Option<Timestamp> {
        let length = i64::try_from(self.duration.as_millis()).ok()?;
        // The first opening that is not over yet.
        let opened = self.opens(Timestamp(at.0.saturating_sub(length)))?;
        (opened <= at).then(|| opened.plus(self.duration))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cron, duration, zone } = self;
        let minutes = duration.as_secs() / 60;
        write!(f, "\"{cron}\" {zone} for {} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// Whether one of them is open.
#[must_use]
pub fn is_open(windows: &[Window], at: Timestamp) -> bool {
    windows.iter().any(|window| window.closes(at).is_some())
}

/// When the next of them opens after `at`.
#[must_use]
pub fn next_opening(windows: &[Window], at: Timestamp) -> Option<Timestamp> {
    windows.iter().filter_map(|window| window.opens(at)).min()
}

/// When one of them next opens or closes after `at`.
#[must_use]
pub fn next_change(windows: &[Window], at: Timestamp) -> Option<Timestamp> {
    let closing = windows.iter().filter_map(|window| window.closes(at)).min();
    [next_opening(windows, at), closing].into_iter().flatten().min()
}

fn pattern(cron: &str) -> Result<Cron, String> {
    let form = "must be a cron expression of five fields, such as \"0 9 * * MON-FRI\"";
    if cron.len() > CRON_MAX {
        return Err(format!("{form}, of at most {CRON_MAX} characters"));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let why = |error: CronError| format!("{form}: {}", error.to_string().trim_end_matches('.').to_lowercase());
    parser.parse(cron).map_err(why)
}

fn place(zone: &str) -> Result<TimeZone, String> {
    let unknown = |_| "must be a time zone of the IANA data base, such as \"America/New_York\" or \"UTC\"".to_owned();
    TimeZoneDatabase::bundled().get(zone).map_err(unknown)
}

/// The first time after `at` that the pattern names there.
fn next(pattern: &Cron, place: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    let Local(found) = pattern.find_next_occurrence(&Local(at.to_zoned_datetime(place.clone())), false).ok()?;
    Some(Timestamp(found.timestamp().as_millisecond()))
}

/// Civil time at a place, as the library for cron expressions reads it.
#[derive(Debug, Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let (date, time) = (self.0.date(), self.0.time());
        let part = |number: i8| u32::from(number.unsigned_abs());
        // What jiff holds is within the ranges.
        let year = i32::from(date.year());
        let date = CivilDate::from_parts_unchecked(year, part(date.month()), part(date.day()));
        let time = CivilTime::from_parts_unchecked(part(time.hour()), part(time.minute()), part(time.second()));
        CivilDateTime::new(date, time)
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::from(days.unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |number: u32| i8::try_from(number).map_err(|_| CronError::InvalidTime);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let date = civil::Date::new(year, part(civil.month())?, part(civil.day())?);
        let time = civil::Time::new(part(civil.hour())?, part(civil.minute())?, part(civil.second())?, 0);
        let date = date.map_err(|_| CronError::InvalidDate)?;
        let time = time.map_err(|_| CronError::InvalidTime)?;
        let there = self.0.time_zone().to_ambiguous_zoned_datetime(date.to_datetime(time));
        let once = |zoned: Result<ZonedDateTime, jiff::Error>| zoned.map(Local).map_err(|_| CronError::InvalidTime);
        Ok(match there.offset() {
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(once(there.clone().earlier())?, once(there.later())?),
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(once(there.compatible())?),
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Local)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests;

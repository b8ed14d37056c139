//! What pages show, in the form that templates take.

use brain_core::{
    hold::Held,
    line::Stop,
    production::Production,
    state::ProjectState,
    status::{Sentence, Status},
    time::Timestamp,
    version::compare_tags,
};
use std::{collections::BTreeMap, time::Duration};

/// Colours of the bars. Text beside them says the same.
const COLORS: usize = 4;

/// A version's part of what is served.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) version: String,
    pub(super) percent: u32,
    /// Where its part of the bar begins.
    pub(super) from: u32,
    pub(super) color: usize,
}

/// How what runs compares with what is to run.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// A sentence of the board.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) since: String,
    pub(super) waits_for: String,
    pub(super) freed_by: String,
}

/// How the line is stopped.
#[derive(Debug, Clone)]
pub(super) struct Banner {
    pub(super) by: String,
    pub(super) why: String,
    pub(super) since: String,
    pub(super) pauses: bool,
}

/// Something that a person may do.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) href: String,
    pub(super) text: String,
}

impl Banner {
    pub(super) fn new(held: Held<Stop>) -> Self {
        let Held { hold: Stop { pause_running }, by, why, since } = held;
        Self { by, why, since: when(since), pauses: pause_running }
    }
}

/// The shares, lowest version first.
pub(super) fn shares(production: Option<&Production>) -> Vec<Share> {
    let Some(production) = production else { return Vec::new() };
    let mut by_version: BTreeMap<&str, u32> = BTreeMap::new();
    for (service, share) in production.services.iter().zip(production.shares()) {
        *by_version.entry(&service.version).or_default() += share;
    }
    let mut versions: Vec<(&str, u32)> = by_version.into_iter().filter(|(_, share)| *share > 0).collect();
    versions.sort_by(|one, other| compare_tags(one.0, other.0));
    let mut from = 0;
    let share = |(index, (version, percent)): (usize, (&str, u32))| {
        let share = Share { version: version.to_owned(), percent, from, color: index % COLORS };
        from += percent;
        share
    };
    versions.into_iter().enumerate().map(share).collect()
}

pub(super) fn health(state: &ProjectState) -> Health {
    let services = state.production.iter().flat_map(|production| &production.services);
    let (healthy, desired) =
        services.fold((0, 0), |(healthy, desired), service| (healthy + service.healthy, desired + service.desired));
    let (class, text) = match (&state.unobserved, healthy, desired) {
        (Some(_), ..) => ("bad", "not observed".to_owned()),
        (None, 0, 0) => ("soft", "idle".to_owned()),
        (None, ..) if healthy < desired => ("busy", format!("{healthy} of {desired} healthy")),
        (None, ..) => ("good", format!("{healthy} healthy")),
    };
    Health { class, text }
}

pub(super) fn said(status: Status) -> Vec<Said> {
    let said = |sentence: Sentence| {
        let Sentence { text, since, waits_for, freed_by } = sentence;
        Said { text, since: when(since), waits_for, freed_by }
    };
    status.sentences.into_iter().map(said).collect()
}

/// A time as people read it, to the second.
pub(super) fn when(time: Timestamp) -> String {
    time.to_string().trim_end_matches('Z').replacen('T', " ", 1)
}

/// A length of time as people read it.
pub(super) fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{} ms", duration.as_millis()),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(when(Timestamp(1_767_340_800_000)), "2026-01-02 08:00:00");
        let texts = [300, 59_000, 61_000, 3_720_000].map(|ms| long(Duration::from_millis(ms)));
        assert_eq!(texts, ["300 ms", "59 s", "1 min 01 s", "1 h 02 min"]);
    }
}

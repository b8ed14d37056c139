use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn window(cron: &str, minutes: u64, zone: &str) -> Window {
    Window::check(cron, Duration::from_secs(minutes * 60), zone, at("2026-01-01T00:00:00Z")).unwrap()
}

#[test]
fn a_window_opens_by_the_clocks_of_its_place_and_stays_open_for_its_length() {
    let office = window("0 9 * * MON-FRI", 8 * 60, "America/New_York");
    let opens = |from: &str| office.opens(at(from)).unwrap();
    assert_eq!(opens("2026-01-05T00:00:00Z"), at("2026-01-05T14:00:00Z"), "winter: five hours behind");
    assert_eq!(opens("2026-07-06T00:00:00Z"), at("2026-07-06T13:00:00Z"), "summer: four hours behind");
    assert_eq!(opens("2026-01-09T14:00:00Z"), at("2026-01-12T14:00:00Z"), "after friday's comes monday's");
    for (time, open) in [
        ("2026-01-05T13:59:59.999Z", false),
        ("2026-01-05T14:00:00Z", true),
        ("2026-01-05T21:59:59.999Z", true),
        ("2026-01-05T22:00:00Z", false),
        ("2026-01-10T15:00:00Z", false),
    ] {
        assert_eq!(is_open(std::slice::from_ref(&office), at(time)), open, "{time}");
    }
    assert_eq!(office.closes(at("2026-01-05T15:00:00Z")), Some(at("2026-01-05T22:00:00Z")));
    assert_eq!(office.to_string(), "\"0 9 * * MON-FRI\" America/New_York for 8 h 00 min");
}

/// Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29 (01:00 UTC), and from 03:00 back to 02:00 on 2026-10-25 (01:00 UTC).
#[test]
fn a_window_is_not_lost_or_doubled_when_the_clocks_change_and_is_as_long_as_it_says() {
    let night = window("30 2 * * *", 60, "Europe/Berlin");
    assert_eq!(night.opens(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")), "right after the gap");
    assert_eq!(night.closes(at("2026-03-29T01:59:00Z")), Some(at("2026-03-29T02:00:00Z")));
    assert_eq!(night.opens(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")), "the first of two");
    assert_eq!(night.closes(at("2026-10-25T01:29:00Z")), Some(at("2026-10-25T01:30:00Z")));
    assert_eq!(night.closes(at("2026-10-25T01:30:00Z")), None, "02:30 comes again, and opens nothing");
    assert_eq!(night.opens(at("2026-10-25T00:30:00Z")), Some(at("2026-10-26T01:30:00Z")));
    let long = window("0 22 * * SAT", 8 * 60, "Europe/Berlin");
    assert_eq!(
        long.closes(at("2026-03-29T00:00:00Z")),
        Some(at("2026-03-29T05:00:00Z")),
        "seven on the clock, eight hours"
    );
    assert_eq!(
        long.closes(at("2026-10-25T00:00:00Z")),
        Some(at("2026-10-25T04:00:00Z")),
        "five on the clock, eight hours"
    );
}

#[test]
fn the_next_change_is_the_first_opening_or_closing_of_any_window() {
    let windows = [window("0 9 * * *", 60, "UTC"), window("30 9 * * *", 60, "UTC")];
    let mut changes = Vec::new();
    let mut now = at("2026-01-05T00:00:00Z");
    for _ in 0..4 {
        now = next_change(&windows, now).unwrap();
        changes.push((now, is_open(&windows, now)));
    }
    let expected = [("09:00", true), ("09:30", true), ("10:00", true), ("10:30", false)];
    assert_eq!(changes, expected.map(|(time, open)| (at(&format!("2026-01-05T{time}:00Z")), open)));
    assert_eq!((next_change(&[], now), next_opening(&[], now), is_open(&[], now)), (None, None, false));
}

#[test]
fn every_fault_of_a_window_is_told_at_once() {
    let now = at("2026-01-01T00:00:00Z");
    let faults = Window::check("0 25 * * *", Duration::ZERO, "Mars/Olympus", now).unwrap_err();
    let fields: Vec<&str> = faults.iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, ["duration", "cron", "time_zone"]);
    for bad in ["", "x", "* * * *", "0 0 9 * * *", "0 9 * * * 2030", "0 0 30 2 *", &"0,".repeat(60)] {
        let faults = Window::check(bad, Duration::from_secs(60), "UTC", now).unwrap_err();
        assert_eq!(faults.len(), 1, "{bad}: {faults:?}");
        assert_eq!(faults[0].0, "cron");
    }
}

#[test]
fn what_cannot_be_read_any_more_never_opens() {
    let lost = Window { zone: "Atlantis/Capital".into(), ..window("* * * * *", 1, "UTC") };
    assert_eq!((lost.opens(Timestamp(0)), is_open(&[lost], Timestamp(0))), (None, false));
}

proptest! {
    /// Within a window's length after each opening it is open, and it opens at no other time.
    #[test]
    fn a_window_is_open_exactly_from_its_openings_on(
        start in 1_760_000_000_000i64..1_800_000_000_000, minute in 0u32..60, hour in 0u32..24, length in 1u64..3_000,
        zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        late in 0i64..200_000_000,
    ) {
        let window = window(&format!("{minute} {hour} * * *"), length, zone);
        let opening = window.opens(Timestamp(start)).unwrap();
        prop_assert!(opening.0 > start && opening.0 - start <= 25 * 3_600_000, "{opening}");
        prop_assert!(is_open(std::slice::from_ref(&window), opening));
        let later = Timestamp(opening.0 + late);
        let last = {
            let mut last = opening;
            while let Some(next) = window.opens(last).filter(|next| *next <= later) {
                last = next;
            }
            last
        };
        let within = later.0 - last.0 < i64::try_from(length).unwrap() * 60_000;
        prop_assert_eq!(is_open(std::slice::from_ref(&window), later), within, "{} {}", last, later);
    }
}

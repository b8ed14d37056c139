//! What a gate has read at one look, for people and for the record.

use super::{Condition, Figures, Verdict, WINDOW_MAX, judge};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What a gate says, and the figures that it says it of.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What it says.
    pub verdict: Verdict,
    /// The figures; `None` where one is missing, and for alarms, which have none.
    pub figures: Option<Figures>,
    /// Time after traffic moved that it looks at, where only the look tells: of alarms, which have periods of their own.
    pub looks_back: Duration,
}

impl Judgement {
    /// What figures mean under a condition.
    #[must_use]
    pub fn of(condition: &Condition, figures: Figures) -> Self {
        Self { figures: Some(figures), ..judge(condition, figures).into() }
    }
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, figures: None, looks_back: Duration::ZERO }
    }
}

/// One look at a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// What the gate says.
    pub verdict: Verdict,
    /// The new version's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Figure>,
    /// The old version's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Figure>,
    /// Time after traffic moved that the gate looks at, where only its look tells, by which its step may take longer.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub looks_back: Duration,
}

impl Reading {
    /// What was judged at that time.
    #[must_use]
    pub fn new(at: Timestamp, judgement: Judgement) -> Self {
        let Judgement { verdict, figures, looks_back } = judgement;
        let new = figures.and_then(|figures| Figure::new(figures.new));
        let old = figures.and_then(|figures| figures.old).and_then(Figure::new);
        Self { at, verdict, new, old, looks_back: looks_back.min(WINDOW_MAX) }
    }
}

/// `passes: new 0.0218, old 0.02`, `fails: new 3, old 2, needs new <= old`, `holds: alarm a has not enough data`.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.verdict, self.new) {
            (Verdict::Pass, None) => f.write_str("passes"),
            (Verdict::Pass, Some(Figure(new))) => {
                write!(f, "passes: {}", Figures { new, old: self.old.map(|Figure(old)| old) })
            }
            (Verdict::Fail(why), _) => write!(f, "fails: {why}"),
            (Verdict::Hold(why), _) => write!(f, "holds: {why}"),
        }
    }
}

/// A figure that was read: a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Figure(f64);

/// Every finite number is equal to itself.
impl Eq for Figure {}

impl Figure {
    /// `None`: it is no finite number.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number))
    }
}

impl TryFrom<f64> for Figure {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a figure is a finite number")
    }
}

impl From<Figure> for f64 {
    fn from(Figure(number): Figure) -> Self {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_tells_its_figures_and_what_they_mean() {
        let condition = Condition::parse("new <= old * 1.1").unwrap();
        let told = |new, old| Reading::new(Timestamp(1), Judgement::of(&condition, Figures { new, old })).to_string();
        assert_eq!(told(0.0218, Some(0.02)), "passes: new 0.0218, old 0.02");
        assert_eq!(told(0.03, Some(0.02)), "fails: new 0.03, old 0.02, needs new <= old * 1.1");
        assert!(told(0.03, None).starts_with("holds: new 0.03, needs "), "{}", told(0.03, None));
        let of = |verdict: Verdict| Reading::new(Timestamp(1), verdict.into()).to_string();
        assert_eq!(of(Verdict::Pass), "passes");
        assert_eq!(of(Verdict::Hold("alarm a has not enough data".into())), "holds: alarm a has not enough data");
    }

    #[test]
    fn what_is_no_finite_number_is_no_figure() {
        let condition = Condition::parse("new < 1.0").unwrap();
        let figures = Figures { new: f64::NAN, old: Some(f64::INFINITY) };
        let reading = Reading::new(Timestamp(1), Judgement::of(&condition, figures));
        assert_eq!((reading.new, reading.old), (None, None));
        assert!(matches!(reading.verdict, Verdict::Hold(_)));
    }
}

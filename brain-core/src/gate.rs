//! Gates: figures of the new version, beside those of the old, that have to be so before traffic moves on.
//!
//! A figure that is missing never passes a gate: it holds, and says why. What is read, and from where, is the deployer's;
//! what the figures mean is decided here.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

mod condition;
pub mod metrics;
mod reading;
pub mod tasks;

pub use condition::{CONDITION_MAX, Condition, Expression};
use metrics::Metrics;
pub use reading::{Figure, Judgement, Reading};
use tasks::Tasks;

/// Most gates of a step.
pub const GATES_MAX: usize = 10;
/// Longest name of a gate.
pub const NAME_MAX: usize = 63;
/// Longest query.
pub const QUERY_MAX: usize = 2_000;
/// Most alarms of a gate.
pub const ALARMS_MAX: usize = 10;
/// Longest name of an alarm (an AWS limit).
pub const ALARM_NAME_MAX: usize = 255;
/// Longest window.
pub const WINDOW_MAX: Duration = Duration::from_hours(24);
/// Window of a gate that names none: several scrapes of most Prometheuses.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(60);
/// Looks in a row, at the least, in which a gate has to fail before its step has failed: one alone may meet a moment between
/// two scrapes, at which errors are counted and the requests that they belong to are not.
pub const FAILURES_MIN: u32 = 2;
/// Looks in a row, at the most: what fails longer is not going to recover within a step's time.
pub const FAILURES_MAX: u32 = 100;

/// One gate of a policy's step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What people call it, unique in its step.
    pub name: String,
    /// What is read, and what it has to be.
    pub check: Check,
    /// Looks in a row in which it has to fail before the step has failed.
    pub failures: u32,
}

/// What a gate reads, and what that has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Figures of a Prometheus.
    Prometheus {
        /// Name of the Prometheus in the deployer's configuration.
        server: String,
        /// Query of the new version's figure.
        query: String,
        /// Query of the old version's figure; `None`: the condition needs none.
        old_query: Option<String>,
        /// How many samples there must be; `None`: as many as there are.
        samples: Option<Samples>,
        /// Time over which queries look back.
        window: Duration,
        /// What has to be so.
        condition: Condition,
    },
    /// CloudWatch alarms, of any kind: all have to be OK.
    Alarms {
        /// Their names.
        names: Vec<String>,
    },
    /// Metrics of CloudWatch.
    Metrics(Metrics),
    /// What ECS and the load balancer tell of tasks.
    Tasks(Tasks),
}

/// How many samples a figure needs to mean something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Query that counts those of the new version; of the old one with its name in place of the new one's.
    pub query: String,
    /// How many there must be.
    pub minimum: u32,
}

/// The services whose figures are compared, by ECS service name.
#[derive(Debug, Clone, Copy)]
pub struct Services<'a> {
    /// The new version's.
    pub new: &'a str,
    /// The old versions', the one with the most tasks first.
    pub old: &'a [String],
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The new version's.
    pub new: f64,
    /// The old version's; `None` where the condition needs none.
    pub old: Option<f64>,
}

/// What a gate says. Each but a pass says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Traffic may move on.
    Pass,
    /// The new version is worse than it may be.
    Fail(String),
    /// It cannot be told.
    Hold(String),
}

impl Services<'_> {
    /// Replaces `{{new}}`, `{{old}}` and `{{window}}`. Of several old services the names are joined by `|`, as a regular
    /// expression has it; service names hold nothing that would mean something else in one.
    #[must_use]
    pub fn fill(&self, template: &str, window: Duration) -> String {
        fill(template, |placeholder| match placeholder {
            NEW => Some(self.new.to_owned()),
            OLD => Some(self.old.join("|")),
            WINDOW => Some(format!("{}s", window.as_secs())),
            _ => None,
        })
    }
}

/// Puts values in place of placeholders, in one pass: what is filled in is never looked at again.
fn fill(template: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let (before, tail) = rest.split_at(start);
        filled += before;
        let named = tail.find("}}").map_or(tail, |end| &tail[..end + 2]);
        match value_of(named) {
            Some(value) => {
                filled += &value;
                rest = &tail[named.len()..];
            }
            None => {
                filled += "{{";
                rest = &tail[2..];
            }
        }
    }
    filled + rest
}

const NEW: &str = "{{new}}";
const OLD: &str = "{{old}}";
const WINDOW: &str = "{{window}}";
/// What queries of a Prometheus may name.
pub const QUERY_PLACEHOLDERS: [&str; 3] = [NEW, OLD, WINDOW];

/// Whether a template names the new version.
#[must_use]
pub fn names_new(template: &str) -> bool {
    template.contains(NEW)
}

/// Whether a template names the old version.
#[must_use]
pub fn names_old(template: &str) -> bool {
    template.contains(OLD)
}

/// The first `{{word}}` of a template that is none of those that stand for something.
#[must_use]
pub fn unknown_placeholder<'a>(template: &'a str, known: &[&str]) -> Option<&'a str> {
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let tail = &rest[start..];
        let end = tail.find("}}").map_or(tail.len(), |end| end + 2);
        if !known.contains(&&tail[..end]) {
            return Some(&tail[..end]);
        }
        rest = &tail[end..];
    }
    None
}

/// What figures mean under a condition.
#[must_use]
pub fn judge(condition: &Condition, figures: Figures) -> Verdict {
    let said = format!("{figures}, needs {condition}");
    let Figures { new, old } = figures;
    if !new.is_finite() || old.is_some_and(|old| !old.is_finite()) {
        return Verdict::Hold(format!("{said}; a figure is no finite number"));
    }
    match condition.holds(figures) {
        Ok(true) => Verdict::Pass,
        Ok(false) => Verdict::Fail(said),
        Err(why) => Verdict::Hold(format!("{said}; {why}")),
    }
}

impl Gate {
    /// Time between two looks at a gate that fails: a look that comes sooner would see the same samples again, and prove
    /// nothing.
    #[must_use]
    pub fn look_again(&self) -> Duration {
        match &self.check {
            Check::Prometheus { window, .. } => (*window / 4).min(LOOK_AGAIN_MAX),
            // An alarm has evaluation periods of its own.
            Check::Alarms { .. } => Duration::ZERO,
            Check::Metrics(metrics) => metrics.period,
            Check::Tasks(tasks) => (tasks.window / 4).min(LOOK_AGAIN_MAX),
        }
    }

    /// Time after traffic moved in which its figures are still of what was before.
    #[must_use]
    pub fn looks_back(&self) -> Duration {
        match &self.check {
            Check::Prometheus { window, .. } => *window,
            // It tells its own by itself.
            Check::Alarms { .. } => Duration::ZERO,
            Check::Metrics(metrics) => metrics.window + metrics.delay,
            Check::Tasks(tasks) if tasks.counts_exits() => tasks.window,
            // What there is now is of after.
            Check::Tasks(_) => Duration::ZERO,
        }
    }

    /// Whether it compares with the old version.
    #[must_use]
    pub fn needs_old(&self) -> bool {
        match &self.check {
            Check::Prometheus { condition, .. } => condition.needs_old(),
            Check::Alarms { .. } => false,
            Check::Metrics(metrics) => metrics.condition.needs_old(),
            Check::Tasks(tasks) => tasks.condition.needs_old(),
        }
    }
}

/// Longest time between two looks at a gate that fails: a bad version is not left to serve while proof piles up.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(30);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "new {}", Rounded(self.new))?;
        self.old.map_or(Ok(()), |old| write!(f, ", old {}", Rounded(old)))
    }
}

/// A number with as many digits as a person reads.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size >= 100.0 || size == 0.0 || !size.is_finite() {
            return write!(f, "{}", (self.0 * 10.0).round() / 10.0);
        }
        // Three significant digits and no zeros at the end.
        let digits = usize::try_from((2.0 - size.log10().floor()) as i64).unwrap_or(0).min(12);
        let text = format!("{:.digits$}", self.0);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(condition: &str, new: f64, old: Option<f64>) -> Verdict {
        judge(&Condition::parse(condition).unwrap(), Figures { new, old })
    }

    #[test]
    fn figures_pass_or_fail_a_condition_and_are_told() {
        let condition = "new <= old * 1.1 || new < 0.01";
        assert_eq!(judged(condition, 0.0218, Some(0.02)), Verdict::Pass);
        assert_eq!(judged(condition, 0.009, Some(0.0)), Verdict::Pass);
        let failed = "new 0.0341, old 0.02, needs new <= old * 1.1 || new < 0.01";
        assert_eq!(judged(condition, 0.03411, Some(0.02)), Verdict::Fail(failed.into()));
        assert_eq!(judged("new < 250.0", 1234.56, None), Verdict::Fail("new 1234.6, needs new < 250.0".into()));
    }

    #[test]
    fn what_is_no_finite_number_never_passes() {
        for figure in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(judged("true", figure, None), Verdict::Hold(_)), "{figure}");
            assert!(matches!(judged("old == old || true", 1.0, Some(figure)), Verdict::Hold(_)), "{figure}");
        }
    }

    #[test]
    fn the_old_figure_that_a_condition_needs_is_never_made_up() {
        assert!(matches!(judged("new <= old", 1.0, None), Verdict::Hold(_)));
    }

    #[test]
    fn placeholders_are_filled_once_and_unknown_ones_are_named() {
        let old = ["user-a".to_owned(), "user-b".to_owned()];
        let services = Services { new: "user-c", old: &old };
        let filled = services.fill(r#"x{n="{{new}}",o=~"{{old}}"}[{{window}}] {{other}}"#, Duration::from_secs(60));
        assert_eq!(filled, r#"x{n="user-c",o=~"user-a|user-b"}[60s] {{other}}"#);
        let unknown = |template| unknown_placeholder(template, &QUERY_PLACEHOLDERS);
        assert_eq!(unknown("{{new}} {{nwe}} {{old}}"), Some("{{nwe}}"));
        assert_eq!(unknown("x{a=\"{{new}}\"}[{{window}}]"), None);
    }
}

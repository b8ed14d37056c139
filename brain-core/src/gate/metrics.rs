//! Metrics of CloudWatch: what is asked of it, and what its answers mean. Both versions are asked for the same, over the same
//! window.

use super::{Condition, Expression, Figures, Judgement, Services, Verdict, fill};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Most metrics of a gate: with two statistics for an average, both versions stay far below the 500 queries of one call.
pub const METRICS_MAX: usize = 10;
/// Longest id of a metric.
pub const ID_MAX: usize = 30;
/// Longest namespace, name of a metric and name of a dimension (an AWS limit).
pub const NAME_MAX: usize = 255;
/// Most dimensions of a metric (an AWS limit).
pub const DIMENSIONS_MAX: usize = 30;
/// Longest value of a dimension (an AWS limit).
pub const VALUE_MAX: usize = 1_024;
/// Window of a gate that names none: some points of a metric that comes once a minute.
pub const WINDOW_DEFAULT: Duration = Duration::from_mins(5);
/// Most periods of a window: then the answer to all metrics of a gate fits into one page of CloudWatch's, 100,800 points.
pub const PERIODS_MAX: u128 = 1_440;
/// Period of a gate that names none: that of AWS's own metrics.
pub const PERIOD_DEFAULT: Duration = Duration::from_mins(1);
/// Periods in seconds, as CloudWatch has them. Longer ones would let a bad version serve for as long between two looks.
pub const PERIODS: [u64; 10] = [1, 5, 10, 20, 30, 60, 120, 180, 240, 300];
/// How long metrics take to be there, of a gate that does not say it: most of AWS's own come within a minute.
pub const DELAY_DEFAULT: Duration = Duration::from_mins(1);
/// Longest such time.
pub const DELAY_MAX: Duration = Duration::from_mins(15);

/// Longest number of a percentile, such as 99.9999.
const PERCENTILE_MAX: usize = 7;

/// What dimensions may name.
pub const PLACEHOLDERS: [&str; 3] = [SERVICE, CLUSTER, LOAD_BALANCER];
const SERVICE: &str = "{{service}}";
const CLUSTER: &str = "{{cluster}}";
const LOAD_BALANCER: &str = "{{load_balancer}}";

/// What a gate reads from CloudWatch, and what that has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// The figure of a version, over the metrics' ids.
    pub figure: Expression,
    /// How many samples there must be; `None`: as many as there are.
    pub samples: Option<MetricSamples>,
    /// Time that is looked back on, in whole periods.
    pub window: Duration,
    /// Time that one point stands for.
    pub period: Duration,
    /// How long ago the window ends: what is newer may not be there yet, or not all of it.
    pub delay: Duration,
    /// What has to be so.
    pub condition: Condition,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// What expressions call it.
    pub id: String,
    /// CloudWatch's namespace, such as `AWS/ECS`.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its dimensions; values may name placeholders.
    pub dimensions: BTreeMap<String, String>,
    /// What is made of its samples.
    pub statistic: Statistic,
    /// Whether it is 0 where it has no points: some metrics are published only when there is something to count.
    pub zero_when_missing: bool,
}

/// What is made of a metric's samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as CloudWatch names them")]
pub enum Statistic {
    Average,
    Sum,
    Minimum,
    Maximum,
    SampleCount,
    /// Such as `p99` or `p99.9`.
    Percentile(String),
}

/// How many samples a figure needs to mean something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSamples {
    /// Those of a version, over the metrics' ids.
    pub figure: Expression,
    /// How many there must be.
    pub minimum: u32,
}

/// What placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The services whose figures are compared.
    pub services: Services<'a>,
    /// ECS cluster.
    pub cluster: &'a str,
    /// Load balancer.
    pub load_balancer: &'a str,
}

/// What is asked of CloudWatch, in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The queries: the new version's, then the old one's where it is looked at.
    pub queries: Vec<Query>,
    /// Begin of the window.
    pub from: Timestamp,
    /// End of the window, itself not in it.
    pub to: Timestamp,
    /// Time that one point stands for.
    pub period: Duration,
}

impl Ask {
    /// The new version's queries of `now`, and the old one's of this.
    #[must_use]
    pub fn apart(mut self, mut now: Self) -> (Self, Self) {
        let new = now.queries.len() / 2;
        now.queries.truncate(new);
        self.queries.drain(..new.min(self.queries.len()));
        (now, self)
    }
}

/// A metric with one of CloudWatch's statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Query {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
    pub statistic: String,
}

/// The points of a query, in any order. The error says why they are not all there.
pub type Points = Result<Vec<f64>, String>;

impl Metrics {
    /// What is to be asked now. The error says why there is nothing to ask.
    pub fn ask(&self, places: Places<'_>, now: Timestamp) -> Result<Ask, String> {
        let Services { new, old } = places.services;
        let mut sides = vec![new];
        if self.condition.needs_old() {
            sides.push(old.first().ok_or("there is no old version to compare with")?);
        }
        let queries = sides.iter().flat_map(|service| self.metrics.iter().flat_map(|m| m.queries(service, places)));
        // Points begin at whole periods: only whole ones are looked at.
        let period = i64::try_from(self.period.as_millis()).unwrap_or(i64::MAX).max(1);
        let ended = now.0.saturating_sub(i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX));
        let to = ended - ended.rem_euclid(period);
        let from = to.saturating_sub(i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX));
        Ok(Ask { queries: queries.collect(), from: Timestamp(from), to: Timestamp(to), period: self.period })
    }

    /// What the answers to the queries of [`Self::ask`] mean, given in their order.
    #[must_use]
    pub fn judge(&self, answers: &[Points]) -> Judgement {
        match self.read(answers) {
            Ok(figures) => Judgement::of(&self.condition, figures),
            Err(why) => Verdict::Hold(why).into(),
        }
    }

    fn read(&self, answers: &[Points]) -> Result<Figures, String> {
        let asked: usize = self.metrics.iter().map(|metric| metric.statistic.asked().len()).sum();
        let (new, old) = answers.split_at(asked.min(answers.len()));
        let new = self.side(new).map_err(|why| format!("no figure of the new version: {why}"))?;
        self.has_samples(&new, "")?;
        let figure = |numbers: &BTreeMap<&str, f64>, side: &str| {
            let figure = self.figure.value(numbers);
            figure.map_err(|why| format!("no figure of the {side} version: {}: {why}", self.figure))
        };
        let new = figure(&new, "new")?;
        let old = if self.condition.needs_old() {
            let old = self.side(old).map_err(|why| format!("no figure of the old version: {why}"))?;
            self.has_samples(&old, " of the old version")?;
            Some(figure(&old, "old")?)
        } else {
            None
        };
        Ok(Figures { new, old })
    }

    fn has_samples(&self, numbers: &BTreeMap<&str, f64>, side: &str) -> Result<(), String> {
        let Some(MetricSamples { figure, minimum }) = &self.samples else { return Ok(()) };
        let seen = figure.value(numbers).map_err(|why| format!("no count of samples{side}: {figure}: {why}"))?;
        if seen.is_finite() && seen >= f64::from(*minimum) {
            return Ok(());
        }
        Err(format!("too few samples{side}: {seen} of {minimum}"))
    }

    /// Each metric's number over the whole window.
    fn side(&self, answers: &[Points]) -> Result<BTreeMap<&str, f64>, String> {
        let mut numbers = BTreeMap::new();
        let mut rest = answers;
        for metric in &self.metrics {
            let asked = metric.statistic.asked().len();
            let Some((own, others)) = rest.split_at_checked(asked) else {
                return Err(format!("metric {} was not answered", metric.id));
            };
            rest = others;
            let mut points = Vec::new();
            for answer in own {
                points.push(answer.as_ref().map_err(|why| format!("metric {}: {why}", metric.id))?.as_slice());
            }
            let number = metric.statistic.over(&points).or(metric.zero_when_missing.then_some(0.0));
            numbers.insert(metric.id.as_str(), number.ok_or_else(|| format!("metric {} has no data", metric.id))?);
        }
        Ok(numbers)
    }
}

impl Metric {
    /// Whether each version has its own.
    #[must_use]
    pub fn is_of_a_version(&self) -> bool {
        self.dimensions.values().any(|value| value.contains(SERVICE))
    }

    fn queries(&self, service: &str, places: Places<'_>) -> impl Iterator<Item = Query> {
        let value = |template: &String| {
            fill(template, |placeholder| match placeholder {
                SERVICE => Some(service.to_owned()),
                CLUSTER => Some(places.cluster.to_owned()),
                LOAD_BALANCER => Some(places.load_balancer.to_owned()),
                _ => None,
            })
        };
        let dimensions: BTreeMap<String, String> =
            self.dimensions.iter().map(|(name, template)| (name.clone(), value(template))).collect();
        self.statistic.asked().into_iter().map(move |statistic| Query {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            dimensions: dimensions.clone(),
            statistic,
        })
    }
}

impl Statistic {
    /// The statistic that CloudWatch calls so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let percentile = |text: &str| {
            let number = text.strip_prefix('p')?;
            let plain = number.len() <= PERCENTILE_MAX && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let whole = plain && !number.starts_with('.') && !number.ends_with('.');
            let within = number.parse().is_ok_and(|number: f64| number <= 100.0);
            (whole && within).then(|| text.to_owned())
        };
        Ok(match text {
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "SampleCount" => Self::SampleCount,
            other => Self::Percentile(
                percentile(other).ok_or("must be Average, Sum, Minimum, Maximum, SampleCount, or as p99 and p99.9")?,
            ),
        })
    }

    /// What CloudWatch is asked for. An average over a window is not that of its points' averages.
    fn asked(&self) -> Vec<String> {
        match self {
            Self::Average => vec!["Sum".to_owned(), "SampleCount".to_owned()],
            other => vec![other.to_string()],
        }
    }

    /// The number over a window, from the points of what was asked; `None`: there are none.
    ///
    /// The percentile of a window cannot be told from those of its points: their greatest is never less than it.
    fn over(&self, points: &[&[f64]]) -> Option<f64> {
        let first = points.first().filter(|points| !points.is_empty())?;
        Some(match self {
            Self::Average => {
                let count: f64 = points.get(1)?.iter().sum();
                (count > 0.0).then(|| first.iter().sum::<f64>() / count)?
            }
            Self::Sum | Self::SampleCount => first.iter().sum(),
            Self::Minimum => first.iter().copied().reduce(f64::min)?,
            Self::Maximum | Self::Percentile(_) => first.iter().copied().reduce(f64::max)?,
        })
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Average => "Average",
            Self::Sum => "Sum",
            Self::Minimum => "Minimum",
            Self::Maximum => "Maximum",
            Self::SampleCount => "SampleCount",
            Self::Percentile(text) => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(id: &str, statistic: Statistic) -> Metric {
        Metric {
            id: id.into(),
            namespace: "User".into(),
            name: id.into(),
            dimensions: [("Service".to_owned(), "{{service}}".to_owned())].into(),
            statistic,
            zero_when_missing: false,
        }
    }

    /// Errors by requests, of which there have to be 100.
    fn errors() -> Metrics {
        let errors = Metric { zero_when_missing: true, ..metric("errors", Statistic::Sum) };
        let expression = |text| Expression::parse(text, &["errors", "requests"]).unwrap();
        Metrics {
            metrics: vec![errors, metric("requests", Statistic::Sum)],
            figure: expression("errors / requests"),
            samples: Some(MetricSamples { figure: expression("requests"), minimum: 100 }),
            window: Duration::from_mins(5),
            period: PERIOD_DEFAULT,
            delay: DELAY_DEFAULT,
            condition: Condition::parse("new <= old * 1.1").unwrap(),
        }
    }

    fn asked(metrics: &Metrics, old: &[String], now: i64) -> Result<Ask, String> {
        let services = Services { new: "n", old };
        metrics.ask(Places { services, cluster: "c", load_balancer: "b" }, Timestamp(now))
    }

    #[test]
    fn both_versions_are_asked_for_the_same_over_one_window_of_whole_periods() {
        let mut metrics = errors();
        metrics.metrics[1].statistic = Statistic::Average;
        metrics.metrics[1].dimensions.insert("Where".into(), "{{cluster}}/{{load_balancer}}/{{x}}".into());
        let ask = asked(&metrics, &["o".into(), "older".into()], 1_000_000_030_000).unwrap();
        let said: Vec<String> = ask
            .queries
            .iter()
            .map(|query| format!("{} {} {:?}", query.name, query.statistic, query.dimensions.values()))
            .collect();
        assert_eq!(
            said,
            [
                "errors Sum [\"n\"]",
                "requests Sum [\"n\", \"c/b/{{x}}\"]",
                "requests SampleCount [\"n\", \"c/b/{{x}}\"]",
                "errors Sum [\"o\"]",
                "requests Sum [\"o\", \"c/b/{{x}}\"]",
                "requests SampleCount [\"o\", \"c/b/{{x}}\"]",
            ]
        );
        // The minute that ended a minute ago, at 30 s past a minute that is a multiple of 40 s.
        assert_eq!((ask.to.0 % 60_000, ask.to.0 - ask.from.0), (0, 300_000));
        assert!((60_000..120_000).contains(&(1_000_000_030_000 - ask.to.0)));
        metrics.condition = Condition::parse("new < 1").unwrap();
        assert_eq!(asked(&metrics, &[], 0).unwrap().queries.len(), 3);
        assert_eq!(asked(&errors(), &[], 0).unwrap_err(), "there is no old version to compare with");
    }

    fn points(all: &[&[f64]]) -> Vec<Points> {
        all.iter().map(|points| Ok(points.to_vec())).collect()
    }

    #[test]
    fn figures_are_of_the_whole_window() {
        let judged = |answers: &[&[f64]]| errors().judge(&points(answers)).verdict;
        assert_eq!(judged(&[&[1.0, 1.0], &[50.0, 50.0], &[20.0], &[1000.0]]), Verdict::Pass);
        let few = Verdict::Hold("too few samples of the old version: 99 of 100".into());
        assert_eq!(judged(&[&[1.0, 1.0], &[50.0, 50.0], &[20.0], &[99.0]]), few);
        let failed = "new 0.03, old 0.02, needs new <= old * 1.1";
        assert_eq!(judged(&[&[1.0, 2.0], &[50.0, 50.0], &[20.0], &[1000.0]]), Verdict::Fail(failed.into()));
        let over = |statistic: Statistic, all: &[&[f64]]| statistic.over(all);
        assert_eq!(over(Statistic::Average, &[&[10.0, 1.0], &[1.0, 9.0]]), Some(1.1));
        assert_eq!(over(Statistic::Average, &[&[0.0], &[0.0]]), None);
        assert_eq!(over(Statistic::Minimum, &[&[2.0, 1.0]]), Some(1.0));
        assert_eq!(over(Statistic::Percentile("p99".into()), &[&[2.0, 5.0]]), Some(5.0));
    }

    #[test]
    fn missing_data_never_passes() {
        let all: [&[f64]; 4] = [&[0.0], &[100.0], &[0.0], &[100.0]];
        assert_eq!(errors().judge(&points(&all)).verdict, Verdict::Pass, "with all of it, it passes");
        let held = |answers: &[Points]| match errors().judge(answers).verdict {
            Verdict::Hold(why) => why,
            other => panic!("{other:?}"),
        };
        for (missing, side) in [(1, "new"), (3, "old")] {
            let mut some = points(&all);
            some[missing] = Ok(Vec::new());
            assert_eq!(held(&some), format!("no figure of the {side} version: metric requests has no data"));
            some[missing] = Ok(vec![f64::NAN]);
            assert!(!held(&some).is_empty());
            some.truncate(missing);
            assert_eq!(held(&some), format!("no figure of the {side} version: metric requests was not answered"));
        }
        let mut broken = points(&all);
        broken[0] = Err("CloudWatch gives a part of the data only".into());
        let why = "no figure of the new version: metric errors: CloudWatch gives a part of the data only";
        assert_eq!(held(&broken), why, "what was not told is not 0");
        assert_eq!(held(&points(&[&[], &[99.0], &[], &[100.0]])), "too few samples: 99 of 100");
        assert_eq!(
            errors().judge(&points(&[&[], &[100.0], &[], &[100.0]])).verdict,
            Verdict::Pass,
            "errors may be missing"
        );
    }

    #[test]
    fn statistics_are_read_as_cloudwatch_writes_them() {
        for text in ["Average", "Sum", "Minimum", "Maximum", "SampleCount", "p99", "p99.9", "p0", "p100"] {
            assert_eq!(Statistic::parse(text).map(|statistic| statistic.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "average", "p", "p101", "p-1", "p1e1", "p99.", "p.9", "p9.9.9", "99", "tm90"] {
            assert!(Statistic::parse(text).is_err(), "{text}");
        }
    }
}

//! The rules of a gate's metrics.

use super::{Faults, check_placeholders, duration};
use crate::{
    gate::{
        Condition, Expression, WINDOW_MAX,
        metrics::{
            DELAY_DEFAULT, DELAY_MAX, DIMENSIONS_MAX, ID_MAX, METRICS_MAX, Metric, MetricSamples, Metrics, NAME_MAX,
            PERIOD_DEFAULT, PERIODS, PERIODS_MAX, PLACEHOLDERS, Statistic, VALUE_MAX, WINDOW_DEFAULT,
        },
    },
    project::{MetricDraft, MetricsDraft},
};
use std::{collections::BTreeMap, time::Duration};

/// Checks the metrics of a gate with this condition, whose field is `path`; `None` for a condition that is at fault itself.
pub(super) fn check(
    faults: &mut Faults,
    path: &str,
    draft: MetricsDraft,
    condition: Option<Condition>,
) -> Option<Metrics> {
    let MetricsDraft { metrics, figure, sample_figure, minimum_samples, window_ms, period_ms, delay_ms } = draft;
    let field = |name: &str| format!("{path}.{name}");
    let metrics = check_metrics(faults, &field("metrics"), metrics);
    if metrics.iter().all(|metric| metric.zero_when_missing) && !metrics.is_empty() {
        faults
            .add(&field("metrics"), "must have one without zero_when_missing: a version that tells nothing would pass");
    }
    let needs_old = condition.as_ref().is_some_and(Condition::needs_old);
    if needs_old && !metrics.iter().any(Metric::is_of_a_version) {
        let why = "must name {{service}} in a dimension, since the condition names \"old\": both versions have the same \
                   figure otherwise";
        faults.add(&field("metrics"), why);
    }
    let ids: Vec<&str> = metrics.iter().map(|metric| metric.id.as_str()).collect();
    let figure = match (figure.is_empty(), ids.as_slice()) {
        (true, [only]) => check_expression(faults, &field("figure"), only, &ids),
        (true, _) => {
            faults.add(&field("figure"), "is required where there are several metrics, such as \"errors / requests\"");
            None
        }
        (false, _) => check_expression(faults, &field("figure"), &figure, &ids),
    };
    let samples = check_samples(faults, path, &sample_figure, minimum_samples, &ids);
    let (window, period) = check_times(faults, path, window_ms, period_ms);
    let delay = delay_ms.map_or(DELAY_DEFAULT, duration);
    faults.require(delay <= DELAY_MAX, &field("delay"), "must be 0 s to 15 min");
    Some(Metrics { figure: figure?, condition: condition?, metrics, samples, window, period, delay })
}

fn check_metrics(faults: &mut Faults, path: &str, drafts: Vec<MetricDraft>) -> Vec<Metric> {
    faults.require((1..=METRICS_MAX).contains(&drafts.len()), path, "must be 1 to 10 metrics");
    let mut metrics: Vec<Metric> = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate().take(METRICS_MAX) {
        let MetricDraft { id, namespace, name, dimensions, statistic, zero_when_missing } = draft;
        let field = |name: &str| format!("{path}[{index}].{name}");
        check_id(faults, &field("id"), &id);
        if metrics.iter().any(|other| other.id == id) {
            faults.add(&field("id"), "is taken by another metric of this gate");
        }
        check_text(faults, &field("namespace"), &namespace, "such as \"AWS/ECS\"");
        check_text(faults, &field("name"), &name, "such as \"CPUUtilization\"");
        check_dimensions(faults, &field("dimensions"), &dimensions);
        let statistic = Statistic::parse(&statistic);
        let statistic = statistic.map_err(|why| faults.add(&field("statistic"), why)).unwrap_or(Statistic::Sum);
        metrics.push(Metric { id, namespace, name, dimensions, statistic, zero_when_missing });
    }
    metrics
}

/// What an expression can name: CEL reserves some words.
fn check_id(faults: &mut Faults, field: &str, id: &str) {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let ok = (1..=ID_MAX).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(letters)
        && Expression::parse(id, &[id]).is_ok();
    faults.require(
        ok,
        field,
        "must be 1 to 30 lower-case letters, digits and underscores, a letter first, no word of CEL",
    );
}

fn check_text(faults: &mut Faults, field: &str, text: &str, hint: &str) {
    let ok = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    faults.require(ok, field, &format!("must be 1 to 255 printable ASCII characters, {hint}"));
}

fn check_dimensions(faults: &mut Faults, field: &str, dimensions: &BTreeMap<String, String>) {
    faults.require(dimensions.len() <= DIMENSIONS_MAX, field, "must be at most 30");
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    for (name, value) in dimensions.iter().take(DIMENSIONS_MAX) {
        let ok = printable(name) && name.len() <= NAME_MAX && printable(value) && value.len() <= VALUE_MAX;
        faults.require(ok, field, "must have names of 1 to 255 and values of 1 to 1,024 printable ASCII characters");
        check_placeholders(faults, field, value, &PLACEHOLDERS);
    }
}

fn check_expression(faults: &mut Faults, field: &str, text: &str, ids: &[&str]) -> Option<Expression> {
    Expression::parse(text, ids).map_err(|why| faults.add(field, why)).ok()
}

fn check_samples(faults: &mut Faults, path: &str, text: &str, minimum: u32, ids: &[&str]) -> Option<MetricSamples> {
    let field = |name: &str| format!("{path}.{name}");
    match (text.is_empty(), minimum) {
        (true, 0) => None,
        (true, _) => {
            faults.add(&field("sample_figure"), "is required, since minimum_samples is set");
            None
        }
        (false, 0) => {
            faults.add(&field("minimum_samples"), "must be 1 or more, since sample_figure is set");
            None
        }
        (false, minimum) => {
            let figure = check_expression(faults, &field("sample_figure"), text, ids)?;
            Some(MetricSamples { figure, minimum })
        }
    }
}

/// Window and period.
fn check_times(
    faults: &mut Faults,
    path: &str,
    window_ms: Option<i64>,
    period_ms: Option<i64>,
) -> (Duration, Duration) {
    let field = |name: &str| format!("{path}.{name}");
    let period = period_ms.map_or(PERIOD_DEFAULT, duration);
    let known = PERIODS.iter().any(|seconds| period == Duration::from_secs(*seconds));
    faults.require(known, &field("period"), "must be 1 s, 5 s, 10 s, 20 s, 30 s, or 1 to 5 whole minutes");
    let window = window_ms.map_or(WINDOW_DEFAULT, duration);
    let periods = window.as_millis() / period.as_millis().max(1);
    let whole = window.as_millis().is_multiple_of(period.as_millis().max(1));
    let ok = window <= WINDOW_MAX && (1..=PERIODS_MAX).contains(&periods) && whole;
    // A faulty period says nothing of the window.
    faults.require(ok || !known, &field("window"), "must be 1 to 1,440 whole periods, and at most 24 h");
    (window, period)
}

#[cfg(test)]
mod tests {
    use super::super::{check_gate, tests::faults_in};
    use super::*;
    use crate::{
        gate::Check,
        project::{GateDraft, GateSourceDraft},
    };

    fn draft() -> MetricsDraft {
        let metric = |id: &str| MetricDraft {
            id: id.into(),
            namespace: "User".into(),
            name: id.into(),
            dimensions: [("Service".to_owned(), "{{service}}".to_owned())].into(),
            statistic: "Sum".into(),
            zero_when_missing: id == "errors",
        };
        MetricsDraft {
            metrics: vec![metric("errors"), metric("requests")],
            figure: "errors / requests".into(),
            ..MetricsDraft::default()
        }
    }

    fn gate(draft: MetricsDraft, condition: &str) -> GateDraft {
        let source = Some(GateSourceDraft::Metrics(draft));
        GateDraft { name: "errors".into(), source, condition: condition.into(), failures: 0 }
    }

    #[test]
    fn what_metrics_leave_out_is_filled_in() {
        let mut faults = Faults::under("");
        let mut one = draft();
        one.metrics.remove(0);
        one.figure = String::new();
        let gate = check_gate(&mut faults, "gate", gate(one, "new < old * 2")).unwrap();
        assert!(faults.found.is_empty(), "{:?}", faults.found);
        assert_eq!(gate.look_again(), Duration::from_mins(1));
        let Check::Metrics(metrics) = gate.check else { panic!("{:?}", gate.check) };
        assert_eq!(metrics.figure.to_string(), "requests");
        let minutes = |duration: Duration| duration.as_secs() / 60;
        assert_eq!((minutes(metrics.window), minutes(metrics.period), minutes(metrics.delay)), (5, 1, 1));
    }

    #[test]
    fn every_fault_of_metrics_is_named_at_once() {
        let metric = MetricDraft {
            id: "in".into(),
            dimensions: [("Service".to_owned(), "{{new}}".to_owned()), (String::new(), "x".to_owned())].into(),
            statistic: "mean".into(),
            ..MetricDraft::default()
        };
        let bad = MetricsDraft {
            metrics: vec![metric],
            figure: "in / out".into(),
            sample_figure: String::new(),
            minimum_samples: 5,
            window_ms: Some(90_000),
            period_ms: None,
            delay_ms: Some(-1),
        };
        let found = faults_in(|faults| drop(check_gate(faults, "gate", gate(bad, "new <= old"))));
        let named: Vec<&str> =
            found.iter().map(|field| field.strip_prefix("gate.cloudwatch_metrics.").unwrap()).collect();
        assert_eq!(
            named,
            [
                "metrics[0].id",
                "metrics[0].namespace",
                "metrics[0].name",
                "metrics[0].dimensions",
                "metrics[0].dimensions",
                "metrics[0].statistic",
                "metrics",
                "figure",
                "sample_figure",
                "window",
                "delay",
            ]
        );
        let mut twice = draft();
        twice.metrics.iter_mut().for_each(|metric| metric.id = "errors".into());
        twice.metrics.iter_mut().for_each(|metric| metric.zero_when_missing = true);
        twice.figure = String::new();
        twice.period_ms = Some(7_000);
        let found = faults_in(|faults| drop(check_gate(faults, "g", gate(twice, "new < 1"))));
        assert_eq!(found.len(), 4, "{found:?}");
    }
}

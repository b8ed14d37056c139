//! Gates of rollout policies.

use super::{
    ConvertError,
    deployment::{WHY_MAX, cut},
    duration_from_proto, duration_to_proto, milliseconds, timestamp_from_proto, timestamp_to_proto,
};
use crate::v1::{self, gate::Source};
use brain_core::{
    gate::{
        Check, Figure, Gate, Reading, Samples, Verdict, WINDOW_MAX,
        metrics::{Metric, MetricSamples, Metrics},
        tasks::Tasks,
    },
    project::{GateDraft, GateSourceDraft, MetricDraft, MetricsDraft, TasksDraft},
};

/// What a gate has read.
pub(super) fn reading_to_proto(reading: &Reading) -> v1::GateReading {
    let Reading { at, verdict, new, old, looks_back } = reading.clone();
    let (verdict, why) = match verdict {
        Verdict::Pass => (v1::GateVerdict::Pass, String::new()),
        Verdict::Fail(why) => (v1::GateVerdict::Fail, why),
        Verdict::Hold(why) => (v1::GateVerdict::Hold, why),
    };
    v1::GateReading {
        time: Some(timestamp_to_proto(at)),
        verdict: verdict.into(),
        why,
        new_figure: new.map(f64::from),
        old_figure: old.map(f64::from),
        looks_back: (!looks_back.is_zero()).then(|| duration_to_proto(looks_back)),
    }
}

/// What a gate has read, as an agent reports it or a person is shown it. Texts are cut to their bounds.
pub(super) fn reading_from_proto(reading: v1::GateReading) -> Result<Reading, ConvertError> {
    let v1::GateReading { time, verdict, why, new_figure, old_figure, looks_back } = reading;
    let verdict = match v1::GateVerdict::try_from(verdict) {
        Ok(v1::GateVerdict::Pass) => Verdict::Pass,
        Ok(v1::GateVerdict::Fail) => Verdict::Fail(cut(why, WHY_MAX)),
        Ok(v1::GateVerdict::Hold) => Verdict::Hold(cut(why, WHY_MAX)),
        Ok(v1::GateVerdict::Unspecified) | Err(_) => {
            return Err(ConvertError::new("report.waiting.gate_reading.verdict", "is none"));
        }
    };
    Ok(Reading {
        at: time.map(timestamp_from_proto).unwrap_or_default(),
        verdict,
        new: new_figure.and_then(Figure::new),
        old: old_figure.and_then(Figure::new),
        looks_back: looks_back.map(duration_from_proto).unwrap_or_default().min(WINDOW_MAX),
    })
}

/// What a step's gate has read, in words; `None`: it is no gate, or has not looked yet.
#[must_use]
pub fn gate_told(step: &v1::StepStatus) -> Option<String> {
    let reading = reading_from_proto(step.gate_reading.clone()?).ok()?;
    let passed_over = step.end_time.is_some() && reading.verdict != Verdict::Pass;
    Some(if passed_over { format!("passed over: {reading}") } else { reading.to_string() })
}

/// A gate as a person sends it.
pub(super) fn gate_from_proto(gate: v1::Gate) -> GateDraft {
    let v1::Gate { name, source, condition, consecutive_failures } = gate;
    GateDraft { name, source: source.map(source_from_proto), condition, failures: consecutive_failures }
}

fn source_from_proto(source: Source) -> GateSourceDraft {
    match source {
        Source::Prometheus(v1::PrometheusSource {
            server,
            query,
            old_query,
            sample_query,
            minimum_samples,
            window,
        }) => GateSourceDraft::Prometheus {
            server,
            query,
            old_query,
            sample_query,
            minimum_samples,
            window_ms: window.map(milliseconds),
        },
        Source::CloudwatchAlarms(v1::CloudWatchAlarms { names }) => GateSourceDraft::Alarms { names },
        Source::CloudwatchMetrics(v1::CloudWatchMetrics {
            metrics,
            figure,
            sample_figure,
            minimum_samples,
            window,
            period,
            delay,
        }) => GateSourceDraft::Metrics(MetricsDraft {
            metrics: metrics.into_iter().map(metric_from_proto).collect(),
            figure,
            sample_figure,
            minimum_samples,
            window_ms: window.map(milliseconds),
            period_ms: period.map(milliseconds),
            delay_ms: delay.map(milliseconds),
        }),
        Source::Tasks(v1::TaskFigures { figure, window }) => {
            GateSourceDraft::Tasks(TasksDraft { figure, window_ms: window.map(milliseconds) })
        }
    }
}

fn metric_from_proto(metric: v1::CloudWatchMetric) -> MetricDraft {
    let v1::CloudWatchMetric { id, namespace, name, dimensions, statistic, zero_when_missing } = metric;
    let dimensions = dimensions.into_iter().collect();
    MetricDraft { id, namespace, name, dimensions, statistic, zero_when_missing }
}

/// A gate.
pub(super) fn gate_to_proto(gate: &Gate) -> v1::Gate {
    let Gate { name, check, failures } = gate.clone();
    let (source, condition) = match check {
        Check::Prometheus { server, query, old_query, samples, window, condition } => {
            let (sample_query, minimum_samples) = match samples {
                Some(Samples { query, minimum }) => (query, minimum),
                None => (String::new(), 0),
            };
            let source = v1::PrometheusSource {
                server,
                query,
                old_query: old_query.unwrap_or_default(),
                sample_query,
                minimum_samples,
                window: Some(duration_to_proto(window)),
            };
            (Source::Prometheus(source), condition.to_string())
        }
        Check::Alarms { names } => (Source::CloudwatchAlarms(v1::CloudWatchAlarms { names }), String::new()),
        Check::Metrics(metrics) => {
            let condition = metrics.condition.to_string();
            (Source::CloudwatchMetrics(metrics_to_proto(metrics)), condition)
        }
        Check::Tasks(Tasks { figure, window, condition }) => {
            let source = v1::TaskFigures { figure: figure.to_string(), window: Some(duration_to_proto(window)) };
            (Source::Tasks(source), condition.to_string())
        }
    };
    v1::Gate { name, source: Some(source), condition, consecutive_failures: failures }
}

fn metrics_to_proto(metrics: Metrics) -> v1::CloudWatchMetrics {
    let Metrics { metrics, figure, samples, window, period, delay, condition: _ } = metrics;
    let (sample_figure, minimum_samples) = match samples {
        Some(MetricSamples { figure, minimum }) => (figure.to_string(), minimum),
        None => (String::new(), 0),
    };
    v1::CloudWatchMetrics {
        metrics: metrics.into_iter().map(metric_to_proto).collect(),
        figure: figure.to_string(),
        sample_figure,
        minimum_samples,
        window: Some(duration_to_proto(window)),
        period: Some(duration_to_proto(period)),
        delay: Some(duration_to_proto(delay)),
    }
}

fn metric_to_proto(metric: Metric) -> v1::CloudWatchMetric {
    let Metric { id, namespace, name, dimensions, statistic, zero_when_missing } = metric;
    let (dimensions, statistic) = (dimensions.into_iter().collect(), statistic.to_string());
    v1::CloudWatchMetric { id, namespace, name, dimensions, statistic, zero_when_missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_a_person_passed_over_is_not_told_as_passed() {
        let gate_reading = |verdict: v1::GateVerdict, why: &str| v1::GateReading {
            verdict: verdict.into(),
            why: why.into(),
            new_figure: Some(0.5),
            ..Default::default()
        };
        let told = |reading: Option<v1::GateReading>, ended: bool| {
            let end_time = ended.then(prost_types::Timestamp::default);
            gate_told(&v1::StepStatus { gate_reading: reading, end_time, ..Default::default() })
        };
        let fails = gate_reading(v1::GateVerdict::Fail, "new 0.5, needs new < 0.1");
        assert_eq!(told(Some(fails.clone()), false).unwrap(), "fails: new 0.5, needs new < 0.1");
        assert_eq!(told(Some(fails), true).unwrap(), "passed over: fails: new 0.5, needs new < 0.1");
        assert_eq!(told(Some(gate_reading(v1::GateVerdict::Pass, "")), true).unwrap(), "passes: new 0.5");
        assert_eq!(told(None, true), None);
        assert_eq!(told(Some(gate_reading(v1::GateVerdict::Unspecified, "")), true), None, "of a later release");
    }
}

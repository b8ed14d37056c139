//! Gates of rollout policies.

use super::{duration_to_proto, milliseconds};
use crate::v1::{self, gate::Source};
use brain_core::{
    gate::{Check, Gate, Samples},
    project::{GateDraft, GateSourceDraft},
};

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
    }
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
    };
    v1::Gate { name, source: Some(source), condition, consecutive_failures: failures }
}

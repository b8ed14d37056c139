//! The rules of a step's gates.

use super::Faults;
use crate::{
    gate::{
        ALARM_NAME_MAX, ALARMS_MAX, Check, Condition, FAILURES_MAX, FAILURES_MIN, GATES_MAX, Gate, NAME_MAX, QUERY_MAX,
        QUERY_PLACEHOLDERS, Samples, WINDOW_DEFAULT, WINDOW_MAX, names_new, names_old, unknown_placeholder,
    },
    project::{GateDraft, GateSourceDraft},
};
use std::time::Duration;

mod metrics;
mod tasks;

/// Checks the gates of one step, whose field is `path`.
pub(super) fn check(faults: &mut Faults, path: &str, drafts: Vec<GateDraft>) -> Vec<Gate> {
    faults.require(drafts.len() <= GATES_MAX, path, "must be at most 10");
    let mut gates: Vec<Gate> = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate().take(GATES_MAX) {
        let path = format!("{path}[{index}]");
        if gates.iter().any(|gate| gate.name == draft.name) {
            faults.add(&format!("{path}.name"), "is taken by another gate of this step");
        }
        gates.extend(check_gate(faults, &path, draft));
    }
    gates
}

/// Checks one gate, whose field is `path`.
pub(in crate::project) fn check_gate(faults: &mut Faults, path: &str, draft: GateDraft) -> Option<Gate> {
    let GateDraft { name, source, condition, failures } = draft;
    let field = |name: &str| format!("{path}.{name}");
    check_name(faults, &field("name"), &name, "such as \"error-rate\"");
    let failures = if failures == 0 { FAILURES_MIN } else { failures };
    let failures = faults.within(&field("consecutive_failures"), failures, FAILURES_MIN, FAILURES_MAX);
    let check = match source {
        None => {
            faults.add(&field("prometheus"), "or another source is required: where the figures come from");
            None
        }
        Some(GateSourceDraft::Prometheus { server, query, old_query, sample_query, minimum_samples, window_ms }) => {
            let condition = check_condition(faults, &field("condition"), &condition);
            let field = |name: &str| format!("{path}.prometheus.{name}");
            check_name(faults, &field("server"), &server, "the name of a Prometheus in the deployer's configuration");
            check_query(faults, &field("query"), &query);
            check_new(faults, &field("query"), &query);
            let needs_old = condition.as_ref().is_some_and(Condition::needs_old);
            let old_query = check_old(faults, &field("old_query"), old_query, needs_old);
            let samples = check_samples(faults, path, sample_query, minimum_samples);
            let window = check_window(faults, &field("window"), window_ms);
            condition.map(|condition| Check::Prometheus { server, query, old_query, samples, window, condition })
        }
        Some(GateSourceDraft::Alarms { names }) => {
            faults.require(condition.is_empty(), &field("condition"), "must be empty: alarms have to be OK");
            check_alarms(faults, &field("cloudwatch_alarms.names"), &names);
            Some(Check::Alarms { names })
        }
        Some(GateSourceDraft::Metrics(draft)) => {
            let condition = check_condition(faults, &field("condition"), &condition);
            metrics::check(faults, &field("cloudwatch_metrics"), draft, condition).map(Check::Metrics)
        }
        Some(GateSourceDraft::Tasks(draft)) => {
            let condition = check_condition(faults, &field("condition"), &condition);
            tasks::check(faults, &field("tasks"), draft, condition).map(Check::Tasks)
        }
    };
    check.map(|check| Gate { name, check, failures })
}

fn check_name(faults: &mut Faults, field: &str, name: &str, hint: &str) {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ok = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter);
    faults.require(ok, field, &format!("must be 1 to 63 lower-case letters, digits and hyphens, {hint}"));
}

fn check_alarms(faults: &mut Faults, field: &str, names: &[String]) {
    faults.require((1..=ALARMS_MAX).contains(&names.len()), field, "must be 1 to 10 names of alarms");
    for name in names.iter().take(ALARMS_MAX) {
        let ok = (1..=ALARM_NAME_MAX).contains(&name.len()) && !name.contains(char::is_control);
        faults.require(ok, field, "must each be 1 to 255 characters without control characters");
    }
}

fn check_condition(faults: &mut Faults, field: &str, text: &str) -> Option<Condition> {
    Condition::parse(text).map_err(|why| faults.add(field, why)).ok()
}

fn check_query(faults: &mut Faults, field: &str, query: &str) {
    faults.require(
        !query.trim().is_empty() && query.len() <= QUERY_MAX,
        field,
        "must be a query of 1 to 2,000 characters",
    );
    check_placeholders(faults, field, query, &QUERY_PLACEHOLDERS);
}

/// A figure of everything that serves would be the old version's too, and what it was before traffic moved.
fn check_new(faults: &mut Faults, field: &str, query: &str) {
    faults.require(names_new(query), field, "must name the new version's service: {{new}}");
}

fn check_placeholders(faults: &mut Faults, field: &str, template: &str, known: &[&str]) {
    if let Some(unknown) = unknown_placeholder(template, known) {
        faults.add(field, format!("has {unknown}, which stands for nothing: there are {}", known.join(", ")));
    }
}

/// The old version's query is there exactly where it is looked at.
fn check_old(faults: &mut Faults, field: &str, query: String, needed: bool) -> Option<String> {
    if query.is_empty() {
        faults.require(!needed, field, "is required, since the condition names \"old\"");
        return None;
    }
    check_query(faults, field, &query);
    faults.require(needed, field, "is of no use: the condition does not name \"old\"");
    faults.require(names_old(&query), field, "must name the old version's service: {{old}}");
    Some(query)
}

fn check_samples(faults: &mut Faults, path: &str, query: String, minimum: u32) -> Option<Samples> {
    let field = |name: &str| format!("{path}.prometheus.{name}");
    match (query.is_empty(), minimum) {
        (true, 0) => None,
        (true, _) => {
            faults.add(&field("sample_query"), "is required, since minimum_samples is set");
            None
        }
        (false, 0) => {
            faults.add(&field("minimum_samples"), "must be 1 or more, since sample_query is set");
            None
        }
        (false, minimum) => {
            check_query(faults, &field("sample_query"), &query);
            check_new(faults, &field("sample_query"), &query);
            Some(Samples { query, minimum })
        }
    }
}

fn check_window(faults: &mut Faults, field: &str, window_ms: Option<i64>) -> Duration {
    let Some(window) = window_ms.map(duration) else { return WINDOW_DEFAULT };
    let ok = window >= Duration::from_secs(1) && window <= WINDOW_MAX && window.subsec_nanos() == 0;
    faults.require(ok, field, "must be 1 s to 24 h, in whole seconds");
    window
}

/// A time as it was sent; none for one before 0, which no rule allows.
fn duration(ms: i64) -> Duration {
    u64::try_from(ms).map_or(Duration::MAX, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of the faults that a check finds.
    pub(super) fn faults_in(check: impl FnOnce(&mut Faults)) -> Vec<String> {
        let mut faults = Faults::under("");
        check(&mut faults);
        faults.found.into_iter().map(|fault| fault.field).collect()
    }

    fn draft(condition: &str) -> GateDraft {
        let source = GateSourceDraft::Prometheus {
            server: "main".into(),
            query: "errors{service=\"{{new}}\"}".into(),
            old_query: "errors{service=~\"{{old}}\"}".into(),
            sample_query: String::new(),
            minimum_samples: 0,
            window_ms: Some(30_000),
        };
        GateDraft { name: "errors".into(), source: Some(source), condition: condition.into(), failures: 0 }
    }

    fn faults_of(drafts: Vec<GateDraft>) -> Vec<(String, String)> {
        let mut faults = Faults::under("");
        check(&mut faults, "gates", drafts);
        faults.found.into_iter().map(|fault| (fault.field, fault.description)).collect()
    }

    #[test]
    fn what_a_gate_leaves_out_is_filled_in() {
        let mut faults = Faults::under("");
        let gates = check(&mut faults, "gates", vec![draft("new <= old")]);
        assert!(faults.found.is_empty(), "{:?}", faults.found);
        assert_eq!((gates[0].failures, gates[0].look_again()), (2, Duration::from_millis(7_500)));
    }

    #[test]
    fn every_fault_of_a_gate_is_named_at_once() {
        let source = GateSourceDraft::Prometheus {
            server: String::new(),
            query: "x{s=\"{{nwe}}\"}".into(),
            old_query: String::new(),
            sample_query: String::new(),
            minimum_samples: 5,
            window_ms: Some(1_500),
        };
        let bad =
            GateDraft { name: "Errors".into(), source: Some(source), condition: "new <= old".into(), failures: 1 };
        let none = GateDraft { name: "none".into(), ..GateDraft::default() };
        let alarms = GateDraft {
            name: "alarms".into(),
            source: Some(GateSourceDraft::Alarms { names: Vec::new() }),
            condition: "new < 1".into(),
            failures: 0,
        };
        let named: Vec<String> = faults_of(vec![bad, draft("new <"), none, draft("true"), draft("new < 1"), alarms])
            .into_iter()
            .map(|fault| fault.0)
            .collect();
        assert_eq!(
            named,
            [
                "gates[0].name",
                "gates[0].consecutive_failures",
                "gates[0].prometheus.server",
                "gates[0].prometheus.query",
                "gates[0].prometheus.query",
                "gates[0].prometheus.old_query",
                "gates[0].prometheus.sample_query",
                "gates[0].prometheus.window",
                "gates[1].condition",
                "gates[1].prometheus.old_query",
                "gates[2].prometheus",
                "gates[3].prometheus.old_query",
                "gates[4].name",
                "gates[4].prometheus.old_query",
                "gates[5].condition",
                "gates[5].cloudwatch_alarms.names",
            ]
        );
        assert_eq!(faults_of(vec![GateDraft::default(); 11])[0].0, "gates");
    }
}

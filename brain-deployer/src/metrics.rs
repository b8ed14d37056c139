//! What the deployer measures. Its labels are AWS's calls and the kinds of steps, both of which the code names.

use brain_process::metrics::{Kind, Metric};
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// Of a call: AWS answers within tenths of a second, and is given up after twenty.
const CALLS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0];
/// Of a wait for AWS's limits: none as a rule, ten seconds for a look, a minute for one that nobody waits for.
const WAITS: &[f64] = &[0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Of a step: a setting is a second, a task's start minutes, a bake hours.
const STEPS: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

pub(crate) const CONNECTED: &str = "brain_server_connected";
pub(crate) const RENEWALS: &str = "brain_lease_renewals_total";
pub(crate) const LOST: &str = "brain_leases_lost_total";
const CALLED: &str = "brain_aws_calls_total";
const CALL: &str = "brain_aws_call_duration_seconds";
const WAIT: &str = "brain_aws_limit_wait_seconds";
const HELD: &str = "brain_deployments_held";
const STEPPED: &str = "brain_steps_total";
const STEP: &str = "brain_step_duration_seconds";

/// All of it.
pub const MEASURED: &[Metric] = &[
    Metric { name: CONNECTED, kind: Kind::Gauge, help: "1 while the stream to the server is open." },
    Metric { name: HELD, kind: Kind::Gauge, help: "Deployments that this deployer carries out now." },
    Metric { name: RENEWALS, kind: Kind::Counter, help: "Renewals of the leases, by outcome: sent, answered." },
    Metric {
        name: LOST,
        kind: Kind::Counter,
        help: "Times that leases were not renewed in time and everything was left.",
    },
    Metric {
        name: CALLED,
        kind: Kind::Counter,
        help: "Calls of AWS, by call and outcome: ok, throttled, transient, terminal; limited ones were not sent.",
    },
    Metric { name: CALL, kind: Kind::Histogram(CALLS), help: "Time until AWS answered, by call." },
    Metric { name: WAIT, kind: Kind::Histogram(WAITS), help: "Time that a call waited to stay within AWS's limits." },
    Metric { name: STEPPED, kind: Kind::Counter, help: "Steps, by kind and outcome: done, failed, left." },
    Metric {
        name: STEP,
        kind: Kind::Histogram(STEPS),
        help: "Time of a step that was done, its waits included, by kind.",
    },
];

/// A call of AWS, or one that was not sent, has ended.
pub(crate) fn called(call: &'static str, outcome: &'static str) {
    counter!(CALLED, "call" => call, "outcome" => outcome).increment(1);
}

/// AWS has answered, after a wait for the turn.
pub(crate) fn answered(call: &'static str, waited: Duration, took: Duration) {
    histogram!(WAIT).record(waited);
    histogram!(CALL, "call" => call).record(took);
}

/// A step has ended.
pub(crate) fn stepped(kind: &'static str, outcome: &'static str, took: Duration) {
    counter!(STEPPED, "kind" => kind, "outcome" => outcome).increment(1);
    if outcome == "done" {
        histogram!(STEP, "kind" => kind).record(took);
    }
}

/// A deployment that is carried out, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held;

impl Held {
    pub(crate) fn new() -> Self {
        gauge!(HELD).increment(1.0);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        gauge!(HELD).decrement(1.0);
    }
}

//! What the watcher measures. Its one label with many values is the host: as many as the projects' repositories are on, a few.

use brain_process::metrics::{Kind, Metric};
use brain_proto::v1::PollTarget;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

/// Of a poll: one request that answers 304 takes milliseconds, a thousand digests a minute.
const POLLS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Of a wait for a turn: none where nothing is throttled, the longest that a request stands in the queue where much is.
const WAITS: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

pub(crate) const CONNECTED: &str = "brain_server_connected";
pub(crate) const WATCHED: &str = "brain_projects_watched";
const POLLED: &str = "brain_polls_total";
const POLL: &str = "brain_poll_duration_seconds";
const REQUESTS: &str = "brain_source_requests_total";
const NOT_MODIFIED: &str = "brain_source_not_modified_total";
const BYTES: &str = "brain_source_answer_bytes_total";
const WAIT: &str = "brain_source_wait_seconds";
const PAUSES: &str = "brain_source_pauses_total";
const TURNED_AWAY: &str = "brain_source_turned_away_total";
const REMAINING: &str = "brain_source_rate_limit_remaining";

/// All of it.
pub const MEASURED: &[Metric] = &[
    Metric { name: CONNECTED, kind: Kind::Gauge, help: "1 while the stream to the server is open." },
    Metric { name: WATCHED, kind: Kind::Gauge, help: "Projects that the server has assigned to this watcher." },
    Metric { name: POLLED, kind: Kind::Counter, help: "Polls, by host, target and outcome: ok, failed." },
    Metric {
        name: POLL,
        kind: Kind::Histogram(POLLS),
        help: "Time of a poll, its waits included, by host and target.",
    },
    Metric { name: REQUESTS, kind: Kind::Counter, help: "Requests, by host." },
    Metric { name: NOT_MODIFIED, kind: Kind::Counter, help: "Requests that were answered 304, by host." },
    Metric { name: BYTES, kind: Kind::Counter, help: "Bytes of answers' bodies, by host." },
    Metric { name: WAIT, kind: Kind::Histogram(WAITS), help: "Time that a request waited for its turn, by host." },
    Metric { name: PAUSES, kind: Kind::Counter, help: "Pauses that a host asked for, or that it got in trouble." },
    Metric { name: TURNED_AWAY, kind: Kind::Counter, help: "Requests that were not sent because of a pause, by host." },
    Metric { name: REMAINING, kind: Kind::Gauge, help: "Requests that the host's rate limit allows still, by host." },
];

/// What is measured of one host.
#[derive(Debug)]
pub(crate) struct OfHost {
    host: String,
    pub(crate) requests: Counter,
    pub(crate) not_modified: Counter,
    pub(crate) bytes: Counter,
    pub(crate) wait: Histogram,
    pub(crate) pauses: Counter,
    pub(crate) turned_away: Counter,
}

impl OfHost {
    pub(crate) fn new(host: &str) -> Self {
        let counted = |name: &'static str| counter!(name, "host" => host.to_owned());
        Self {
            requests: counted(REQUESTS),
            not_modified: counted(NOT_MODIFIED),
            bytes: counted(BYTES),
            wait: histogram!(WAIT, "host" => host.to_owned()),
            pauses: counted(PAUSES),
            turned_away: counted(TURNED_AWAY),
            host: host.to_owned(),
        }
    }

    /// What its rate limit allows. A host that tells of none has none of these series.
    pub(crate) fn remaining(&self) -> Gauge {
        gauge!(REMAINING, "host" => self.host.clone())
    }

    /// A poll has ended.
    pub(crate) fn polled(&self, target: PollTarget, ok: bool, took: Duration) {
        let target = if target == PollTarget::Images { "images" } else { "source" };
        let outcome = if ok { "ok" } else { "failed" };
        let host = || self.host.clone();
        counter!(POLLED, "host" => host(), "target" => target, "outcome" => outcome).increment(1);
        histogram!(POLL, "host" => host(), "target" => target).record(took);
    }
}

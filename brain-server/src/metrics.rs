//! What the server measures. Labels have few values: none names a project, a version or a person, so that ten thousand projects
//! are as many series as one.

use crate::{directory::Directory, http::open_pages, project::Shared};
use brain_core::deployment::{Deployment, Ending, Phase};
use brain_process::metrics::{Kind, Metric};
use metrics::gauge;

/// Of a call: most take a millisecond, one that waits for the disk ten, one that asks a deployer or a git host seconds.
const CALLS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Of a commit: a disk's sync takes from a tenth of a millisecond to, when it stalls, seconds.
const COMMITS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Events of one sync, by powers of four up to what one takes.
const BATCHES: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];
/// Of a deployment: half a minute where instances are there, an hour or a day with long bakes.
const DEPLOYMENTS: &[f64] =
    &[30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0];

/// Of a notice: at once, as a rule; hours where its receiver was away.
const DELAYS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0];

pub(crate) const GRPC_REQUESTS: &str = "brain_grpc_requests_total";
pub(crate) const GRPC_DURATION: &str = "brain_grpc_request_duration_seconds";
pub(crate) const GRPC_STREAMS: &str = "brain_grpc_streams";
pub(crate) const STORE_COMMITS: &str = "brain_store_commits_total";
pub(crate) const STORE_COMMIT: &str = "brain_store_commit_duration_seconds";
pub(crate) const STORE_BATCH: &str = "brain_store_batch_events";
pub(crate) const EVENTS: &str = "brain_events_total";
pub(crate) const WEBHOOKS: &str = "brain_webhooks_total";
pub(crate) const NOTIFICATIONS: &str = "brain_notifications_total";
pub(crate) const NOTIFICATION_TRIES: &str = "brain_notification_tries_total";
pub(crate) const NOTIFICATION_DELAY: &str = "brain_notification_delay_seconds";
const PROJECTS: &str = "brain_projects";
const UNOBSERVED: &str = "brain_projects_unobserved";
const ACTIVE: &str = "brain_deployments_active";
const ENDED: &str = "brain_deployments_ended_total";
const DURATION: &str = "brain_deployment_duration_seconds";
const AGENTS: &str = "brain_agents_connected";
const PAGES: &str = "brain_board_streams";
const LINE: &str = "brain_line_stopped";
const REVISION: &str = "brain_store_revision";

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, bounds: &'static [f64], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), help }
}

/// All of it.
pub const MEASURED: &[Metric] = &[
    counter(GRPC_REQUESTS, "Calls of the API that have ended, by service, method and gRPC code."),
    histogram(GRPC_DURATION, CALLS, "Time of a call from request to answer, streams left out, by service and method."),
    gauge(GRPC_STREAMS, "Streams that are open, agents' and watches, by service and method."),
    counter(STORE_COMMITS, "Commits to the store, by outcome: ok, conflict, unavailable."),
    histogram(STORE_COMMIT, COMMITS, "Time until a commit is durable, its wait for the commits before it counted."),
    histogram(STORE_BATCH, BATCHES, "Events that one sync of the disk makes durable."),
    gauge(REVISION, "The latest revision of the log."),
    counter(EVENTS, "Events that are stored, by what they are about."),
    gauge(PROJECTS, "Projects."),
    gauge(UNOBSERVED, "Projects whose production nobody has seen for too long."),
    gauge(ACTIVE, "Deployments that are not over, by phase; one that is paused counts as paused alone."),
    counter(ENDED, "Deployments that have ended, by outcome: succeeded, rolled_back, failed, cancelled."),
    histogram(DURATION, DEPLOYMENTS, "Time from a deployment's request to its end, by outcome."),
    gauge(AGENTS, "Agents that are connected, by kind."),
    gauge(PAGES, "Pages of the board that are kept current."),
    gauge(LINE, "1 while the line is stopped."),
    counter(
        NOTIFICATIONS,
        "Notices, by notification and outcome: delivered, given_up; missed counts changes of the log.",
    ),
    counter(NOTIFICATION_TRIES, "Requests that carried a notice, by notification and outcome: ok, failed."),
    histogram(NOTIFICATION_DELAY, DELAYS, "Time from what happened to its notice's delivery, by notification."),
    counter(WEBHOOKS, "Webhooks that came in, by sender and what became of them."),
];

/// Sets what is counted when somebody asks.
pub(crate) async fn gather(directory: &Directory, shared: &Shared) {
    let (watchers, deployers) = tokio::join!(shared.watchers.list(), shared.deployers.list());
    set(gauge!(AGENTS, "kind" => "watcher"), watchers.len());
    set(gauge!(AGENTS, "kind" => "deployer"), deployers.len());
    set(gauge!(PAGES), open_pages());
    set(gauge!(LINE), usize::from(shared.line.line().stopped.is_some()));
    gauge!(REVISION).set(shared.revision.load(std::sync::atomic::Ordering::Relaxed) as f64);
    let projects = directory.all();
    set(gauge!(PROJECTS), projects.len());
    let mut unobserved = 0;
    let mut active = [("pending", 0), ("running", 0), ("rolling_back", 0), ("paused", 0)];
    for project in projects {
        let inner = project.read();
        unobserved += usize::from(inner.state.unobserved.is_some());
        let phase = inner.state.active().map(phase);
        active.iter_mut().filter(|(name, _)| phase == Some(*name)).for_each(|(_, count)| *count += 1);
    }
    set(gauge!(UNOBSERVED), unobserved);
    for (phase, count) in active {
        set(gauge!(ACTIVE, "phase" => phase), count);
    }
}

fn set(gauge: metrics::Gauge, count: usize) {
    gauge.set(count as f64);
}

fn phase(deployment: &Deployment) -> &'static str {
    match deployment.phase {
        _ if deployment.paused.is_some() => "paused",
        Phase::Pending => "pending",
        Phase::RollingBack => "rolling_back",
        Phase::Running | Phase::Succeeded | Phase::Failed | Phase::Cancelled => "running",
    }
}

/// Shows every outcome from the beginning: a rate of what was never there cannot be told from one of none.
pub(crate) fn begin() {
    for ending in Ending::ALL {
        metrics::counter!(ENDED, "outcome" => ending.name()).absolute(0);
    }
}

/// A deployment has ended.
pub(crate) fn ended(deployment: &Deployment) {
    let (Some(ending), Some(ended)) = (deployment.ending(), deployment.ended) else { return };
    metrics::counter!(ENDED, "outcome" => ending.name()).increment(1);
    let took = ended.since(deployment.created);
    metrics::histogram!(DURATION, "outcome" => ending.name()).record(took);
}

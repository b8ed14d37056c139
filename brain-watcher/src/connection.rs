//! The stream to the server: opened again whenever it breaks, each time with a hello and all that was not acknowledged.

use crate::{
    metrics::{CONNECTED, WATCHED},
    poller::{Pollers, Shared},
};
use brain_proto::{
    channel::{self, Pauses},
    v1::{
        HostReport, Observations, TagOutcome, WatchAssignment, WatcherHello, WatcherServiceConnectRequest,
        WatcherServiceConnectResponse, watcher_service_client::WatcherServiceClient,
        watcher_service_connect_request::Message as ToServer, watcher_service_connect_response::Message,
    },
};
use metrics::gauge;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Endpoint};
use tracing::{info, warn};

/// Observations in one message (the API's bound).
const BATCH: usize = 1_000;
/// How often is told how the hosts are, if that changed, and most hosts that are told of (the API's bounds).
const REPORT: Duration = Duration::from_secs(1);
const HOSTS_MAX: usize = 1_000;
/// Messages that may wait to be written.
const WRITE_AHEAD: usize = 4;
/// Largest message that is taken.
const MESSAGE_MAX: usize = 8 << 20;

/// Keeps a stream open until `shutdown`.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    mut outcomes: mpsc::Receiver<TagOutcome>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let endpoint = channel::endpoint(shared.config.server.clone());
    let mut pauses = Pauses::default();
    loop {
        let begun = Instant::now();
        let ended = shutdown.run_until_cancelled(stream(&shared, &mut outcomes, &endpoint)).await;
        let Some(ended) = ended else { return Ok(()) };
        gauge!(CONNECTED).set(0.0);
        gauge!(WATCHED).set(0.0);
        let wait = pauses.after(begun.elapsed());
        match ended {
            Ok(()) => info!(?wait, "the server ended the stream, connecting again"),
            Err(status) => warn!(code = ?status.code(), why = status.message(), ?wait, "no stream, connecting again"),
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Ok(());
        }
    }
}

/// One stream, to its end. The pollers of its projects end with it: on the next one the server hands them out anew.
async fn stream(
    shared: &Arc<Shared>,
    outcomes: &mut mpsc::Receiver<TagOutcome>,
    endpoint: &Endpoint,
) -> Result<(), Status> {
    let channel =
        shared.outside.network.connect(endpoint).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = WatcherServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let (sender, receiver) = mpsc::channel(WRITE_AHEAD);
    let hello = ToServer::Hello(WatcherHello { agent: shared.config.agent.to_string() });
    send(&sender, hello).await?;
    let mut messages = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
    info!(server = %shared.config.server, "connected");
    gauge!(CONNECTED).set(1.0);
    shared.outbox.rewind();
    let mut projects: BTreeMap<String, Pollers> = BTreeMap::new();
    let read = async {
        while let Some(WatcherServiceConnectResponse { message }) = messages.message().await? {
            match message {
                Some(Message::Assignment(assignment)) => assign(shared, &mut projects, assignment),
                Some(Message::Acknowledged(acknowledged)) => {
                    for refused in &acknowledged.refused {
                        warn!(sequence = refused.sequence, why = refused.reason, "the server refused an observation");
                    }
                    let refused =
                        |sequence: u64| acknowledged.refused.iter().any(|refused| refused.sequence == sequence);
                    let done = shared.outbox.acknowledge(acknowledged.through_sequence);
                    done.iter()
                        .filter(|done| !refused(done.sequence))
                        .for_each(|stored| (shared.outside.stored)(stored));
                }
                Some(Message::PollNow(poll)) => {
                    let target = poll.target();
                    let pollers = poll.projects.iter().filter_map(|project| projects.get(project));
                    pollers.for_each(|pollers| pollers.poke(target, &poll.cause));
                }
                Some(Message::CreateTag(command)) => match projects.get(&command.project) {
                    Some(pollers) => pollers.create_tag(shared, command),
                    None => shared.tag_outcome(&command, "the watcher does not watch the project any more"),
                },
                None => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        ended = read => ended,
        ended = write(shared, outcomes, &sender) => ended,
    }
}

async fn write(
    shared: &Shared,
    outcomes: &mut mpsc::Receiver<TagOutcome>,
    sender: &mpsc::Sender<WatcherServiceConnectRequest>,
) -> Result<(), Status> {
    let mut report = interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = Vec::new();
    loop {
        let message = tokio::select! {
            // Observations may be many: who waits for a tag does not stand behind them.
            biased;
            Some(outcome) = outcomes.recv() => ToServer::TagOutcome(outcome),
            _ = report.tick() => {
                let mut hosts = shared.outside.sources.hosts();
                hosts.truncate(HOSTS_MAX);
                if hosts == reported {
                    continue;
                }
                reported.clone_from(&hosts);
                ToServer::Hosts(HostReport { hosts })
            }
            observations = shared.outbox.take(BATCH) => ToServer::Observations(Observations { observations }),
        };
        send(sender, message).await?;
    }
}

fn assign(shared: &Arc<Shared>, projects: &mut BTreeMap<String, Pollers>, assignment: WatchAssignment) {
    let WatchAssignment { watch, unwatch } = assignment;
    info!(watch = watch.len(), unwatch = unwatch.len(), "assignment");
    for project in unwatch {
        projects.remove(&project);
    }
    for project in watch {
        projects.insert(project.project.clone(), Pollers::start(shared, &project));
    }
    gauge!(WATCHED).set(projects.len() as f64);
}

async fn send(sender: &mpsc::Sender<WatcherServiceConnectRequest>, message: ToServer) -> Result<(), Status> {
    let request = WatcherServiceConnectRequest { message: Some(message) };
    sender.send(request).await.map_err(|_| Status::unavailable("the stream has ended"))
}

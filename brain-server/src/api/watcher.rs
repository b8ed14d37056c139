//! WatcherService: the server's end of a watcher's stream.

use super::{Api, BoxedStream, Watch};
use crate::{
    agents::{Connection, OUTBOX},
    project::CommandError,
    watchers::ToHub,
};
use brain_core::id::AgentName;
use brain_proto::{
    convert::observation_from_proto,
    error,
    v1::{
        HostReport, Observation, ObservationRefused, Observations, ObservationsAcknowledged, TagOutcome,
        WatcherServiceConnectRequest, WatcherServiceConnectResponse,
        watcher_service_connect_request::Message as FromWatcher, watcher_service_connect_response::Message,
        watcher_service_server::WatcherService,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

/// Time within which a hello must come.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Most observations of one message.
const OBSERVATIONS_MAX: usize = 1_000;
/// Longest cause of a poll, in characters.
const CAUSE_MAX: usize = 100;
/// Longest failure of a tag, in characters, and most hosts of a report.
const FAILURE_MAX: usize = 500;
const HOSTS_MAX: usize = 1_000;
/// Batches of a stream that may be under way; the stream is not read further until one is acknowledged.
const BATCHES_UNDER_WAY: usize = 16;

type Outbox = mpsc::Sender<Result<WatcherServiceConnectResponse, Status>>;

/// Observations of one message, handed to their projects.
struct Batch {
    through: u64,
    refused: Vec<ObservationRefused>,
    answers: Vec<oneshot::Receiver<Result<(), CommandError>>>,
}

#[tonic::async_trait]
impl WatcherService for Api {
    type ConnectStream = Watch<WatcherServiceConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<WatcherServiceConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut stream = request.into_inner();
        let agent = hello(&mut stream).await?;
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        let end = self.shared.shutdown.child_token();
        let connection = Connection::new(outbox.clone(), end.clone(), self.shared.clock.now());
        let number = connection.stream;
        self.shared.watchers.send(ToHub::Connected(agent.clone(), connection)).await;
        let (batches, under_way) = mpsc::channel(BATCHES_UNDER_WAY);
        self.shared.tasks.spawn(acknowledge(under_way, outbox.clone(), end.clone()));
        let api = self.clone();
        self.shared.tasks.spawn(async move {
            let status = api.read(&agent, stream, batches, end).await;
            if let Some(status) = status {
                let _ = outbox.try_send(Err(status));
            }
            api.shared.watchers.send(ToHub::Disconnected(agent, number)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed_stream()))
    }
}

async fn hello(stream: &mut Streaming<WatcherServiceConnectRequest>) -> Result<AgentName, Status> {
    let expected = || error::invalid_field("hello", "must be the first message of the stream");
    let first = timeout(HELLO_WITHIN, stream.message()).await.map_err(|_| expected())??;
    match first.and_then(|message| message.message) {
        Some(FromWatcher::Hello(hello)) => {
            AgentName::parse(&hello.agent).map_err(|error| error::invalid_field("hello.agent", error))
        }
        _ => Err(expected()),
    }
}

impl Api {
    /// Reads the stream to its end; answers the status with which the server ends it, if it does.
    async fn read(
        &self,
        agent: &AgentName,
        mut stream: Streaming<WatcherServiceConnectRequest>,
        batches: mpsc::Sender<Batch>,
        end: CancellationToken,
    ) -> Option<Status> {
        let by: Arc<str> = format!("watcher {agent}").into();
        loop {
            let message = tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time.
                biased;
                () = end.cancelled() => return Some(ended(&self.shared.shutdown)),
                message = stream.message() => message,
            };
            let message = match message {
                Ok(Some(message)) => message.message,
                Ok(None) => return None,
                // The connection broke, or what came cannot be read.
                Err(status) => {
                    info!(%agent, code = ?status.code(), why = status.message(), "the watcher's stream ended");
                    return None;
                }
            };
            let observations = match message {
                Some(FromWatcher::Observations(Observations { observations })) => observations,
                Some(FromWatcher::TagOutcome(TagOutcome { command, mut failure })) => {
                    if failure.chars().count() > FAILURE_MAX {
                        failure = failure.chars().take(FAILURE_MAX).collect();
                    }
                    self.shared.watchers.send(ToHub::TagOutcome { command, failure }).await;
                    continue;
                }
                Some(FromWatcher::Hosts(HostReport { mut hosts })) => {
                    hosts.truncate(HOSTS_MAX);
                    self.shared.watchers.send(ToHub::Hosts(agent.clone(), hosts)).await;
                    continue;
                }
                Some(FromWatcher::Hello(_)) | None => {
                    return Some(error::invalid_field("message", "must be no second hello, and not empty"));
                }
            };
            if observations.len() > OBSERVATIONS_MAX {
                return Some(error::invalid_field("observations", format!("must be at most {OBSERVATIONS_MAX}")));
            }
            let batch = self.hand_over(&by, observations).await;
            if batches.send(batch).await.is_err() {
                return Some(ended(&self.shared.shutdown));
            }
        }
    }

    async fn hand_over(&self, by: &Arc<str>, observations: Vec<Observation>) -> Batch {
        let mut batch = Batch { through: 0, refused: Vec::new(), answers: Vec::with_capacity(observations.len()) };
        for observation in observations {
            let (sequence, generation) = (observation.sequence, observation.generation);
            let by = told_by(by, &observation.cause);
            batch.through = batch.through.max(sequence);
            let refused = |reason: String| ObservationRefused { sequence, reason };
            match observation_from_proto(observation) {
                Err(error) => batch.refused.push(refused(error.to_string())),
                Ok((id, observation)) => match self.directory.get(&id) {
                    None => batch.refused.push(refused(format!("there is no projects/{id}"))),
                    Some(project) if !project.is_watched_under(generation) => {
                        batch.refused.push(refused(format!("projects/{id} was handed to a watcher anew since")));
                    }
                    Some(project) => batch.answers.push(project.observe(by, generation, observation).await),
                },
            }
        }
        batch
    }
}

/// Who has observed something, and what made it look.
fn told_by(watcher: &Arc<str>, cause: &str) -> Arc<str> {
    let cause: String = cause.chars().filter(|letter| !letter.is_control()).take(CAUSE_MAX).collect();
    if cause.is_empty() { Arc::clone(watcher) } else { format!("{watcher}, told by {cause}").into() }
}

/// Acknowledges batches in their order, several at once where several are done.
async fn acknowledge(mut batches: mpsc::Receiver<Batch>, outbox: Outbox, end: CancellationToken) {
    while let Some(batch) = batches.recv().await {
        let mut acknowledged = ObservationsAcknowledged { through_sequence: batch.through, refused: batch.refused };
        for answer in batch.answers {
            match answer.await {
                Ok(Ok(())) => {}
                // Not stored: the stream ends, and the watcher sends it again on the next one.
                Ok(Err(_)) | Err(_) => return end.cancel(),
            }
        }
        acknowledged.refused.sort_by_key(|refused| refused.sequence);
        let message = Some(Message::Acknowledged(acknowledged));
        if outbox.send(Ok(WatcherServiceConnectResponse { message })).await.is_err() {
            return end.cancel();
        }
    }
}

/// Why the server ended a stream.
pub(super) fn ended(shutdown: &CancellationToken) -> Status {
    if shutdown.is_cancelled() {
        return super::shutting_down();
    }
    let message = "the server ended the stream: another one of this name took its place, or it was not read, or the store \
                   is not available: connect again";
    error::unavailable("STREAM_ENDED", message, super::RETRY_AFTER)
}

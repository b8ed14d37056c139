//! DeployerService: the server's end of a deployer's stream.

use super::{Api, BoxedStream, Watch, watcher::ended};
use crate::{
    agents::{Connection, OUTBOX},
    deployers::ToHub,
    project::{CommandError, Project},
};
use brain_core::{
    deployment::{Deployment, Fact, Lease},
    housekeeping::HouseNews,
    id::AgentName,
    observation::Observation,
};
use brain_proto::{
    convert::{LookBy, ProductionLook, outcome_from_proto, production_report_from_proto, removed_from_proto},
    error, name,
    v1::{
        DeployerServiceConnectRequest, DeployerServiceConnectResponse, HousekeepingEnded, ProductionReport,
        ReportAcknowledged, StepReport, deployer_service_connect_request::Message as FromDeployer,
        deployer_service_connect_response::Message, deployer_service_server::DeployerService,
    },
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

/// Time within which a hello must come.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Longest instance id.
const INSTANCE_MAX: usize = 100;

type Outbox = mpsc::Sender<Result<DeployerServiceConnectResponse, Status>>;

/// One deployer's stream.
struct Reader {
    api: Api,
    agent: AgentName,
    instance: String,
    stream: u64,
    outbox: Outbox,
    end: CancellationToken,
}

#[tonic::async_trait]
impl DeployerService for Api {
    type ConnectStream = Watch<DeployerServiceConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<DeployerServiceConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut messages = request.into_inner();
        let (agent, instance) = hello(&mut messages).await?;
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        let end = self.shared.shutdown.child_token();
        let connection = Connection::new(outbox.clone(), end.clone(), self.shared.clock.now());
        let stream = connection.stream;
        self.shared.deployers.send(ToHub::Connected(agent.clone(), instance.clone(), connection)).await;
        let reader = Reader { api: self.clone(), agent, instance, stream, outbox, end };
        self.shared.tasks.spawn(async move {
            if let Some(status) = reader.read(messages).await {
                let _ = reader.outbox.try_send(Err(status));
            }
            let Reader { api, agent, stream, .. } = reader;
            api.shared.deployers.send(ToHub::Disconnected(agent, stream)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed_stream()))
    }
}

async fn hello(stream: &mut Streaming<DeployerServiceConnectRequest>) -> Result<(AgentName, String), Status> {
    let expected = || error::invalid_field("hello", "must be the first message of the stream");
    let first = timeout(HELLO_WITHIN, stream.message()).await.map_err(|_| expected())??;
    let Some(FromDeployer::Hello(hello)) = first.and_then(|message| message.message) else { return Err(expected()) };
    let agent = AgentName::parse(&hello.agent).map_err(|error| error::invalid_field("hello.agent", error))?;
    if hello.instance.is_empty() || hello.instance.len() > INSTANCE_MAX {
        return Err(error::invalid_field("hello.instance", format!("must be 1 to {INSTANCE_MAX} characters")));
    }
    Ok((agent, hello.instance))
}

impl Reader {
    /// Reads the stream to its end; answers the status with which the server ends it, if it does.
    async fn read(&self, mut messages: Streaming<DeployerServiceConnectRequest>) -> Option<Status> {
        loop {
            let message = tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time.
                biased;
                () = self.end.cancelled() => return Some(ended(&self.api.shared.shutdown)),
                message = messages.message() => message,
            };
            let message = match message {
                Ok(Some(message)) => message.message,
                // The deployer left, or the connection broke.
                Ok(None) | Err(_) => return None,
            };
            let outcome = match message {
                Some(FromDeployer::Renew(renew)) => {
                    let (agent, stream) = (self.agent.clone(), self.stream);
                    self.api.shared.deployers.send(ToHub::Renew { agent, stream, sequence: renew.sequence }).await;
                    Ok(())
                }
                Some(FromDeployer::Report(report)) => self.report(report).await,
                Some(FromDeployer::Production(report)) => self.production(report).await,
                Some(FromDeployer::Plan(answer)) => {
                    self.api.shared.deployers.send(ToHub::Planned(answer)).await;
                    Ok(())
                }
                Some(FromDeployer::HousekeepingFound(found)) => {
                    self.api.shared.deployers.send(ToHub::LookedAfter(found)).await;
                    Ok(())
                }
                Some(FromDeployer::HousekeepingEnded(ended)) => self.house_kept(ended).await,
                Some(FromDeployer::Hello(_)) | None => {
                    Err(error::invalid_field("message", "must be a renewal, a report or an answer after the hello"))
                }
            };
            if let Err(status) = outcome {
                return Some(status);
            }
        }
    }

    /// Hands a report to its project, in the stream's order, and acknowledges it when it is durable.
    async fn report(&self, report: StepReport) -> Result<(), Status> {
        let StepReport { sequence, deployment, generation, rollback, step, outcome } = report;
        let (id, number) =
            name::parse_deployment(&deployment).map_err(|error| error::invalid_field("report.deployment", error))?;
        let outcome = outcome_from_proto(outcome).map_err(|error| error::invalid_field(&error.field, error.why))?;
        let Some(project) = self.api.directory.get(&id) else {
            return self.acknowledge(sequence, true).await;
        };
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let fact = Fact::Reported { generation, rollback, step, outcome };
        let answer = project.fact(format!("deployer {}", self.agent), number, fact).await;
        let (outbox, end) = (self.outbox.clone(), self.end.clone());
        self.api.shared.tasks.spawn(answer_report(answer, deployment, sequence, outbox, end));
        Ok(())
    }

    /// What was removed is stored; then others may act.
    async fn house_kept(&self, ended: HousekeepingEnded) -> Result<(), Status> {
        let HousekeepingEnded { id, project, removed } = ended;
        let project =
            name::parse_project(&project).map_err(|error| error::invalid_field("housekeeping_ended.project", error))?;
        let Some(project) = self.api.directory.get(&project) else { return Ok(()) };
        let (api, agent) = (self.api.clone(), self.agent.clone());
        let lease = Lease { agent: agent.clone(), instance: self.instance.clone() };
        self.api.shared.tasks.spawn(async move {
            let news = HouseNews::Ended { lease, removed: removed_from_proto(removed) };
            if let Err(error) = project.keep_house(format!("deployer {agent}"), news).await {
                warn!(project = %project.id, %error, "what housekeeping has removed was not stored");
            }
            api.shared.deployers.send(ToHub::HouseKept(project.id.clone(), id, agent)).await;
        });
        Ok(())
    }

    async fn acknowledge(&self, sequence: u64, stale: bool) -> Result<(), Status> {
        send_acknowledgement(&self.outbox, sequence, stale).await;
        Ok(())
    }

    /// Takes a look at production. One that shows nothing new costs no write.
    async fn production(&self, report: ProductionReport) -> Result<(), Status> {
        let look =
            production_report_from_proto(report).map_err(|error| error::invalid_field(&error.field, error.why))?;
        let ProductionLook { project, by, age, seen } = look;
        let Some(project) = self.api.directory.get(&project) else { return Ok(()) };
        if !is_of_now(&project, by) {
            debug!(agent = %self.agent, project = %project.id, "a look of an earlier assignment was refused");
            return Ok(());
        }
        let observation = match seen {
            Ok(services) => Observation::Production(services),
            Err(why) => {
                project.unseen(why);
                return Ok(());
            }
        };
        if project.read().state.observe(observation.clone()).is_empty() {
            project.seen(age);
            return Ok(());
        }
        let by = format!("deployer {}", self.agent).into();
        let answer = project.observe(by, 0, observation).await;
        let end = self.end.clone();
        self.api.shared.tasks.spawn(async move {
            match answer.await {
                // Not before: what is stored would be taken for what was seen.
                Ok(Ok(())) => project.seen(age),
                // Not stored: the stream ends, and the first report of the next one says it again.
                Ok(Err(_)) | Err(_) => end.cancel(),
            }
        });
        Ok(())
    }
}

/// Whether whoever has looked at production is the one that is to look now.
fn is_of_now(project: &Project, by: LookBy) -> bool {
    match by {
        // A deployer of an earlier release tells no generation.
        LookBy::Observer(generation) => {
            generation == 0 || generation == project.observe_generation.load(Ordering::Relaxed)
        }
        LookBy::Step { deployment, generation } => {
            let inner = project.read();
            let leased = |active: &Deployment| {
                active.number == deployment && active.generation == generation && active.lease.is_some()
            };
            inner.state.active().is_some_and(leased)
        }
    }
}

async fn answer_report(
    answer: oneshot::Receiver<Result<Deployment, CommandError>>,
    deployment: String,
    sequence: u64,
    outbox: Outbox,
    end: CancellationToken,
) {
    match answer.await {
        Ok(Ok(_)) => send_acknowledgement(&outbox, sequence, false).await,
        Ok(Err(CommandError::Misfit(why))) => {
            info!(deployment, %why, "a report was refused");
            send_acknowledgement(&outbox, sequence, true).await;
        }
        Ok(Err(error)) => {
            warn!(deployment, %error, "a report was not stored, the stream is ended");
            end.cancel();
        }
        Err(_) => end.cancel(),
    }
}

async fn send_acknowledgement(outbox: &Outbox, sequence: u64, stale: bool) {
    let message = Some(Message::Acknowledged(ReportAcknowledged { sequence, stale }));
    // A stream that is gone needs no acknowledgement.
    let _ = outbox.send(Ok(DeployerServiceConnectResponse { message })).await;
}

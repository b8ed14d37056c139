//! The server: the typed API over the projects' actors, the durable store, and the hubs that share work out to agents.
//!
//! The main story: [`run`] loads the [`store`], builds the [`directory`] of projects, starts the hubs of [`watchers`] and
//! [`deployers`], and serves the [`api`] until it is told to stop. A [`project`]'s actor alone changes its state.

use crate::{
    clock::Clock, config::Config, deployers::DeployerTimes, directory::Directory, http::hooks::Hooks, project::Shared,
    store::Store,
};
use anyhow::Context;
use brain_proto::v1::{
    agent_service_server::AgentServiceServer, board_service_server::BoardServiceServer,
    deployer_service_server::DeployerServiceServer, deployment_service_server::DeploymentServiceServer,
    event_service_server::EventServiceServer, line_service_server::LineServiceServer,
    production_service_server::ProductionServiceServer, project_service_server::ProjectServiceServer,
    watcher_service_server::WatcherServiceServer,
};
use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::broadcast,
    time::timeout,
};
use tokio_stream::Stream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::Connected};
use tonic_health::server::HealthReporter;
use tower::limit::GlobalConcurrencyLimitLayer;
use tracing::{info, warn};

mod agents;
pub mod api;
mod checkpoint;
pub mod clock;
pub mod config;
mod dependencies;
pub mod deployers;
pub mod directory;
mod housekeeping;
pub mod http;
pub mod line;
mod measured;
pub mod metrics;
pub mod notifications;
pub mod project;
pub mod store;
mod tagger;
mod unattended;
pub mod watchers;

/// Changes of projects that a reader of the board may be behind before it is sent everything again.
const BOARD_BEHIND: usize = 4_096;
/// Changes that the tagger may be behind before it looks at every project.
const TAGGING_BEHIND: usize = 1_024;
/// Time that calls have to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Name under which the server itself appears in events.
const SERVER: &str = "brain-server";
/// Calls that are decided at the same time; further ones wait. A stream counts until it is open.
const CALLS_MAX: usize = 4_096;
/// How often an idle connection is asked whether it lives, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Largest message that is taken: 20,000 tags fit.
const MESSAGE_MAX: usize = 8 << 20;

/// Where calls come in. A simulation brings connections of its own.
#[derive(Debug)]
pub struct Incoming<A> {
    /// Connections of the gRPC API.
    pub api: A,
    /// Board, webhooks and health; `None`: none of them is served.
    pub http: Option<TcpListener>,
}

/// Serves on `incoming` until `shutdown`, then ends every stream, writes a checkpoint and closes the store.
pub async fn run<A, C>(
    config: Config,
    store: Arc<dyn Store>,
    clock: Clock,
    incoming: Incoming<A>,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    A: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let Incoming { api: incoming, http: http_incoming } = incoming;
    metrics::begin();
    let store: Arc<dyn Store> = Arc::new(store::Measured::new(store));
    let loaded = store.load().await.context("the store could not be loaded")?;
    let loaded =
        unattended::account(&*store, loaded, clock.now()).await.context("the time away could not be stored")?;
    let tasks = TaskTracker::new();
    // The actors, hubs and streams end after the API has stopped taking calls.
    let ending = CancellationToken::new();
    let (watchers, watchers_inbox) = watchers::channel();
    let (deployers, deployers_inbox) = deployers::channel();
    let shared = Arc::new(Shared {
        store: Arc::clone(&store),
        clock,
        deployers: deployers.clone(),
        watchers,
        line: line::Switch::new(loaded.line.clone()),
        changed: broadcast::Sender::new(BOARD_BEHIND),
        tagging: broadcast::Sender::new(TAGGING_BEHIND),
        patience: brain_core::looks::patience(config.observe_interval),
        revision: AtomicU64::new(0),
        tasks: tasks.clone(),
        shutdown: ending.clone(),
    });
    let (count, revision) = (loaded.projects.len(), loaded.revision.0);
    let directory = Arc::new(Directory::new(Arc::clone(&shared), loaded, config.host_ports.clone()));
    for project in directory.all() {
        project.wake();
    }
    let times = DeployerTimes { lease: config.lease, observe: config.observe_interval };
    tasks.spawn(watchers::run(
        watchers_inbox,
        Arc::clone(&directory),
        config.poll_interval,
        shared.clock.now(),
        ending.clone(),
    ));
    tasks.spawn(deployers::run(
        deployers,
        deployers_inbox,
        Arc::clone(&directory),
        (times, shared.clock.now()),
        tasks.clone(),
        ending.clone(),
    ));
    tasks.spawn(unattended::attend(Arc::clone(&shared)));
    tasks.spawn(checkpoint::run(Arc::clone(&directory), Arc::clone(&shared)));
    tasks.spawn(dependencies::run(Arc::clone(&directory), Arc::clone(&shared)));
    {
        let (directory, shared, every) = (Arc::clone(&directory), Arc::clone(&shared), config.housekeeping_interval);
        let ended = ending.clone();
        tasks.spawn(async move { ended.run_until_cancelled(housekeeping::run(directory, shared, every)).await });
    }
    tasks.spawn(line::run(Arc::clone(&directory), Arc::clone(&shared)));
    tasks.spawn(tagger::run(Arc::clone(&directory), Arc::clone(&shared)));
    let board = config.board_url.clone();
    notifications::start(config.notifications.clone(), &config.data, board, &directory, &shared, revision)?;
    let hooks = Arc::new(Hooks::new(config.webhook_secret.clone()));
    if let Some(incoming) = http_incoming {
        let (directory, shared, hooks) = (Arc::clone(&directory), Arc::clone(&shared), Arc::clone(&hooks));
        let board = http::BoardSettings { read_only: config.board_read_only, url: config.board_url.clone() };
        let served = http::serve(incoming, directory, shared, hooks, board);
        tasks.spawn(async move {
            if let Err(error) = served.await {
                warn!(%error, "neither board nor webhooks are served any more; everything else goes on");
            }
        });
    }
    info!(address = %config.listen, projects = count, revision, "brain-server serves");
    let api = api::Api::new(Arc::clone(&directory), Arc::clone(&shared), hooks);
    let served = serve(api, incoming, shutdown, ending.clone()).await;
    close(directory, shared, tasks, ending).await?;
    served
}

/// Serves until `shutdown` or `ending`; then health turns to NOT_SERVING, streams end, and calls have a while to finish.
async fn serve<A, C>(
    api: api::Api,
    incoming: A,
    shutdown: CancellationToken,
    ending: CancellationToken,
) -> anyhow::Result<()>
where
    A: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, true).await;
    let stopping = CancellationToken::new();
    let stop = {
        let stopping = stopping.clone();
        let ending = ending.clone();
        async move {
            tokio::select! {
                () = shutdown.cancelled() => info!("shutting down"),
                () = ending.cancelled() => warn!("shutting down: the store belongs to somebody else now"),
            }
            set_health(&health, false).await;
            ending.cancel();
            stopping.cancel();
        }
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tcp_nodelay(true)
        .layer(measured::Measured::new(&[brain_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET])?)
        .layer(GlobalConcurrencyLimitLayer::new(CALLS_MAX))
        .add_service(health_service)
        .add_service(reflection_v1()?)
        .add_service(reflection_v1alpha()?)
        .add_service(ProjectServiceServer::new(api.clone()))
        .add_service(DeploymentServiceServer::new(api.clone()))
        .add_service(ProductionServiceServer::new(api.clone()))
        .add_service(BoardServiceServer::new(api.clone()))
        .add_service(EventServiceServer::new(api.clone()))
        .add_service(AgentServiceServer::new(api.clone()))
        .add_service(LineServiceServer::new(api.clone()))
        .add_service(WatcherServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_MAX))
        .add_service(DeployerServiceServer::new(api).max_decoding_message_size(MESSAGE_MAX))
        .serve_with_incoming_shutdown(incoming, stop);
    let deadline = async {
        stopping.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server => served.context("serving failed"),
        () = deadline => {
            warn!("calls that did not end in time are cut off");
            Ok(())
        }
    }
}

async fn close(
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    ending.cancel();
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        warn!("tasks that did not end in time are left behind");
    }
    if let Err(error) = checkpoint::Checkpointer::new(directory, Arc::clone(&shared)).write().await {
        warn!(%error, "no checkpoint was written; the log keeps everything");
    }
    unattended::note(&shared).await;
    shared.store.close().await.context("the store could not be closed")?;
    info!("brain-server has ended");
    Ok(())
}

async fn set_health(health: &HealthReporter, serving: bool) {
    let status = if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
    let services = [
        "",
        brain_proto::v1::agent_service_server::SERVICE_NAME,
        brain_proto::v1::board_service_server::SERVICE_NAME,
        brain_proto::v1::deployer_service_server::SERVICE_NAME,
        brain_proto::v1::deployment_service_server::SERVICE_NAME,
        brain_proto::v1::event_service_server::SERVICE_NAME,
        brain_proto::v1::line_service_server::SERVICE_NAME,
        brain_proto::v1::production_service_server::SERVICE_NAME,
        brain_proto::v1::project_service_server::SERVICE_NAME,
        brain_proto::v1::watcher_service_server::SERVICE_NAME,
    ];
    for service in services {
        health.set_service_status(service, status).await;
    }
}

/// Everything that reflection tells of: with the error details, so that clients print them.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(brain_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

fn reflection_v1() -> anyhow::Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
> {
    Ok(reflection().build_v1()?)
}

/// The version that grpcurl's released binaries speak.
fn reflection_v1alpha() -> anyhow::Result<
    tonic_reflection::server::v1alpha::ServerReflectionServer<impl tonic_reflection::server::v1alpha::ServerReflection>,
> {
    Ok(reflection().build_v1alpha()?)
}

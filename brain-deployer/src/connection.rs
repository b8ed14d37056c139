//! The stream to the server: opened again whenever it breaks. What a stream was given ends with it, before the next begins.

use crate::{
    cloud,
    config::Config,
    housekeeping,
    lease::LeaseClock,
    metrics::{self, CONNECTED, LOST, RENEWALS},
    observers::Observers,
    outside::Outside,
    prometheus::Prometheus,
    rehearsal::{self, Call, Rehearsed},
    reporter::{Reporter, StepKey},
    step::Context,
    waits::Waits,
    worker::{self, Work},
};
use ::metrics::{counter, gauge};
use brain_core::{
    housekeeping::Keep,
    plan::{Plan, Step},
    trace::Place,
};
use brain_proto::{
    channel::{self, Pauses},
    convert::{drift_to_proto, duration_from_proto, plan_from_proto, spec_from_proto, timestamp_from_proto},
    v1::{
        self, DeployerHello, DeployerServiceConnectRequest, DeployerServiceConnectResponse, DeployersConnected,
        DeploymentAssignment, DeploymentRevoked, HousekeepingEnded, HousekeepingFound, HousekeepingRequest,
        HousekeepingRevoked, PlanAnswer, PlanRequest, RenewLeases, deployer_service_client::DeployerServiceClient,
        deployer_service_connect_request::Message as ToServer, deployer_service_connect_response::Message,
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, Streaming, transport::Endpoint};
use tracing::{Instrument, info, info_span, warn};

/// Messages that may wait to be written.
const WRITE_AHEAD: usize = 64;
/// Time within which the server answers a hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// Largest message that is taken: the list of 10,000 projects to observe fits.
const MESSAGE_MAX: usize = 16 << 20;

/// What outlives a stream.
pub(crate) struct Deployer {
    pub(crate) config: Config,
    pub(crate) outside: Outside,
    pub(crate) prometheus: Arc<Prometheus>,
    /// Chosen anew at each start of the process.
    pub(crate) instance: String,
    /// What was learned of how long waits take.
    pub(crate) waits: Arc<Waits>,
}

/// Keeps a stream open until `shutdown`.
pub(crate) async fn keep(mut deployer: Deployer, shutdown: CancellationToken) {
    let credentials = Arc::new(std::mem::take(&mut deployer.config.credentials));
    let endpoint = channel::endpoint(deployer.config.server.clone());
    let mut pauses = Pauses::default();
    while !shutdown.is_cancelled() {
        let begun = Instant::now();
        let end = shutdown.child_token();
        let tasks = TaskTracker::new();
        let ended =
            shutdown.run_until_cancelled(stream(&deployer, &endpoint, &credentials, tasks.clone(), end.clone())).await;
        gauge!(CONNECTED).set(0.0);
        // Whoever acts next must be the only one.
        end.cancel();
        tasks.close();
        tasks.wait().await;
        let wait = pauses.after(begun.elapsed());
        match ended {
            None => return,
            Some(Ok(())) => info!("the stream ended, connecting again"),
            Some(Err(status)) => warn!(code = ?status.code(), why = status.message(), "no stream, connecting again"),
        }
        shutdown.run_until_cancelled(sleep(wait)).await;
    }
}

/// One stream, to its end.
async fn stream(
    deployer: &Deployer,
    endpoint: &Endpoint,
    credentials: &Arc<crate::config::Credentials>,
    tasks: TaskTracker,
    end: CancellationToken,
) -> Result<(), Status> {
    let channel =
        deployer.outside.network.connect(endpoint).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = DeployerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let (sender, receiver) = mpsc::channel(WRITE_AHEAD);
    let hello = DeployerHello { agent: deployer.config.agent.to_string(), instance: deployer.instance.clone() };
    let hello = DeployerServiceConnectRequest { message: Some(ToServer::Hello(hello)) };
    sender.send(hello).await.map_err(|_| Status::internal("no stream"))?;
    let sent = Instant::now();
    let mut messages = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
    let lease = welcome(&mut messages, sent).await?;
    info!(server = %deployer.config.server, "connected");
    gauge!(CONNECTED).set(1.0);
    let reporter = Arc::new(Reporter::new(sender));
    let observers =
        Observers::new(Arc::clone(&deployer.outside.clouds), Arc::clone(&reporter), tasks.clone(), end.clone());
    let mut session = Session {
        deployer,
        credentials: Arc::clone(credentials),
        reporter,
        lease: Arc::new(lease),
        observers,
        workers: HashMap::new(),
        tasks,
        end,
    };
    session.serve(messages).await
}

async fn welcome(
    messages: &mut Streaming<DeployerServiceConnectResponse>,
    sent: Instant,
) -> Result<LeaseClock, Status> {
    let late = |_| Status::deadline_exceeded("the server does not answer the hello");
    let first = timeout(WELCOME_WITHIN, messages.message()).await.map_err(late)??;
    match first.and_then(|first| first.message) {
        Some(Message::Welcome(welcome)) => {
            let length = welcome.lease_duration.map(duration_from_proto).unwrap_or_default();
            Ok(LeaseClock::new(length, sent))
        }
        _ => Err(Status::internal("the server does not begin with a welcome")),
    }
}

struct Worker {
    deployment: String,
    generation: u64,
    /// Asks it to leave, once the call that it is at is answered.
    leave: CancellationToken,
    task: JoinHandle<()>,
}

struct Session<'a> {
    deployer: &'a Deployer,
    credentials: Arc<crate::config::Credentials>,
    reporter: Arc<Reporter>,
    lease: Arc<LeaseClock>,
    observers: Observers,
    /// By project: one thing at a time is done to it.
    workers: HashMap<String, Worker>,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Session<'_> {
    async fn serve(&mut self, mut messages: Streaming<DeployerServiceConnectResponse>) -> Result<(), Status> {
        let mut renew = tokio::time::interval(self.lease.period().max(Duration::from_millis(10)));
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let until = self.lease.until();
            tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time; the end of the lease before all.
                biased;
                () = sleep_until(until) => {
                    counter!(LOST).increment(1);
                    return Err(Status::deadline_exceeded("the lease was not renewed in time: all deployments are left"));
                }
                _ = renew.tick() => {
                    counter!(RENEWALS, "outcome" => "sent").increment(1);
                    let sequence = self.lease.renewing(Instant::now());
                    let renewal = ToServer::Renew(RenewLeases { sequence });
                    if self.reporter.send(renewal).await.is_err() {
                        return Ok(());
                    }
                }
                message = messages.message() => match message? {
                    Some(message) => self.handle(message).await,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn handle(&mut self, message: DeployerServiceConnectResponse) {
        match message.message {
            Some(Message::Renewed(renewed)) => {
                counter!(RENEWALS, "outcome" => "answered").increment(1);
                self.lease.renewed(renewed.sequence);
            }
            Some(Message::Acknowledged(mut acknowledged)) => {
                acknowledged.stale &= !self.deployer.outside.deaf;
                self.reporter.acknowledged(acknowledged);
            }
            Some(Message::DeployersConnected(DeployersConnected { count })) => {
                self.deployer.outside.clouds.shared_by(count);
                self.observers.shared_by(count);
            }
            Some(Message::Observe(observe)) => self.observers.set(observe.projects),
            Some(Message::Assignment(assignment)) => self.take_up(assignment).await,
            Some(Message::Plan(request)) => self.rehearse(request).await,
            Some(Message::Housekeeping(request)) => self.keep_house(request).await,
            Some(Message::HousekeepingRevoked(HousekeepingRevoked { id, project })) => {
                let revoked = |worker: &&Worker| worker.deployment == housekeeping::named(id);
                if let Some(worker) = self.workers.get(&project).filter(revoked) {
                    worker.leave.cancel();
                }
            }
            Some(Message::Revoked(DeploymentRevoked { deployment, generation })) => {
                let revoked = |worker: &&Worker| worker.deployment == deployment && worker.generation <= generation;
                if let Some(worker) = self.workers.values().find(revoked).filter(|_| !self.deployer.outside.deaf) {
                    worker.leave.cancel();
                }
            }
            Some(Message::Welcome(_)) | None => {}
        }
    }

    async fn take_up(&mut self, assignment: DeploymentAssignment) {
        self.workers.retain(|_, worker| !worker.task.is_finished());
        let deployment = assignment.deployment.clone();
        let generation = assignment.generation;
        let work = match self.work(assignment).await {
            Ok(work) => work,
            // Nothing can be reported in terms that are not understood: the step's timeout brings it to a person.
            Err(error) => return warn!(deployment, %error, "an assignment is not understood"),
        };
        let project = work.project.clone();
        let former = self.workers.remove(&project);
        let leave = CancellationToken::new();
        let (asked, ended) = (leave.clone(), self.end.clone());
        let (reporter, lease) = (Arc::clone(&self.reporter), Arc::clone(&self.lease));
        let span = info_span!("deployment", name = deployment);
        let task = self.tasks.spawn(
            async move {
                let work = async {
                    if let Some(former) = former {
                        former.leave.cancel();
                        let _ = former.task.await;
                    }
                    let _held = metrics::Held::new();
                    worker::run(work, reporter, lease, asked).await;
                };
                ended.run_until_cancelled(work).await;
            }
            .instrument(span),
        );
        self.workers.insert(project, Worker { deployment, generation, leave, task });
    }

    /// Looks at a plan beside everything else; whoever asked waits only so long.
    async fn rehearse(&self, request: PlanRequest) {
        let PlanRequest { id, project, plan } = request;
        let understood = self.context(project.unwrap_or_default(), plan.unwrap_or_default()).await;
        let (reporter, ended) = (Arc::clone(&self.reporter), self.end.clone());
        self.tasks.spawn(async move {
            let look = async {
                let (steps, note) = match understood {
                    Ok((context, plan)) => rehearsed(&context, &plan).await,
                    Err(error) => (Vec::new(), format!("the deployer does not understand the plan: {error:#}")),
                };
                let _ = reporter.send(ToServer::Plan(PlanAnswer { id, steps, note })).await;
            };
            ended.run_until_cancelled(look).await;
        });
    }

    /// Looks after a project beside everything else, or removes what may go as the only one that does something to it.
    async fn keep_house(&mut self, request: HousekeepingRequest) {
        // As it is now: nothing prolongs it.
        let until = self.lease.until();
        let (id, remove) = (request.id, request.remove);
        let project = request.project.as_ref().map(|project| project.name.clone()).unwrap_or_default();
        let (context, plan, keep) = match self.house(request).await {
            Ok(house) => house,
            Err(error) => return warn!(%error, "a request for housekeeping is not understood"),
        };
        let (reporter, ended) = (Arc::clone(&self.reporter), self.end.clone());
        self.workers.retain(|_, worker| !worker.task.is_finished());
        if !remove {
            self.tasks.spawn(async move {
                let look = async {
                    let found = housekeeping::look(&context, &keep, &plan.steps).await;
                    let _ = reporter.send(ToServer::HousekeepingFound(found_to_proto(id, found))).await;
                };
                ended.run_until_cancelled(look).await;
            });
            return;
        }
        if self.workers.contains_key(&project) {
            return info!(project, "housekeeping makes way for a deployment");
        }
        let leave = CancellationToken::new();
        let (asked, name) = (leave.clone(), project.clone());
        let task = self.tasks.spawn(async move {
            let work = async {
                let removed = housekeeping::run(context, keep, until, asked).await;
                let _ =
                    reporter.send(ToServer::HousekeepingEnded(HousekeepingEnded { id, project: name, removed })).await;
            };
            ended.run_until_cancelled(work).await;
        });
        self.workers.insert(project, Worker { deployment: housekeeping::named(id), generation: 0, leave, task });
    }

    async fn house(&self, request: HousekeepingRequest) -> anyhow::Result<(Context, Plan, Keep)> {
        let HousekeepingRequest {
            id: _,
            project,
            plan,
            keep_services,
            keep_images,
            keep_task_definitions,
            instances,
            look_for_drift,
            remove: _,
        } = request;
        let (context, plan) = self.context(project.unwrap_or_default(), plan.unwrap_or_default()).await?;
        let keep = Keep {
            services: keep_services.into_iter().collect(),
            images: keep_images.into_iter().collect(),
            task_definitions: keep_task_definitions,
            instances,
            looks_for_drift: look_for_drift,
            after: 0,
        };
        Ok((context, plan, keep))
    }

    async fn context(&self, project: v1::Project, plan: v1::Plan) -> anyhow::Result<(Context, Plan)> {
        let spec = spec_from_proto(project)?;
        let plan = plan_from_proto(plan)?;
        let context = Context {
            cloud: self
                .deployer
                .outside
                .clouds
                .get(&spec.target.region, spec.target.role_arn.as_deref().unwrap_or_default())
                .await,
            names: Arc::new(plan.names.clone()),
            services: services_of(&plan).into(),
            wanted: plan.to.iter().filter(|count| count.count > 0).map(|count| count.service.clone()).collect(),
            makes: plan.steps.iter().any(|step| matches!(step, Step::Service { .. })),
            looks: Arc::default(),
            spec: Arc::new(spec),
            prometheus: Arc::clone(&self.deployer.prometheus) as _,
            credentials: Arc::clone(&self.credentials),
            now: Arc::clone(&self.deployer.outside.now),
            first_shifted: None,
            shifted: None,
            old_serves: true,
            watching: None,
            step_began_ms: 0,
            failures_since_ms: 0,
            stopped_seen_ms: Arc::default(),
            watch: Arc::default(),
            evidence: Arc::default(),
            set_up: plan.set_up,
            adopt: plan.adopt,
            made: BTreeSet::new(),
            goes_back: false,
            keeps_definition: false,
        };
        Ok((context, plan))
    }

    async fn work(&self, assignment: DeploymentAssignment) -> anyhow::Result<Work> {
        let DeploymentAssignment {
            deployment,
            generation,
            project,
            plan,
            rollback,
            next_step,
            step_elapsed,
            create_time: _,
            made_resources,
            shift_time,
            goes_back,
            watched,
            first_shift_time,
            traceparent,
            keeps_definition,
        } = assignment;
        let project = project.unwrap_or_default();
        let name = project.name.clone();
        let (mut context, plan) = self.context(project, plan.unwrap_or_default()).await?;
        context.first_shifted = first_shift_time.map(timestamp_from_proto);
        context.shifted = shift_time.map(timestamp_from_proto);
        context.made = made_resources.into_iter().collect();
        (context.goes_back, context.keeps_definition) = (goes_back, keeps_definition);
        Ok(Work {
            context,
            place: Place::parse(&traceparent),
            project: name,
            plan,
            key: StepKey { deployment, generation, rollback, step: next_step },
            elapsed: step_elapsed.map(duration_from_proto).unwrap_or_default(),
            watched: watched.map(duration_from_proto).unwrap_or_default(),
            interval: self.deployer.config.step_interval,
            waits: Arc::clone(&self.deployer.waits),
            now: Arc::clone(&self.deployer.outside.now),
        })
    }
}

/// What each step would do, or why that is not known.
async fn rehearsed(context: &Context, plan: &Plan) -> (Vec<v1::PlannedStep>, String) {
    match rehearsal::rehearse(context, &plan.steps).await {
        Ok(steps) => (steps.into_iter().map(planned_to_proto).collect(), String::new()),
        Err(error) => (Vec::new(), format!("AWS could not be asked: {error}")),
    }
}

/// Names of the services that a plan is about.
fn services_of(plan: &Plan) -> Vec<String> {
    let made = plan.steps.iter().filter_map(|step| match step {
        Step::Service { service, .. }
        | Step::Scale { service, .. }
        | Step::Weigh { service, .. }
        | Step::Verify { service, .. } => Some(service),
        _ => None,
    });
    let served = plan.from.iter().chain(&plan.to).map(|count| &count.service);
    let names: BTreeSet<&String> = made.chain(served).collect();
    names.into_iter().cloned().collect()
}

fn found_to_proto(id: u64, found: cloud::Result<housekeeping::Found>) -> HousekeepingFound {
    match found {
        Ok(housekeeping::Found { drift, removable }) => {
            let drift = drift.iter().map(drift_to_proto).collect();
            HousekeepingFound { id, drift, removable, note: String::new() }
        }
        Err(error) => {
            let note = format!("AWS could not be asked: {error}");
            HousekeepingFound { id, drift: Vec::new(), removable: Vec::new(), note }
        }
    }
}

fn planned_to_proto(step: Rehearsed) -> v1::PlannedStep {
    let Rehearsed { calls, fault, drift } = step;
    let call_to_proto = |Call { call, resource, differences }| v1::PlannedCall { call, resource, differences };
    v1::PlannedStep {
        calls: calls.into_iter().map(call_to_proto).collect(),
        fault: fault.unwrap_or_default(),
        drift: drift.iter().map(drift_to_proto).collect(),
    }
}

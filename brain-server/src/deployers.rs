//! The hub of the deployers: who is connected, who holds which lease, and what waits to be handed out.
//!
//! One task owns the table. It never waits for a deployer or a project: what takes time runs in tasks that report back. The
//! table decides who may act: a deployment goes to another process only after the former one's lease has run out, whatever
//! the deployment's own state says, because until then the former process may be acting.

use crate::{
    SERVER,
    agents::{Connected, Connection},
    directory::Directory,
    project::{CommandError, Project},
};
use brain_core::{
    assignment::agent_for,
    deployment::{Deployment, Fact, Lease},
    id::{AgentName, ProjectId},
    time::Timestamp,
};
use brain_proto::{
    name,
    v1::{
        DeployerServiceConnectResponse, DeployerWelcome, DeployersConnected, DeploymentRevoked, HousekeepingFound,
        LeasesRenewed, PlanAnswer, PlanRequest, deployer_service_connect_response::Message,
    },
};
pub(crate) use handle::{DeployerView, ToHub};
pub use handle::{DeployersHandle, DeployersInbox, channel};
use observing::Observing;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

mod handle;
mod house;
mod messages;
mod observing;

/// How often leases are looked at, and changed lists and numbers are sent.
const TICK: Duration = Duration::from_millis(100);
/// Time that a deployer has to look at a project, of which housekeeping sees more than a plan.
const LOOK_WITHIN: Duration = Duration::from_secs(60);
/// Pause before a change that the store did not take is tried again.
const RETRY: Duration = Duration::from_secs(1);

type DeployerConnection = Connection<DeployerServiceConnectResponse>;
type DeploymentKey = (ProjectId, u64);

/// Lengths of time that operators set.
#[derive(Debug, Clone, Copy)]
pub struct DeployerTimes {
    /// Length of a lease.
    pub lease: Duration,
    /// Time between two observations of a project's production.
    pub observe: Duration,
}

/// Runs until `shutdown`. `started`: when the server did.
pub async fn run(
    handle: DeployersHandle,
    inbox: DeployersInbox,
    directory: Arc<Directory>,
    (times, started): (DeployerTimes, Timestamp),
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let mut hub = Hub {
        handle,
        directory,
        times,
        tasks,
        deployers: Connected::new(),
        leases: BTreeMap::new(),
        leftovers: BTreeMap::new(),
        pending: BTreeSet::new(),
        lists_changed: false,
        observing: Observing::new(started),
        plans: BTreeMap::new(),
        looks: BTreeMap::new(),
        last_plan: 0,
    };
    hub.take_up();
    shutdown.run_until_cancelled(hub.serve(inbox)).await;
}

struct Deployer {
    instance: String,
    connection: DeployerConnection,
    /// When it was last heard of.
    heard: Instant,
    /// How many deployers there are, as it was told; 0: it was not yet.
    told: u32,
}

struct HeldLease {
    lease: Lease,
    expires: Instant,
    /// A change of the lease is being committed.
    busy: bool,
}

/// A process that was to leave and may still act, or that keeps house.
struct Leftover {
    lease: Lease,
    expires: Instant,
    /// Number of its housekeeping; `None`: it was at a deployment, or the former server knew.
    house: Option<u64>,
}

struct Hub {
    handle: DeployersHandle,
    directory: Arc<Directory>,
    times: DeployerTimes,
    tasks: TaskTracker,
    deployers: Connected<Deployer>,
    leases: BTreeMap<DeploymentKey, HeldLease>,
    /// Deployers that keep house, or were to leave a deployment which is over, and may still act until then: the next deployment of the
    /// project is theirs, for a process does one thing to a project at a time, or waits.
    leftovers: BTreeMap<ProjectId, Leftover>,
    /// Projects whose active deployment waits for a deployer.
    pending: BTreeSet<ProjectId>,
    lists_changed: bool,
    observing: Observing,
    /// Who waits for a deployer's word on a plan.
    plans: BTreeMap<u64, oneshot::Sender<PlanAnswer>>,
    /// Who waits for what a deployer sees, and which one that is.
    looks: BTreeMap<u64, (Lease, oneshot::Sender<(HousekeepingFound, Lease)>)>,
    last_plan: u64,
}

impl Hub {
    /// Takes up what was under way when the server ended. A process that held a lease then may still be acting, so its
    /// lease is counted anew from now, and so is one that was taken away.
    fn take_up(&mut self) {
        let expires = Instant::now() + self.times.lease;
        for project in self.directory.all() {
            let inner = project.read();
            let former = || inner.state.deployments.back().and_then(|latest| latest.former.clone());
            // Whoever keeps house began after the former process's lease had run out, or is the same one.
            if let Some(lease) = inner.state.housekeeper.clone().or_else(former) {
                self.leftovers.insert(project.id.clone(), Leftover { lease, expires, house: None });
            }
            let Some(deployment) = inner.state.active() else { continue };
            if let Some(lease) = &deployment.lease {
                let held = HeldLease { lease: lease.clone(), expires, busy: false };
                self.leases.insert((project.id.clone(), deployment.number), held);
            } else {
                self.pending.insert(project.id.clone());
            }
        }
    }

    async fn serve(mut self, DeployersInbox(mut inbox): DeployersInbox) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time.
                biased;
                _ = tick.tick() => self.tick(),
                message = inbox.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, message: ToHub) {
        match message {
            ToHub::Connected(agent, instance, connection) => self.connected(agent, instance, connection),
            ToHub::Disconnected(agent, stream) => {
                if self.deployers.get(&agent).is_some_and(|deployer| deployer.connection.stream == stream) {
                    info!(%agent, "deployer disconnected");
                    self.deployers.remove(&agent);
                    self.lists_changed = true;
                }
            }
            ToHub::Renew { agent, stream, sequence } => self.renew(&agent, stream, sequence),
            ToHub::List(reply) => {
                let view = |(agent, deployer): (&AgentName, &Deployer)| DeployerView {
                    agent: agent.clone(),
                    since: deployer.connection.since,
                    deployments: self.leases.values().filter(|held| held.lease.agent == *agent).count(),
                };
                let _ = reply.send(self.deployers.iter().map(view).collect());
            }
            ToHub::Plan(project, request, reply) => self.plan(&project, *request, reply),
            ToHub::Planned(answer) => {
                if let Some(reply) = self.plans.remove(&answer.id) {
                    // Whoever asked may have left.
                    let _ = reply.send(answer);
                }
            }
            ToHub::LookAfter(project, request, reply) => self.look_after(&project, *request, reply),
            ToHub::LookedAfter(found) => self.looked_after(found),
            ToHub::KeepHouse(project, lease, request) => self.keep_house(project, lease, *request),
            ToHub::LeaveHouse(project) => self.leave_house(&project),
            ToHub::HouseKept(project, id, agent) => self.house_kept(&project, id, &agent),
            ToHub::HandOut(project) => {
                self.leave_house(&project);
                self.pending.insert(project.clone());
                self.hand_out(&project);
            }
            ToHub::Withdraw(project, number, generation) => {
                let revoked = DeploymentRevoked { deployment: name::deployment(&project, number), generation };
                if let Some(held) = self.leases.get(&(project, number)) {
                    self.tell(&held.lease, Message::Revoked(revoked));
                }
            }
            ToHub::Ended(project, number, leftover) => {
                if let Some(held) = self.leases.remove(&(project.clone(), number)).filter(|_| leftover) {
                    let HeldLease { lease, expires, busy: _ } = held;
                    self.leftovers.insert(project, Leftover { lease, expires, house: None });
                }
            }
            ToHub::Defined => self.lists_changed = true,
            ToHub::Leased(key, stream, result) => self.leased(key, stream, result),
            ToHub::EndOfLeaseFailed(key, lease) => {
                let expires = Instant::now() + RETRY;
                self.leases.entry(key).or_insert(HeldLease { lease, expires, busy: false });
            }
        }
    }

    fn connected(&mut self, agent: AgentName, instance: String, connection: DeployerConnection) {
        info!(%agent, instance, "deployer connected");
        let lease_duration = Some(brain_proto::convert::duration_to_proto(self.times.lease));
        let welcome = Message::Welcome(DeployerWelcome { lease_duration });
        connection.send(&agent, DeployerServiceConnectResponse { message: Some(welcome) });
        let expires = Instant::now() + self.times.lease;
        // A process that comes back gets its deployments anew; on the new stream it knows of none.
        for ((project, _), held) in &mut self.leases {
            if held.lease.agent == agent && held.lease.instance == instance {
                held.expires = expires;
                self.pending.insert(project.clone());
            }
        }
        self.deployers.insert(agent, Deployer { instance, connection, heard: Instant::now(), told: 0 });
        // Before anything is handed to it. The others hear of it at the next tick, once for all that come together.
        self.send_counts(|told| told == 0);
        self.lists_changed = true;
        self.send_lists();
        self.hand_out_pending();
    }

    /// Tells deployers how many there are, who share AWS's limits: of those whose number is another one, the `chosen`.
    fn send_counts(&mut self, chosen: impl Fn(u32) -> bool) {
        let count = u32::try_from(self.deployers.len()).unwrap_or(u32::MAX);
        for (agent, deployer) in &mut self.deployers {
            if deployer.told != count && chosen(deployer.told) {
                deployer.told = count;
                let message = Some(Message::DeployersConnected(DeployersConnected { count }));
                deployer.connection.send(agent, DeployerServiceConnectResponse { message });
            }
        }
    }

    fn renew(&mut self, agent: &AgentName, stream: u64, sequence: u64) {
        let Some(deployer) = self.deployers.get_mut(agent).filter(|deployer| deployer.connection.stream == stream)
        else {
            return;
        };
        deployer.heard = Instant::now();
        let expires = deployer.heard + self.times.lease;
        for held in self.leases.values_mut() {
            if held.lease.agent == *agent && held.lease.instance == deployer.instance {
                held.expires = expires;
            }
        }
        let message = Some(Message::Renewed(LeasesRenewed { sequence }));
        deployer.connection.send(agent, DeployerServiceConnectResponse { message });
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.let_go(now);
        let expired: Vec<DeploymentKey> = self
            .leases
            .iter()
            .filter(|(_, held)| held.expires <= now && !held.busy)
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            if let Some(held) = self.leases.remove(&key) {
                self.end_lease(key, held.lease);
            }
        }
        self.send_counts(|_| true);
        self.hand_out_pending();
        self.send_lists();
        self.look_over(now);
    }

    fn end_lease(&self, key: DeploymentKey, lease: Lease) {
        let Some(project) = self.directory.get(&key.0) else { return };
        warn!(agent = %lease.agent, project = %key.0, deployment = key.1, "the lease ran out");
        let hub = self.handle.clone();
        self.tasks.spawn(async move {
            let answer = project.fact(SERVER.to_owned(), key.1, Fact::LeaseEnded).await;
            match answer.await {
                Ok(Err(CommandError::Store(_))) => hub.send(ToHub::EndOfLeaseFailed(key, lease)).await,
                // Nobody holds it: it was to be handed out anew already.
                Ok(Err(_)) => hub.hand_out(&key.0).await,
                // The state machine asks for the hand-out itself.
                _ => {}
            }
        });
    }

    fn hand_out_pending(&mut self) {
        for project in self.pending.clone() {
            self.hand_out(&project);
        }
    }

    /// Leases the project's active deployment to a deployer, if one may have it now.
    fn hand_out(&mut self, id: &ProjectId) {
        let Some(project) = self.directory.get(id) else {
            self.pending.remove(id);
            return;
        };
        let wanting = |deployment: &&Deployment| deployment.wants_deployer();
        let number = project.read().state.active().filter(wanting).map(|deployment| deployment.number);
        let Some(number) = number else {
            self.pending.remove(id);
            return;
        };
        let leftover = self.leftovers.get(id).map(|leftover| &leftover.lease);
        let key = (id.clone(), number);
        let agent = match self.leases.get(&key) {
            Some(held) if held.busy => return,
            Some(held) => held.lease.agent.clone(),
            None => match leftover.map(|lease| &lease.agent).or_else(|| agent_for(id, self.alive())) {
                Some(agent) => agent.clone(),
                None => return,
            },
        };
        let Some(deployer) = self.deployers.get(&agent) else { return };
        let lease = Lease { agent: agent.clone(), instance: deployer.instance.clone() };
        let held = self.leases.get(&key).map(|held| &held.lease).or(leftover);
        if held.is_some_and(|held| *held != lease) {
            // Another process of that name: the former one's lease has to run out first.
            return;
        }
        self.pending.remove(id);
        let stream = deployer.connection.stream;
        let expires = Instant::now() + self.times.lease;
        self.leases.insert(key.clone(), HeldLease { lease: lease.clone(), expires, busy: true });
        let hub = self.handle.clone();
        self.tasks.spawn(lease_out(hub, project, key, stream, lease));
    }

    fn leased(&mut self, key: DeploymentKey, stream: u64, result: Result<Box<Deployment>, CommandError>) {
        let Some(held) = self.leases.get_mut(&key) else { return };
        held.busy = false;
        match result {
            Ok(deployment) => {
                // From when the deployer may begin, and not from when it was chosen.
                held.expires = Instant::now() + self.times.lease;
                let lease = held.lease.clone();
                let Some(project) = self.directory.get(&key.0) else { return };
                if !project.read().state.deployment(key.1).is_some_and(|now| now.is_held_under(deployment.generation)) {
                    // Withdrawn before this was told: whoever was to have it knows nothing of it, and is to do nothing.
                    return;
                }
                let assignment = messages::assignment(&project, &deployment);
                let current = self.deployers.get(&lease.agent).filter(|deployer| deployer.connection.stream == stream);
                match current {
                    Some(_) => self.tell(&lease, Message::Assignment(assignment)),
                    // It came back on another stream meanwhile: that one is told, under a new lease.
                    None => drop(self.pending.insert(key.0)),
                }
            }
            Err(error) => {
                info!(project = %key.0, deployment = key.1, %error, "the lease was refused");
                self.leases.remove(&key);
                if matches!(error, CommandError::Store(_)) {
                    self.pending.insert(key.0);
                }
            }
        }
    }

    fn plan(&mut self, project: &ProjectId, mut request: PlanRequest, reply: oneshot::Sender<PlanAnswer>) {
        self.plans.retain(|_, waiting| !waiting.is_closed());
        let Some(agent) = agent_for(project, self.alive()) else { return };
        let Some(deployer) = self.deployers.get(agent) else { return };
        let id = self.last_plan + 1;
        request.id = id;
        deployer.connection.send(agent, DeployerServiceConnectResponse { message: Some(Message::Plan(request)) });
        self.last_plan = id;
        self.plans.insert(id, reply);
    }

    /// Deployers that renew. One that does not, though its connection stands, would only let another lease run out.
    fn alive(&self) -> impl Iterator<Item = &AgentName> {
        let since = Instant::now().checked_sub(self.times.lease);
        let alive = move |deployer: &Deployer| since.is_none_or(|since| deployer.heard >= since);
        self.deployers.iter().filter(move |(_, deployer)| alive(deployer)).map(|(agent, _)| agent)
    }

    fn tell(&self, lease: &Lease, message: Message) {
        if let Some(deployer) = self.deployers.get(&lease.agent).filter(|deployer| deployer.instance == lease.instance)
        {
            deployer.connection.send(&lease.agent, DeployerServiceConnectResponse { message: Some(message) });
        }
    }
}

async fn lease_out(hub: DeployersHandle, project: Arc<Project>, key: DeploymentKey, stream: u64, lease: Lease) {
    let by = lease.agent.to_string();
    let answer = project.fact(by, key.1, Fact::Leased(lease)).await.await;
    let result = answer.unwrap_or(Err(CommandError::ShuttingDown)).map(Box::new);
    hub.send(ToHub::Leased(key, stream, result)).await;
}

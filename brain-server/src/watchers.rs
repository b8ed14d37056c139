//! The hub of the watchers: who is connected, and which projects each one watches.
//!
//! One task owns the table. It never waits for a watcher or a project.

use crate::{
    agents::{Connected, Connection},
    directory::Directory,
};
use brain_core::{
    assignment::agent_for,
    id::{AgentName, ProjectId},
    observation::PollTarget,
    time::Timestamp,
};
use brain_proto::{
    convert::{duration_to_proto, timestamp_to_proto},
    name,
    v1::{
        self, HostState, PollNow, TagCommand, WatchAssignment, WatchedProject, WatcherServiceConnectResponse,
        watcher_service_connect_response::Message,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Messages to the hub that may wait.
const INBOX: usize = 1_024;
/// Pause after a watcher came or went, before the projects are shared out anew: many come and go together.
const SETTLE: Duration = Duration::from_millis(50);
/// Projects in one assignment message.
const ASSIGNMENT_MAX: usize = 1_000;

/// Time after a hint within which further ones are gathered, so that a burst is a few messages.
const MERGE: Duration = Duration::from_millis(20);
/// Tags that may be under way.
const TAGS_UNDER_WAY: usize = 1_000;
/// Time in which a watcher must have made a tag: a few requests to a slow host.
const TAG_WITHIN: Duration = Duration::from_secs(30);

type WatcherConnection = Connection<WatcherServiceConnectResponse>;

/// Speaks to the hub.
#[derive(Debug, Clone)]
pub struct WatchersHandle(mpsc::Sender<ToHub>);

#[derive(Debug)]
pub(crate) enum ToHub {
    Connected(AgentName, WatcherConnection),
    Disconnected(AgentName, u64),
    Defined(ProjectId),
    Poll(ProjectId, PollTarget, &'static str),
    CreateTag { tag: NewTag, reply: oneshot::Sender<Result<(), TagError>> },
    TagOutcome { command: u64, failure: String },
    Hosts(AgentName, Vec<HostState>),
    List(oneshot::Sender<Vec<WatcherView>>),
}

/// A tag that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewTag {
    pub(crate) project: ProjectId,
    pub(crate) tag: String,
    pub(crate) commit: String,
}

/// Why a tag was not made.
#[derive(Debug, Clone, Error)]
pub(crate) enum TagError {
    /// Nobody could try, or nobody said how it ended: another try may succeed.
    #[error("no watcher made it: {0}")]
    NoWatcher(&'static str),
    /// The watcher tried, and this is what it says.
    #[error("{0}")]
    Failed(String),
}

/// A watcher as people see it.
#[derive(Debug)]
pub(crate) struct WatcherView {
    pub(crate) agent: AgentName,
    pub(crate) since: Timestamp,
    pub(crate) projects: usize,
    pub(crate) hosts: Vec<HostState>,
}

#[derive(Debug)]
struct Watcher {
    connection: WatcherConnection,
    hosts: Vec<HostState>,
}

#[derive(Debug)]
struct TagUnderWay {
    agent: AgentName,
    reply: oneshot::Sender<Result<(), TagError>>,
}

/// Hints that wait to be sent together.
#[derive(Debug, Default)]
struct Hints {
    waiting: BTreeMap<(PollTarget, ProjectId), &'static str>,
    /// Until when hints are gathered, after some were sent.
    until: Option<Instant>,
}

/// Mail for the hub, until it runs.
#[derive(Debug)]
pub struct WatchersInbox(mpsc::Receiver<ToHub>);

/// The two ends of the hub's mailbox.
#[must_use]
pub fn channel() -> (WatchersHandle, WatchersInbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    (WatchersHandle(sender), WatchersInbox(receiver))
}

impl WatchersHandle {
    /// A project is new, its definition changed, or it is gone.
    pub(crate) async fn project_defined(&self, project: &ProjectId) {
        self.send(ToHub::Defined(project.clone())).await;
    }

    /// Something of the project may have changed: its watcher is to look at once.
    pub(crate) async fn poll(&self, project: &ProjectId, target: PollTarget, cause: &'static str) {
        self.send(ToHub::Poll(project.clone(), target, cause)).await;
    }

    /// Has a watcher make a tag.
    pub(crate) async fn create_tag(&self, tag: NewTag) -> Result<(), TagError> {
        let (reply, answer) = oneshot::channel();
        self.send(ToHub::CreateTag { tag, reply }).await;
        match timeout(TAG_WITHIN, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(TagError::NoWatcher("it left before it said how it ended")),
            Err(_) => Err(TagError::NoWatcher("it did not say in time how it ended")),
        }
    }

    /// All connected watchers.
    pub(crate) async fn list(&self) -> Vec<WatcherView> {
        let (reply, answer) = oneshot::channel();
        self.send(ToHub::List(reply)).await;
        answer.await.unwrap_or_default()
    }

    pub(crate) async fn send(&self, message: ToHub) {
        // The hub ends only when the server does.
        let _ = self.0.send(message).await;
    }
}

/// Runs until `shutdown`.
pub async fn run(
    inbox: WatchersInbox,
    directory: Arc<Directory>,
    poll_interval: Duration,
    started: Timestamp,
    shutdown: CancellationToken,
) {
    let hub = Hub {
        directory,
        poll_interval,
        watchers: Connected::new(),
        owners: HashMap::new(),
        due: None,
        hints: Hints::default(),
        tags: HashMap::new(),
        commands: 0,
        generation: u64::try_from(started.0).unwrap_or(0).saturating_mul(1_000),
    };
    shutdown.run_until_cancelled(hub.serve(inbox)).await;
}

struct Hub {
    directory: Arc<Directory>,
    poll_interval: Duration,
    watchers: Connected<Watcher>,
    /// Which watcher was told to watch a project.
    owners: HashMap<ProjectId, AgentName>,
    /// When all projects are to be shared out anew.
    due: Option<Instant>,
    hints: Hints,
    tags: HashMap<u64, TagUnderWay>,
    commands: u64,
    /// Counts assignments. It begins with the time, so that those of an earlier run of the server are lower.
    generation: u64,
}

impl Hub {
    async fn serve(mut self, WatchersInbox(mut inbox): WatchersInbox) {
        loop {
            let due = self.due;
            let hints_due = self.hints.until;
            let message = tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time.
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    self.share_out();
                    continue;
                }
                () = sleep_until(hints_due.unwrap_or_else(Instant::now)), if hints_due.is_some() => {
                    self.hints.until = None;
                    self.send_hints();
                    continue;
                }
                message = inbox.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
            };
            self.handle(message);
        }
    }

    fn handle(&mut self, message: ToHub) {
        match message {
            ToHub::Connected(agent, connection) => {
                info!(%agent, "watcher connected");
                // A new stream knows nothing yet, whatever an earlier one of the same name was told.
                self.forget(&agent);
                self.watchers.insert(agent, Watcher { connection, hosts: Vec::new() });
                self.due.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            ToHub::Disconnected(agent, stream) => {
                if self.watchers.get(&agent).is_some_and(|watcher| watcher.connection.stream == stream) {
                    info!(%agent, "watcher disconnected");
                    self.watchers.remove(&agent);
                    self.forget(&agent);
                    self.due.get_or_insert_with(|| Instant::now() + SETTLE);
                }
            }
            ToHub::Defined(project) => {
                let former = self.owners.remove(&project);
                if self.directory.get(&project).is_some() {
                    self.assign(std::iter::once(project.clone()));
                }
                let now = self.owners.get(&project);
                if let Some(former) = former.filter(|former| now != Some(former)) {
                    self.tell(&former, Vec::new(), vec![name::project(&project)]);
                }
            }
            ToHub::Poll(project, target, cause) => {
                self.hints.waiting.insert((target, project), cause);
                // The first hint goes at once; those that come right after it go together.
                if self.hints.until.is_none() {
                    self.send_hints();
                }
            }
            ToHub::CreateTag { tag, reply } => self.create_tag(tag, reply),
            ToHub::TagOutcome { command, failure } => {
                let Some(under_way) = self.tags.remove(&command) else { return };
                let outcome = if failure.is_empty() { Ok(()) } else { Err(TagError::Failed(failure)) };
                let _ = under_way.reply.send(outcome);
            }
            ToHub::Hosts(agent, hosts) => {
                if let Some(watcher) = self.watchers.get_mut(&agent) {
                    watcher.hosts = hosts;
                }
            }
            ToHub::List(reply) => drop(reply.send(self.list())),
        }
    }

    /// Nothing is the agent's any more; whoever waits for a tag of it is told by the end of its channel.
    fn forget(&mut self, agent: &AgentName) {
        self.owners.retain(|_, owner| owner != agent);
        self.tags.retain(|_, tag| tag.agent != *agent);
    }

    fn list(&self) -> Vec<WatcherView> {
        let mut projects: HashMap<&AgentName, usize> = HashMap::new();
        for owner in self.owners.values() {
            *projects.entry(owner).or_default() += 1;
        }
        let view = |(agent, watcher): (&AgentName, &Watcher)| WatcherView {
            agent: agent.clone(),
            since: watcher.connection.since,
            projects: projects.get(agent).copied().unwrap_or(0),
            hosts: watcher.hosts.clone(),
        };
        self.watchers.iter().map(view).collect()
    }

    fn send_hints(&mut self) {
        let mut hints: BTreeMap<(AgentName, PollTarget, &'static str), Vec<String>> = BTreeMap::new();
        for ((target, project), cause) in std::mem::take(&mut self.hints.waiting) {
            // A project without a watcher is polled as soon as it has one.
            let Some(owner) = self.owners.get(&project) else { continue };
            hints.entry((owner.clone(), target, cause)).or_default().push(name::project(&project));
        }
        if hints.is_empty() {
            return;
        }
        self.hints.until = Some(Instant::now() + MERGE);
        for ((agent, target, cause), projects) in hints {
            let target = match target {
                PollTarget::Source => v1::PollTarget::Source,
                PollTarget::Images => v1::PollTarget::Images,
            };
            self.say(&agent, Message::PollNow(PollNow { projects, target: target.into(), cause: cause.to_owned() }));
        }
    }

    fn create_tag(&mut self, tag: NewTag, reply: oneshot::Sender<Result<(), TagError>>) {
        // Whoever stopped waiting needs no place.
        self.tags.retain(|_, tag| !tag.reply.is_closed());
        let NewTag { project, tag, commit } = tag;
        let Some(agent) = self.owners.get(&project).cloned() else {
            let _ = reply.send(Err(TagError::NoWatcher("none is connected")));
            return;
        };
        if self.tags.len() >= TAGS_UNDER_WAY {
            let _ = reply.send(Err(TagError::NoWatcher("too many tags are being made")));
            return;
        }
        self.commands += 1;
        let command = self.commands;
        self.tags.insert(command, TagUnderWay { agent: agent.clone(), reply });
        let project = name::project(&project);
        self.say(&agent, Message::CreateTag(TagCommand { command, project, tag, commit }));
    }

    fn say(&self, agent: &AgentName, message: Message) {
        if let Some(watcher) = self.watchers.get(agent) {
            watcher.connection.send(agent, WatcherServiceConnectResponse { message: Some(message) });
        }
    }

    fn share_out(&mut self) {
        let ids: Vec<ProjectId> = self.directory.all().iter().map(|project| project.id.clone()).collect();
        self.assign(ids.into_iter());
    }

    /// Tells watchers what changes for them.
    fn assign(&mut self, projects: impl Iterator<Item = ProjectId>) {
        let mut watch: HashMap<AgentName, Vec<WatchedProject>> = HashMap::new();
        let mut unwatch: HashMap<AgentName, Vec<String>> = HashMap::new();
        for id in projects {
            let Some(agent) = agent_for(&id, self.watchers.keys()).cloned() else { return };
            if self.owners.get(&id) == Some(&agent) {
                continue;
            }
            let Some(watched) = self.watched(&id) else { continue };
            watch.entry(agent.clone()).or_default().push(watched);
            if let Some(former) = self.owners.insert(id.clone(), agent.clone()) {
                unwatch.entry(former).or_default().push(name::project(&id));
            }
        }
        let agents: BTreeSet<AgentName> = watch.keys().chain(unwatch.keys()).cloned().collect();
        for agent in agents {
            let watch = watch.remove(&agent).unwrap_or_default();
            self.tell(&agent, watch, unwatch.remove(&agent).unwrap_or_default());
        }
    }

    fn tell(&self, agent: &AgentName, mut watch: Vec<WatchedProject>, unwatch: Vec<String>) {
        let assignment = |watch, unwatch| Message::Assignment(WatchAssignment { watch, unwatch });
        if !unwatch.is_empty() {
            self.say(agent, assignment(Vec::new(), unwatch));
        }
        while !watch.is_empty() {
            let rest = watch.split_off(watch.len().min(ASSIGNMENT_MAX));
            self.say(agent, assignment(watch, Vec::new()));
            watch = rest;
        }
    }

    /// What its next watcher is told of a project. From then on nothing is taken that was observed under an earlier
    /// assignment: it may be older than what the next watcher sees.
    fn watched(&mut self, id: &ProjectId) -> Option<WatchedProject> {
        let project = self.directory.get(id)?;
        self.generation += 1;
        let generation = self.generation;
        project.watch_generation.store(generation, Ordering::Relaxed);
        let inner = project.read();
        let spec = &inner.state.spec;
        Some(WatchedProject {
            project: name::project(id),
            git_url: spec.source.git_url.clone(),
            branch: spec.source.branch.clone(),
            image_repository: spec.image_repository.to_string(),
            poll_interval: Some(duration_to_proto(self.poll_interval)),
            generation,
            project_create_time: Some(timestamp_to_proto(inner.state.created)),
        })
    }
}

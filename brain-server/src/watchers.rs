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
};
use brain_proto::{
    convert::duration_to_proto,
    name,
    v1::{WatchAssignment, WatchedProject, WatcherServiceConnectResponse, watcher_service_connect_response::Message},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Messages to the hub that may wait.
const INBOX: usize = 1_024;
/// Pause after a watcher came or went, before the projects are shared out anew: many come and go together.
const SETTLE: Duration = Duration::from_millis(50);
/// Projects in one assignment message.
const ASSIGNMENT_MAX: usize = 1_000;

type WatcherConnection = Connection<WatcherServiceConnectResponse>;

/// Speaks to the hub.
#[derive(Debug, Clone)]
pub struct WatchersHandle(mpsc::Sender<ToHub>);

#[derive(Debug)]
pub(crate) enum ToHub {
    Connected(AgentName, WatcherConnection),
    Disconnected(AgentName, u64),
    Defined(ProjectId),
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
    /// A project is new, or its definition changed.
    pub(crate) async fn project_defined(&self, project: &ProjectId) {
        self.send(ToHub::Defined(project.clone())).await;
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
    shutdown: CancellationToken,
) {
    let hub = Hub { directory, poll_interval, watchers: Connected::new(), owners: HashMap::new(), due: None };
    shutdown.run_until_cancelled(hub.serve(inbox)).await;
}

struct Hub {
    directory: Arc<Directory>,
    poll_interval: Duration,
    watchers: Connected<WatcherConnection>,
    /// Which watcher was told to watch a project.
    owners: HashMap<ProjectId, AgentName>,
    /// When all projects are to be shared out anew.
    due: Option<Instant>,
}

impl Hub {
    async fn serve(mut self, WatchersInbox(mut inbox): WatchersInbox) {
        loop {
            let due = self.due;
            let message = tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    self.share_out();
                    continue;
                }
            };
            match message {
                ToHub::Connected(agent, connection) => {
                    info!(%agent, "watcher connected");
                    // A new stream knows nothing yet, whatever an earlier one of the same name was told.
                    self.owners.retain(|_, owner| *owner != agent);
                    self.watchers.insert(agent, connection);
                    self.due.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                ToHub::Disconnected(agent, stream) => {
                    if self.watchers.get(&agent).is_some_and(|watcher| watcher.stream == stream) {
                        info!(%agent, "watcher disconnected");
                        self.watchers.remove(&agent);
                        self.owners.retain(|_, owner| *owner != agent);
                        self.due.get_or_insert_with(|| Instant::now() + SETTLE);
                    }
                }
                ToHub::Defined(project) => {
                    self.owners.remove(&project);
                    self.assign(std::iter::once(project));
                }
            }
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
            let Some(agent) = agent_for(&id, self.watchers.keys()) else { return };
            if self.owners.get(&id) == Some(agent) {
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
        let Some(connection) = self.watchers.get(agent) else { return };
        let assignment = |watch, unwatch| WatcherServiceConnectResponse {
            message: Some(Message::Assignment(WatchAssignment { watch, unwatch })),
        };
        if !unwatch.is_empty() {
            connection.send(agent, assignment(Vec::new(), unwatch));
        }
        while !watch.is_empty() {
            let rest = watch.split_off(watch.len().min(ASSIGNMENT_MAX));
            connection.send(agent, assignment(watch, Vec::new()));
            watch = rest;
        }
    }

    fn watched(&self, id: &ProjectId) -> Option<WatchedProject> {
        let project = self.directory.get(id)?;
        let inner = project.read();
        let spec = &inner.state.spec;
        Some(WatchedProject {
            project: name::project(id),
            git_url: spec.source.git_url.clone(),
            branch: spec.source.branch.clone(),
            image_repository: spec.image_repository.to_string(),
            poll_interval: Some(duration_to_proto(self.poll_interval)),
        })
    }
}

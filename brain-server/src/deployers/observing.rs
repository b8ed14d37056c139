//! Who observes which project's production, and whose production nobody has seen for too long.

use super::{Hub, messages};
use crate::SERVER;
use brain_core::{
    assignment::agent_for,
    id::{AgentName, ProjectId},
    time::Timestamp,
};
use brain_proto::v1::{
    DeployerServiceConnectResponse, ObserveProjects, ObservedProject, deployer_service_connect_response::Message,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How often it is looked for production that nobody sees.
const LOOK_OVER: Duration = Duration::from_secs(1);
/// Projects of which that is said at a time: with ten thousand and no deployer it is no haste.
const SAID_AT_ONCE: usize = 256;

/// The assignments of projects to the deployers that observe them.
pub(super) struct Observing {
    observers: BTreeMap<ProjectId, Observer>,
    /// Counts assignments. It begins with the time, so that those of an earlier run of the server are lower.
    generation: u64,
    looked_over: Instant,
}

/// Who observes a project.
struct Observer {
    agent: AgentName,
    stream: u64,
    /// What it was told, of this generation.
    told: ObservedProject,
}

impl Observing {
    /// None yet, in a server that started then.
    pub(super) fn new(started: Timestamp) -> Self {
        let generation = u64::try_from(started.0).unwrap_or(0).saturating_mul(1_000);
        Self { observers: BTreeMap::new(), generation, looked_over: Instant::now() }
    }
}

impl Hub {
    /// Tells each deployer the projects that it observes, when that may have changed. What is observed by another one, on
    /// another stream or elsewhere, is so under a new generation: of what was seen before nothing is taken any more.
    pub(super) fn send_lists(&mut self) {
        if !std::mem::take(&mut self.lists_changed) {
            return;
        }
        let mut lists: BTreeMap<AgentName, Vec<ObservedProject>> =
            self.deployers.keys().map(|agent| (agent.clone(), Vec::new())).collect();
        let mut before = std::mem::take(&mut self.observing.observers);
        for project in self.directory.all() {
            let Some(agent) = agent_for(&project.id, self.deployers.keys()) else { break };
            let Some(deployer) = self.deployers.get(agent) else { continue };
            let stream = deployer.connection.stream;
            let mut told = messages::observed(&project.read().state.spec, self.times.observe);
            let known = before.remove(&project.id);
            let same = known.filter(|known| {
                told.generation = known.told.generation;
                known.agent == *agent && known.stream == stream && known.told == told
            });
            if same.is_none() {
                self.observing.generation += 1;
                told.generation = self.observing.generation;
            }
            // Also where it is known: the project may have been deleted and made again meanwhile.
            project.observe_generation.store(told.generation, Ordering::Relaxed);
            if let Some(list) = lists.get_mut(agent) {
                list.push(told.clone());
            }
            self.observing.observers.insert(project.id.clone(), Observer { agent: agent.clone(), stream, told });
        }
        for (agent, projects) in lists {
            if let Some(deployer) = self.deployers.get(&agent) {
                let message = Some(Message::Observe(ObserveProjects { projects }));
                deployer.connection.send(&agent, DeployerServiceConnectResponse { message });
            }
        }
    }

    /// Has it stored of what production nobody has seen for too long, and why.
    pub(super) fn look_over(&mut self, now: Instant) {
        if now.saturating_duration_since(self.observing.looked_over) < LOOK_OVER {
            return;
        }
        self.observing.looked_over = now;
        let mut said = 0;
        for project in self.directory.all() {
            let Some(lost) = project.lost(|| self.silence(&project.id)) else { continue };
            self.tasks.spawn(async move {
                // What is not stored is said again.
                let _ = project.observe(Arc::from(SERVER), 0, lost).await.await;
            });
            said += 1;
            if said == SAID_AT_ONCE {
                return;
            }
        }
    }

    /// Why nobody says anything of a project's production.
    fn silence(&self, project: &ProjectId) -> String {
        match self.observing.observers.get(project) {
            None => "no deployer is connected; start one, or let it reach the server".to_owned(),
            Some(Observer { agent, .. }) => {
                format!("deployer {agent}, which is to observe it, tells nothing of it; its log says why")
            }
        }
    }
}

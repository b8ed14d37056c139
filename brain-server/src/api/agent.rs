//! AgentService.

use super::Api;
use crate::watchers::WatcherView;
use brain_proto::{
    convert::timestamp_to_proto,
    v1::{Agent, AgentKind, ListAgentsRequest, ListAgentsResponse, agent_service_server::AgentService},
};
use tonic::{Request, Response, Status};

/// Most agents of an answer.
const AGENTS_MAX: usize = 10_000;

#[tonic::async_trait]
impl AgentService for Api {
    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let (watchers, deployers) = tokio::join!(self.shared.watchers.list(), self.shared.deployers.list());
        let watcher = |view: WatcherView| Agent {
            kind: AgentKind::Watcher.into(),
            agent: view.agent.to_string(),
            connect_time: Some(timestamp_to_proto(view.since)),
            projects: u32::try_from(view.projects).unwrap_or(u32::MAX),
            hosts: view.hosts,
            deployments: 0,
        };
        let deployers = deployers.into_iter().map(|view| Agent {
            kind: AgentKind::Deployer.into(),
            agent: view.agent.to_string(),
            connect_time: Some(timestamp_to_proto(view.since)),
            deployments: u32::try_from(view.deployments).unwrap_or(u32::MAX),
            ..Agent::default()
        });
        let agents = watchers.into_iter().map(watcher).chain(deployers).take(AGENTS_MAX).collect();
        Ok(Response::new(ListAgentsResponse { agents }))
    }
}

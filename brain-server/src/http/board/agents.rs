//! `/-/agents`: who is connected, and what they carry.

use super::{
    Board, assets, html, message, part,
    stream::{self, Left, Reader},
    view::when,
};
use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use brain_core::words::counted;
use brain_proto::{
    convert::timestamp_from_proto,
    v1::{Agent, AgentKind, HostState, ListAgentsRequest, agent_service_server::AgentService},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Request, Status};

/// How often an open page looks at the agents.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    assets: &'static str,
    list: String,
}

#[derive(Template)]
#[template(path = "agent_list.html")]
struct AgentList {
    agents: Vec<Shown>,
}

struct Shown {
    kind: &'static str,
    name: String,
    since: String,
    /// What it carries: a watcher projects, a deployer deployments.
    load: String,
    hosts: Vec<String>,
}

pub(super) async fn page(State(board): State<Arc<Board>>) -> Response {
    match list(&board).await {
        Ok(list) => html(&AgentsPage { assets: assets::version(), list }),
        Err(status) => message(StatusCode::SERVICE_UNAVAILABLE, "Not now", status.message()),
    }
}

pub(super) async fn stream(State(board): State<Arc<Board>>) -> Response {
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| follow(&following, &reader).await)
}

async fn follow(board: &Board, reader: &Reader) -> Result<(), Left> {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = None;
    loop {
        ticks.tick().await;
        let Ok(list) = list(board).await else { return Ok(()) };
        if sent.as_ref() != Some(&list) {
            reader.send(list.clone()).await?;
            sent = Some(list);
        }
    }
}

async fn list(board: &Board) -> Result<String, Status> {
    let answer = board.api.list_agents(Request::new(ListAgentsRequest {})).await?;
    Ok(part(&AgentList { agents: answer.into_inner().agents.into_iter().map(shown).collect() }))
}

fn shown(agent: Agent) -> Shown {
    let (kind, load) = match agent.kind() {
        AgentKind::Watcher => ("watcher", counted(agent.projects, "project")),
        AgentKind::Deployer => ("deployer", counted(agent.deployments, "deployment")),
        AgentKind::Unspecified => ("", String::new()),
    };
    let Agent { agent: name, connect_time, hosts, .. } = agent;
    let since = connect_time.map(timestamp_from_proto).map(when).unwrap_or_default();
    Shown { kind, name, since, load, hosts: hosts.into_iter().map(host).collect() }
}

fn host(host: HostState) -> String {
    let HostState { host, rate_limit, rate_remaining, pause_until_time, .. } = host;
    let left = rate_limit.zip(rate_remaining).map(|(limit, left)| format!(": {left} of {limit} requests left"));
    let paused = pause_until_time.map(|until| format!(", not polled until {}", when(timestamp_from_proto(until))));
    format!("{host}{}{}", left.unwrap_or_default(), paused.unwrap_or_default())
}

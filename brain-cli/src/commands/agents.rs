//! `brain agents`: the watchers and deployers that are connected.

use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    output::{table::Rows, time},
    session::Session,
};
use brain_core::words::counted;
use brain_proto::v1::{Agent, AgentKind, HostState, ListAgentsRequest};
use clap::{Args, Subcommand};

/// Show the watchers and deployers that are connected
#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, with what watchers poll; this is also what `brain agents` does by itself
    #[command(after_help = "Examples:\n  brain agents list\n  brain agents list -o json")]
    List,
}

impl Agents {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.what.unwrap_or(What::List) {
            What::List => list(session).await,
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let answer = session.client.agents().list_agents(ask(ListAgentsRequest {})).await?.into_inner();
    let out = session.out;
    if !out.is_for_people() {
        out.message("ListAgentsResponse", &answer)?;
        return Ok(Exit::Done);
    }
    let now = time::now();
    let mut rows = Rows::new(&["AGENT", "KIND", "CONNECTED", "CARRIES", "HOSTS"]);
    for agent in &answer.agents {
        rows.add(row(agent, now));
    }
    if rows.is_empty() {
        out.line("no agent is connected: nothing is watched and nothing is deployed\n  next: start a brain-watcher and a brain-deployer")?;
    } else {
        out.lines(rows.lines(&out))?;
    }
    Ok(Exit::Done)
}

fn row(agent: &Agent, now: jiff::Timestamp) -> [String; 5] {
    let (kind, load) = match agent.kind() {
        AgentKind::Watcher => ("watcher", counted(agent.projects, "project")),
        AgentKind::Deployer => ("deployer", counted(agent.deployments, "deployment")),
        AgentKind::Unspecified => ("unknown", String::new()),
    };
    let hosts: Vec<String> = agent.hosts.iter().map(host).collect();
    let connected = format!("{} ago", time::age(agent.connect_time, now));
    [agent.agent.clone(), kind.to_owned(), connected, load, hosts.join(", ")]
}

fn host(state: &HostState) -> String {
    let mut text = state.host.clone();
    if let (Some(limit), Some(remaining)) = (state.rate_limit, state.rate_remaining) {
        text += &format!(" {remaining} of {limit} left");
    }
    if state.pause_until_time.is_some() {
        text += &format!(" left alone until {}", time::date(state.pause_until_time));
    }
    text
}

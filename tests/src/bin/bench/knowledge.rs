//! What knowing costs: polls in which nothing changes, and how soon a webhook's news is with who watches.

use super::{millis, row};
use anyhow::{Context, Result, ensure};
use brain_proto::v1::{
    CreateProjectRequest, HostState, ListAgentsRequest, Source, WatchProjectRequest,
    agent_service_client::AgentServiceClient, project_service_client::ProjectServiceClient,
};
use brain_tests::{
    brain::{self, Server, WEBHOOK_SECRET},
    git_host::GitHost,
    http::client,
    load,
    registry::Registry,
    sandbox::Sandbox,
    wait::within,
};
use futures::{TryStreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use std::{
    fs,
    time::{Duration, Instant},
};
use tonic::transport::Channel;

const PROJECTS: usize = 1_000;
/// Period of the polls; figures are scaled to 60 s.
const PERIOD_SECONDS: u32 = 20;
const MANY: usize = 10_000;
const WEBHOOKS: usize = 200;
const PATIENCE: Duration = Duration::from_mins(5);

struct World {
    server: Server,
    git: GitHost,
    registry: Registry,
    agents: Sandbox,
}

impl World {
    async fn start(period: &str) -> Result<Self> {
        let (server, git, registry) =
            tokio::try_join!(Server::start_polling(period), GitHost::start(), Registry::start())?;
        Ok(Self { server, git, registry, agents: Sandbox::new()? })
    }

    async fn create(&self, channel: &Channel, count: usize, git_url: &str) -> Result<()> {
        stream::iter((0..count).map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(256, |number| async move {
                let mut project = load::project(&format!("p{number}"));
                project.source = Some(Source { git_url: git_url.to_owned(), ..Source::default() });
                project.image_repository = "flowcommerce/user".to_owned();
                let request = CreateProjectRequest { project: Some(project), ..Default::default() };
                ProjectServiceClient::new(channel.clone()).create_project(request).await?;
                Ok(())
            })
            .await
    }

    fn watcher(&self, git: &str) -> Result<brain_tests::sandbox::Process> {
        let host = git.split('/').nth(2).context("a host")?;
        let config = format!(
            "[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\nrequests_per_second = 10000\n\
             [[git]]\nhost = \"{host}\"\nrequests_per_second = 10000\n",
            self.registry.endpoint()
        );
        brain::watcher_with(&self.agents, "watcher", &self.server.address(), &config)
    }
}

async fn hosts(channel: &Channel) -> Result<Vec<HostState>> {
    let answer = AgentServiceClient::new(channel.clone()).list_agents(ListAgentsRequest {}).await?.into_inner();
    Ok(answer.agents.into_iter().flat_map(|agent| agent.hosts).collect())
}

/// Waits until every project was polled once, by the number of requests to the git host and the registry.
async fn polled(channel: &Channel, each: u64) -> Result<()> {
    within(PATIENCE, "the first poll of every project", || async {
        let hosts = hosts(channel).await?;
        ensure!(hosts.len() == 2 && hosts.iter().all(|host| host.requests >= each), "{hosts:?}");
        Ok(())
    })
    .await
}

/// Requests, bytes and CPU of polls without news; memory.
pub(super) async fn polls() -> Result<()> {
    let mut world = World::start(&format!("{PERIOD_SECONDS}s")).await?;
    let user = world.git.repository("user").await?;
    user.tag("0.0.4").await?;
    world.registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let channel = load::connect(&world.server.address()).await?;
    world.create(&channel, PROJECTS, &user.url).await?;
    let watcher = world.watcher(&user.url)?;
    polled(&channel, PROJECTS as u64).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let figures = |hosts: &[HostState]| {
        let sum = |of: fn(&HostState) -> u64| hosts.iter().map(of).sum::<u64>();
        (sum(|host| host.requests), sum(|host| host.body_bytes))
    };
    let (requests, bytes) = figures(&hosts(&channel).await?);
    let (cpu, begun) = (watcher.cpu_seconds()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(u64::from(2 * PERIOD_SECONDS))).await;
    let (cpu, seconds) = (watcher.cpu_seconds()? - cpu, begun.elapsed().as_secs_f64());
    let (requests_after, bytes_after) = figures(&hosts(&channel).await?);
    let polls = PROJECTS as f64 * seconds / f64::from(PERIOD_SECONDS);
    row(
        &format!("one watcher, {PROJECTS} projects, nothing changes: each project-minute, polled every 60 s"),
        format!(
            "{:.1} requests, {:.0} bytes of answers, {:.2} ms of CPU",
            (requests_after - requests) as f64 / polls,
            (bytes_after - bytes) as f64 / polls,
            cpu * 1e3 / polls
        ),
    );
    let server = world.server.process().context("it runs")?.memory_mb()?;
    row(
        &format!("memory with {PROJECTS} projects"),
        format!("watcher {:.0} MB, server {server:.0} MB", watcher.memory_mb()?),
    );
    drop(watcher);
    many().await
}

async fn many() -> Result<()> {
    let mut world = World::start("1h").await?;
    let user = world.git.repository("user").await?;
    user.tag("0.0.4").await?;
    world.registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let channel = load::connect(&world.server.address()).await?;
    world.create(&channel, MANY, &user.url).await?;
    let begun = Instant::now();
    let watcher = world.watcher(&user.url)?;
    polled(&channel, MANY as u64).await?;
    let server = world.server.process().context("it runs")?.memory_mb()?;
    row(
        &format!(
            "memory with {MANY} projects on one watcher, each polled once ({:.0} s)",
            begun.elapsed().as_secs_f64()
        ),
        format!("watcher {:.0} MB, server {server:.0} MB", watcher.memory_mb()?),
    );
    Ok(())
}

fn sign(body: &str) -> Result<String> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes())?;
    mac.update(body.as_bytes());
    let hex: Vec<String> = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256={}", hex.concat()))
}

/// From a GitHub webhook's arrival to the news at a subscriber, among many projects, beside the git host's own time.
pub(super) async fn webhooks() -> Result<()> {
    let world = World::start("1h").await?;
    let user = world.git.repository("user").await?;
    let other = world.git.repository("other").await?;
    user.tag("0.0.1").await?;
    let head = user.head().await?;
    let channel = load::connect(&world.server.address()).await?;
    world.create(&channel, PROJECTS, &other.url).await?;
    let mut project = load::project("user");
    project.source = Some(Source { git_url: user.url.clone(), ..Source::default() });
    let request = CreateProjectRequest { project: Some(project), ..Default::default() };
    let mut client_of_projects = ProjectServiceClient::new(channel.clone());
    client_of_projects.create_project(request).await?;
    let _watcher = world.watcher(&user.url)?;
    polled(&channel, PROJECTS as u64).await?;
    let request = WatchProjectRequest { name: "projects/user".to_owned(), resume_token: String::new() };
    let mut watch = client_of_projects.watch_project(request).await?.into_inner();
    while watch.message().await?.context("the watch ended")?.releases.is_empty() {}
    let body = format!(r#"{{"repository": {{"clone_url": "{}"}}}}"#, user.url);
    let (signature, http) = (sign(&body)?, client());
    let (mut all, mut peer, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WEBHOOKS {
        let tag = format!("0.1.{number}");
        fs::write(user.bare().join("refs/tags").join(&tag), format!("{head}\n"))?;
        let begun = Instant::now();
        let answer = http.post(format!("http://{}/webhooks/github", world.server.http_address())).body(body.clone());
        let answer = answer.header("x-hub-signature-256", &signature).header("x-github-event", "push");
        ensure!(answer.send().await?.status() == 202, "the webhook was not taken");
        while !watch.message().await?.context("the watch ended")?.releases.iter().any(|release| release.tag == tag) {}
        let took = begun.elapsed();
        let own = ls_refs(&http, &user.url).await?;
        all.push(took);
        peer.push(own);
        beyond.push(took.saturating_sub(own));
        // Hints that come right after one another are sent together; each is measured alone.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let show = |mut times: Vec<Duration>| {
        times.sort();
        let at = |percent: usize| millis(times[(times.len() - 1) * percent / 100]);
        format!("p50 {:.1} ms, p99 {:.1} ms", at(50), at(99))
    };
    row("webhook to a subscriber, acknowledged and durable in between", show(all));
    row("… of which the git host's own answer, measured beside it", show(peer));
    row("… beyond that", show(beyond));
    Ok(())
}

/// The request that a poll makes.
async fn ls_refs(http: &reqwest::Client, url: &str) -> Result<Duration> {
    let body = "0014command=ls-refs\n0010agent=brain\n00010009peel\n001aref-prefix refs/tags/\n0000";
    let begun = Instant::now();
    let request = http.post(format!("{url}/git-upload-pack")).header("git-protocol", "version=2");
    let request = request.header("content-type", "application/x-git-upload-pack-request").body(body);
    let answer = request.send().await?.error_for_status()?;
    let read: Vec<_> = answer.bytes().await.into_iter().collect();
    ensure!(!read.is_empty(), "no answer");
    Ok(begun.elapsed())
}

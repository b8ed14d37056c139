//! What goes wrong around a deployment, and what people do to it, drawn from the seed.

use super::{
    house::House,
    intent,
    mishaps::{Mishaps, Moment},
    weights,
};
use anyhow::Result;
use brain_core::deployment::Deployment;
use brain_deployer::simulated::TaskStage;
use brain_proto::convert::duration_to_proto;
use brain_proto::v1::{
    CancelDeploymentRequest, CloudWatchMetric, CloudWatchMetrics, Gate, PauseDeploymentRequest,
    PromoteDeploymentRequest, ResumeDeploymentRequest, RollbackProjectRequest, RolloutPolicy, RolloutPreset,
    RolloutStep, TaskFigures, deployment_service_client::DeploymentServiceClient, gate::Source, rollout_step::Size,
};
use futures::{StreamExt, future::try_join, stream::FuturesUnordered};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, transport::Channel};

/// Troubles under way at the same time, at most.
const AT_ONCE: usize = 3;
/// Hosts and tasks that are lost in one reign: more, and nobody could hold the floor.
const LOSSES_MAX: u32 = 3;
/// Name of the gate on exits.
pub(super) const EXITS: &str = "exits";
/// Time after which a person no longer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The trouble of one deployment.
pub struct Chaos {
    house: Arc<House>,
    people: Channel,
    random: Mutex<fastrand::Rng>,
    /// Deployers that share an instance come back as they were.
    shared: bool,
    /// Whether people hold and lift meanwhile.
    intends: bool,
    policy: Option<RolloutPolicy>,
    /// What happens once in a while.
    mishaps: Option<Arc<Mishaps>>,
    /// Hosts and tasks lost so far.
    losses: AtomicU32,
}

impl Chaos {
    /// Trouble that is drawn from a seed.
    #[must_use]
    pub fn new(house: Arc<House>, people: Channel, seed: u64, shared: bool, intends: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let policy = policy(&mut random);
        let (random, losses) = (Mutex::new(random), AtomicU32::new(0));
        Self { house, people, random, shared, intends, policy, mishaps: None, losses }
    }

    /// The same trouble, and mishaps with it.
    #[must_use]
    pub(super) fn with(self, mishaps: Arc<Mishaps>) -> Self {
        Self { mishaps: Some(mishaps), ..self }
    }

    /// The rollout policy that is asked for.
    #[must_use]
    pub fn policy(&self) -> Option<RolloutPolicy> {
        self.policy.clone()
    }

    /// Lets trouble reign for a while, some of it at the same time, then repairs everything.
    pub async fn reign(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.below(40, 400));
        self.house.referee.faults.switch(true);
        let mishaps = async {
            match &self.mishaps {
                Some(mishaps) => mishaps.at(Moment::During).await,
                None => Ok(()),
            }
        };
        try_join(self.troubles(end), mishaps).await?;
        self.house.referee.faults.switch(false);
        self.house.referee.note("faults have stopped");
        Ok(())
    }

    /// One trouble after the other until then, and what is under way until it is repaired.
    async fn troubles(&self, end: Instant) -> Result<()> {
        let mut under_way = FuturesUnordered::new();
        while Instant::now() < end {
            let next = sleep(Duration::from_millis(self.below(500, 30_000)));
            tokio::pin!(next);
            // In one order, so that a seed runs the same way each time.
            loop {
                tokio::select! {
                    biased;
                    Some(ended) = under_way.next(), if !under_way.is_empty() => ended?,
                    () = &mut next => break,
                }
            }
            if under_way.len() < AT_ONCE {
                under_way.push(self.trouble());
            }
        }
        while let Some(ended) = under_way.next().await {
            ended?;
        }
        Ok(())
    }

    /// One trouble, until it is repaired.
    async fn trouble(&self) -> Result<()> {
        for _ in 0..self.below(0, 4) {
            let changed = self.house.hosted.change(&mut self.lock());
            self.house.referee.note(changed);
        }
        match self.below(0, 15) {
            0 | 1 => self.crash_deployer().await?,
            2 | 3 => self.partition_of(&self.house.deployers()).await,
            4 => self.restart_server().await?,
            5 if self.losses.fetch_add(1, Ordering::Relaxed) < LOSSES_MAX => self.lose_something(),
            6..9 => self.steer().await,
            9 | 10 if self.intends => self.hold().await,
            11 => self.change_set_up(),
            12 => self.crash_watcher().await?,
            13 => self.partition_of(&self.house.watchers()).await,
            _ => {}
        }
        Ok(())
    }

    async fn crash_deployer(&self) -> Result<()> {
        // All may be down already.
        let Some(process) = self.one_of(&self.house.deployers()) else { return Ok(()) };
        let agent = process.split('/').next().unwrap_or_default();
        self.house.kill_deployer(&process);
        sleep(Duration::from_millis(self.below(0, 30_000))).await;
        self.house.start_deployer(agent, self.shared.then_some("shared")).map(drop)
    }

    async fn crash_watcher(&self) -> Result<()> {
        let Some(process) = self.one_of(&self.house.watchers()) else { return Ok(()) };
        let agent = process.split('#').next().unwrap_or_default();
        self.house.kill_watcher(&process);
        sleep(Duration::from_millis(self.below(0, 30_000))).await;
        self.house.start_watcher(agent)
    }

    async fn partition_of(&self, processes: &[String]) {
        let Some(process) = self.one_of(processes) else { return };
        let (to_server, to_client) = [(true, true), (true, false), (false, true), (false, false)][self.pick(4)];
        self.house.referee.note(format!("{process}: held to the server {to_server}, back {to_client}"));
        if !to_server && !to_client {
            return self.house.wires.cut(&process);
        }
        self.house.wires.hold(&process, to_server, to_client);
        sleep(Duration::from_millis(self.below(500, 60_000))).await;
        // Of a process that died meanwhile nothing gets through any more.
        if self.house.runs(&process) {
            self.house.wires.hold(&process, false, false);
            self.house.referee.note(format!("{process}: no longer held"));
        }
    }

    async fn restart_server(&self) -> Result<()> {
        if !self.house.is_served() {
            return Ok(());
        }
        self.house.kill_server();
        sleep(Duration::from_millis(self.below(0, 20_000))).await;
        self.house.start_server()
    }

    fn lose_something(&self) {
        let now_ms = self.house.now().0;
        let (host, place) = (self.below(0, 2) == 0, self.pick(100));
        let lost = self.house.cloud.with(|world| {
            if host {
                let hosts: Vec<String> = world.hosts.keys().cloned().collect();
                let host = hosts.get(place % hosts.len().max(1))?.clone();
                world.kill_host(&host, now_ms);
                return Some(host);
            }
            let running = world.tasks.iter().filter(|(_, task)| task.stage == TaskStage::Running);
            let running: Vec<String> = running.map(|(id, _)| id.clone()).collect();
            let task = running.get(place % running.len().max(1))?.clone();
            world.kill_task(&task, now_ms);
            Some(task)
        });
        self.house.referee.note(format!("lost: {lost:?}"));
    }

    /// Somebody who is not brain changes what it has set up.
    fn change_set_up(&self) {
        let balancer = self.below(0, 2) == 0;
        self.house.cloud.with(|world| {
            if balancer {
                world.balancers.clear();
                weights::somebody_changes_checks(world);
            }
            for group in world.groups.values_mut() {
                group.rebalances = true;
                group.load_balancers.clear();
            }
        });
        self.house
            .referee
            .note(format!("somebody detaches the group and lets it rebalance, removes the load balancer: {balancer}"));
    }

    async fn steer(&self) {
        let state = self.house.referee.state();
        let Some(active) = state.as_ref().and_then(|state| state.active()) else { return };
        let (what, rollback) = (self.below(0, 12), self.below(0, 3) > 0);
        let steered = timeout(PATIENCE, steer(&self.people, active, what, rollback)).await;
        let steered = steered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let steered = steered.map_err(|status| status.message().to_owned());
        self.house.referee.note(format!("a person steers ({what}, {rollback}): {steered:?}"));
    }

    async fn hold(&self) {
        let what = self.below(0, intent::DEEDS);
        let flag = self.below(0, 2) == 0;
        let active = self.house.referee.state().and_then(|state| state.active().map(|active| active.number));
        let done = timeout(PATIENCE, intent::deed(&self.people, what, flag, active)).await;
        let done = done.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let done = done.map_err(|status| status.message().to_owned());
        self.house.referee.note(format!("a person intends ({what}, {flag}): {done:?}"));
    }

    fn below(&self, least: u64, below: u64) -> u64 {
        self.lock().u64(least..below)
    }

    fn pick(&self, among: usize) -> usize {
        self.lock().usize(0..among)
    }

    fn lock(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_of(&self, among: &[String]) -> Option<String> {
        self.lock().choice(among).cloned()
    }
}

async fn steer(people: &Channel, active: &Deployment, what: u64, rollback: bool) -> Result<(), Status> {
    let mut client = DeploymentServiceClient::new(people.clone());
    let name = format!("projects/user/deployments/{}", active.number);
    let by = || "bob".to_owned();
    match what {
        0..4 => {
            let request = PauseDeploymentRequest { name, requested_by: by(), reason: String::new() };
            client.pause_deployment(request).await.map(drop)
        }
        4..7 => {
            let request = ResumeDeploymentRequest { name, requested_by: by(), reason: String::new() };
            client.resume_deployment(request).await.map(drop)
        }
        7..9 => {
            let requested_by = by();
            let request = PromoteDeploymentRequest { name, requested_by, ..PromoteDeploymentRequest::default() };
            client.promote_deployment(request).await.map(drop)
        }
        9..11 => {
            let request = CancelDeploymentRequest { name, requested_by: by(), reason: String::new(), rollback };
            client.cancel_deployment(request).await.map(drop)
        }
        _ => {
            let parent = "projects/user".to_owned();
            let request = RollbackProjectRequest { parent, requested_by: by(), ..RollbackProjectRequest::default() };
            client.rollback_project(request).await.map(drop)
        }
    }
}

/// A person lets a deployment go on that waits for one.
pub async fn let_go(people: &Channel, active: &Deployment) {
    if active.paused.is_none() {
        return;
    }
    // What is refused is tried again.
    let _ = steer(people, active, 4, false).await;
    let _ = steer(people, active, 7, false).await;
}

/// What the tasks do, by ECS.
pub(super) fn exits() -> Gate {
    let tasks = TaskFigures { figure: "exits / desired".to_owned(), ..TaskFigures::default() };
    Gate {
        name: EXITS.to_owned(),
        source: Some(Source::Tasks(tasks)),
        condition: "new <= old".to_owned(),
        consecutive_failures: 0,
    }
}

/// The share of errors, by the simulated cloud's metrics.
fn errors() -> Gate {
    let metric = |name: &str, zero_when_missing| CloudWatchMetric {
        id: name.to_lowercase(),
        namespace: "Simulated".to_owned(),
        name: name.to_owned(),
        dimensions: [("ServiceName".to_owned(), "{{service}}".to_owned())].into(),
        statistic: "Sum".to_owned(),
        zero_when_missing,
    };
    let metrics = CloudWatchMetrics {
        metrics: vec![metric("Errors", true), metric("Requests", false)],
        figure: "errors / requests".to_owned(),
        sample_figure: "requests".to_owned(),
        minimum_samples: 60,
        ..CloudWatchMetrics::default()
    };
    Gate {
        name: "errors".to_owned(),
        source: Some(Source::CloudwatchMetrics(metrics)),
        condition: "new <= old * 1.1".to_owned(),
        consecutive_failures: 0,
    }
}

fn policy(random: &mut fastrand::Rng) -> Option<RolloutPolicy> {
    let bake = duration_to_proto(Duration::from_secs(random.u64(1..40)));
    let gates = match random.u32(0..4) {
        0 => vec![errors()],
        1 => vec![exits(), errors()],
        _ => Vec::new(),
    };
    let step = RolloutStep { size: Some(Size::Percent(34)), bake: Some(bake), hold: random.bool(), gates };
    let preset = match random.u32(0..6) {
        0 => RolloutPreset::BlueGreen,
        1 => return Some(RolloutPolicy { steps: vec![step], ..RolloutPolicy::default() }),
        2 => return Some(RolloutPolicy { floor_percent: Some(66), surge: Some(0), ..RolloutPolicy::default() }),
        _ => return None,
    };
    Some(RolloutPolicy { preset: preset.into(), ..RolloutPolicy::default() })
}

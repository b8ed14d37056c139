//! Server, watchers and deployers as they ship, in one thread on a paused clock, a network in memory and a simulated cloud. One seed
//! drives what people do and what goes wrong; a [`referee`] checks the invariants at every act, change and commit.

mod board;
pub mod chaos;
pub mod faults;
pub mod gone;
pub mod house;
pub mod intent;
pub mod knowledge;
mod leases;
pub mod ledger;
pub mod left;
pub mod mishaps;
mod past;
pub mod referee;
mod weights;
pub mod wires;

use anyhow::{Result, bail};
use brain_core::{
    deployment::{Deployment, Phase},
    event::{Change, Event},
    id::ProjectId,
    traffic::LoadBalancerKind,
};
use brain_deployer::simulated::{Behaviour, Chance, World};
use brain_proto::{
    channel,
    convert::{duration_to_proto, spec_from_proto},
    v1::{
        CreateDeploymentRequest, DeployMode, RolloutPolicy, RolloutPreset, RolloutStep,
        deployment_service_client::DeploymentServiceClient, rollout_step::Size,
    },
};
use brain_server::store::{Store, Transition};
use chaos::Chaos;
use faults::{Chosen, Deliberate, Faults};
use house::House;
use mishaps::{Mishap, Mishaps, Moment};
use referee::Referee;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Uri};

/// Longest time of a deployment once faults have stopped and nobody steers: one step that waits for its timeout, a rollback
/// that begins three times, and some minutes of work.
const END_WITHIN: Duration = Duration::from_mins(60);
/// Time within which nothing changes any more: the longest pause of a watcher whose polls have failed.
const SETTLED: Duration = Duration::from_mins(5);
/// Time beyond two turns of housekeeping, one of which may have been interrupted, in which nothing has changed: then nothing
/// will.
const QUIET: Duration = Duration::from_secs(30);

/// The version that mends whatever has happened to those before.
const FIX: &str = "0.0.6";

/// What is to be run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting {
    /// What drives it.
    pub seed: u64,
    /// Whether the network, processes and the cloud fail at random, and people steer.
    pub chaos: bool,
    /// A deployer that is wrong on purpose.
    pub deliberate: Option<Deliberate>,
    /// One fault at one place.
    pub chosen: Option<Chosen>,
    /// How the new version behaves; `None`: as the seed says.
    pub behaviour: Option<Behaviour>,
    /// How traffic moves to the new version; `None`: as the seed says, or by the default policy.
    pub way: Option<Way>,
}

/// A rollout policy of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One instance at a time.
    OneByOne,
    /// A third, watched for a while and promoted by a person, then the rest.
    Canary,
    /// All of the new version beside the old one.
    BlueGreen,
    /// The old version goes and the new one comes.
    AllAtOnce,
    /// Behind an application load balancer: a tenth of the requests, a third, then the rest.
    Weighted,
    /// A third, and the rest when no more of its tasks have ended by themselves than of the old version's.
    Gated,
}

impl Way {
    fn policy(self) -> RolloutPolicy {
        let preset = |preset: RolloutPreset| RolloutPolicy { preset: preset.into(), ..RolloutPolicy::default() };
        match self {
            Self::OneByOne => preset(RolloutPreset::OneByOne),
            Self::BlueGreen => preset(RolloutPreset::BlueGreen),
            Self::AllAtOnce => preset(RolloutPreset::AllAtOnce),
            Self::Canary => {
                let bake = Some(duration_to_proto(Duration::from_secs(20)));
                let step = RolloutStep { size: Some(Size::Percent(34)), bake, hold: true, gates: Vec::new() };
                RolloutPolicy { steps: vec![step], ..RolloutPolicy::default() }
            }
            Self::Gated => {
                let (size, gates) = (Some(Size::Percent(34)), vec![chaos::exits()]);
                let step = RolloutStep { size, bake: None, hold: false, gates };
                RolloutPolicy { steps: vec![step], ..RolloutPolicy::default() }
            }
            Self::Weighted => weights::exactly(&[10, 34], Duration::from_secs(10), false),
        }
    }
}

/// What became of a run.
#[derive(Debug)]
pub struct Ended {
    /// What was violated.
    pub violations: Vec<String>,
    /// What happened.
    pub history: Vec<String>,
    /// The cloud at the end, without what no two runs have in common.
    pub world: String,
    /// Calls of the deployers.
    pub calls: usize,
    /// Those of them that change something.
    pub acts: usize,
    /// Commits of the server.
    pub commits: usize,
    /// What has happened that does once in a while.
    pub mishaps: BTreeSet<Mishap>,
}

/// Runs a setting to its end.
pub fn run(setting: Setting) -> Result<Ended> {
    // A deployer makes its HTTP client when it starts, though it asks nobody here. A second call changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Jitter of pauses comes from this generator.
    fastrand::seed(setting.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(play(setting))
}

async fn play(setting: Setting) -> Result<Ended> {
    let mut random = fastrand::Rng::with_seed(setting.seed);
    let bad = [Behaviour::Crashes, Behaviour::NeverHealthy, Behaviour::CannotBePulled, Behaviour::Errs];
    let drawn = if random.u32(0..3) == 0 { bad[random.usize(0..bad.len())] } else { Behaviour::Good };
    let behaviour = setting.behaviour.unwrap_or(drawn);
    let mut world = World::default();
    world.images.insert(digest(5), behaviour);
    world.chance = Chance::of_seed(setting.seed);
    // Then nothing is to be deployed at all, nor touched.
    world.small_hosts = setting.chaos && setting.deliberate.is_none() && random.u32(0..12) == 0;
    let referee = Arc::new(Referee::new(Faults::new(setting.seed, setting.deliberate, setting.chosen)));
    past::leave(&mut world);
    // A sweep interrupts every call, and looks are many; chaos wants housekeeping everywhere.
    let housekeeping = Duration::from_secs(if setting.chaos { 20 } else { 45 });
    let house = House::new(world, Arc::clone(&referee), housekeeping);
    referee.note(format!("{setting:?}, 0.0.5: {behaviour:?}"));
    // A deployer that is wrong on purpose is caught by what it does: nobody keeps it from doing it.
    let intends = setting.chaos && setting.deliberate.is_none();
    // What else is watched and never deployed.
    let others: &[&str] = if setting.chaos { &["auth", "mail"] } else { &[] };
    let automatic = intends && random.u32(0..4) == 0;
    create_projects(&house, others, automatic, &[4, 5], weights::kind(setting)).await?;
    house.start_server()?;
    for number in 1..=if setting.chaos { 2 } else { 1 } {
        house.start_watcher(&format!("watcher-{number}"))?;
    }
    let shared = setting.deliberate == Some(Deliberate::SharedInstance);
    for number in 1..=if shared { 2 } else { random.u32(1..=3) } {
        let agent = format!("deployer-{}", if shared { 1 } else { number });
        house.start_deployer(&agent, shared.then_some("shared"))?;
    }
    let crashes = tokio::spawn(crash_as_chosen(Arc::clone(&house), setting.chosen));
    let endpoint = channel::endpoint(Uri::from_static("http://brain"));
    let people = Arc::clone(&house.wires).connect_lazily("people".to_owned(), &endpoint);
    let mishaps = Mishaps::draw(Arc::clone(&house), setting);
    let early = random.bool();
    for (version, troubled) in [("0.0.4", setting.chaos && early), ("0.0.5", setting.chaos)] {
        let second = version == "0.0.5";
        let way = setting.way.map_or_else(|| weights::policy(setting), |way| Some(way.policy()));
        let way = way.filter(|_| second);
        let chaos = Chaos::new(Arc::clone(&house), people.clone(), random.u64(..), shared, intends);
        let chaos = if second { chaos.with(Arc::clone(&mishaps)) } else { chaos };
        mishaps.at(if second { Moment::Before } else { Moment::First }).await?;
        deploy(&house, &people, version, way, troubled.then_some(chaos)).await?;
        mishaps.over();
        house.cloud.with(weights::somebody_adds_a_rule);
        if setting.chaos {
            // Time in which nothing is deployed.
            sleep(Duration::from_secs(random.u64(0..60))).await;
        }
    }
    if mishaps.ask_for_a_fix() {
        mend(&house, &people, &mishaps).await?;
    }
    settle(&house).await;
    crashes.abort();
    conclude(&house, mishaps.happened()).await
}

/// What has become of a run in which nothing changes any more.
async fn conclude(house: &House, mishaps: BTreeSet<Mishap>) -> Result<Ended> {
    let referee = &house.referee;
    let world = house.cloud.with(|world| {
        referee.at_end(world);
        lasting(world)
    });
    let stored = house.store.load().await?;
    let board = |world: &mut World| -> Vec<String> {
        stored.projects.iter().flat_map(|project| board::differences(&project.state, world)).collect()
    };
    for difference in referee.knowledge.differences(&house.hosted).into_iter().chain(house.cloud.with(board)) {
        referee.violated(difference);
    }
    let (calls, acts, commits) = (referee.faults.calls(), referee.faults.acts(), referee.faults.commits());
    let (violations, history) = (referee.violations(), referee.history());
    Ok(Ended { violations, history, world, calls, acts, commits, mishaps })
}

/// A version that is well arrives, whatever has happened to those before it.
async fn mend(house: &Arc<House>, people: &Channel, mishaps: &Mishaps) -> Result<()> {
    mishaps.at(Moment::Fix).await?;
    house.hosted.release("user", FIX, &digest(6))?;
    deploy(house, people, FIX, mishaps.policy(), None).await?;
    let last = house.referee.state().and_then(|state| state.deployments.back().cloned());
    if last.as_ref().is_none_or(|last| last.tag != FIX || last.phase != Phase::Succeeded) {
        house.referee.violated(format!("{FIX} has not arrived: {:?}", last.as_ref().map(ended)));
    }
    Ok(())
}

/// Waits until nothing changes any more.
async fn settle(house: &House) {
    let end = Instant::now() + SETTLED;
    let now = || (house.cloud.with(|world| lasting(world)), house.referee.faults.commits());
    let (mut before, mut since) = (now(), Instant::now());
    while Instant::now() < end {
        sleep(Duration::from_secs(5)).await;
        let now = now();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        let knows = || house.referee.knowledge.differences(&house.hosted).is_empty();
        if since.elapsed() >= 2 * house.housekeeping + QUIET && knows() {
            return;
        }
    }
}

/// The digest of a version's image.
fn digest(version: u8) -> String {
    format!("sha256:{}", format!("{version:02x}").repeat(32))
}

/// Projects, and what they have at git hosts and registries: `user` these releases.
async fn create_projects(
    house: &House,
    others: &[&str],
    automatic: bool,
    versions: &[u8],
    kind: LoadBalancerKind,
) -> Result<()> {
    for (index, id) in ["user"].iter().chain(others).enumerate() {
        let mut project = crate::load::project(id);
        if let Some(target) = &mut project.target {
            target.host_port = 6041 + u32::try_from(index)?;
            // Room for a whole version beside another.
            target.max_instances = 6;
        }
        project.deploy = Some(DeployMode { automatic: automatic && index == 0 });
        // Of what is old nothing stays that need not.
        let policy = project.rollout_policy.get_or_insert_default();
        (policy.keep_services, policy.keep_task_definitions) = (Some(0), Some(1));
        let mut spec = spec_from_proto(project)?;
        if index == 0 {
            spec.target.load_balancer_kind = kind;
        }
        house.hosted.add(&spec);
        let change = Change::ProjectCreated(Box::new(spec));
        let event = Event { at: house.now(), by: "simulation".to_owned(), change };
        let transition = Transition { stream: ProjectId::parse(id)?.into(), expected: 0, events: vec![event] };
        house.store.commit(vec![transition]).await?;
    }
    for version in versions.iter().copied() {
        house.hosted.release("user", &format!("0.0.{version}"), &digest(version))?;
    }
    Ok(())
}

/// Asks for a deployment and waits for its end, in trouble for a while if there is some.
async fn deploy(
    house: &Arc<House>,
    people: &Channel,
    version: &str,
    way: Option<RolloutPolicy>,
    chaos: Option<Chaos>,
) -> Result<()> {
    let referee = &house.referee;
    let request = CreateDeploymentRequest {
        parent: "projects/user".to_owned(),
        what: Some(brain_proto::v1::create_deployment_request::What::Version(version.to_owned())),
        requested_by: "ann".to_owned(),
        request_id: version.to_owned(),
        rollout_policy: way.or_else(|| chaos.as_ref().and_then(Chaos::policy)),
        outside_windows: String::new(),
        repair_drift: false,
        adopt: false,
        reason: String::new(),
    };
    let mut client = DeploymentServiceClient::new(people.clone());
    let asked = async {
        loop {
            match client.create_deployment(request.clone()).await {
                Ok(_) => return,
                Err(status) => referee.note(format!("{version} is not taken: {}", status.message())),
            }
            // Policy may have been quicker.
            if referee.state().is_some_and(|state| state.active().is_some_and(|active| active.tag == version)) {
                return;
            }
            intent::lift(people, referee).await;
            sleep(Duration::from_secs(1)).await;
        }
    };
    if timeout(END_WITHIN, asked).await.is_err() {
        referee.violated(format!("{version} is never taken"));
        return Ok(());
    }
    if let Some(chaos) = chaos {
        chaos.reign().await?;
    }
    let over = async {
        loop {
            let active = referee.state().and_then(|state| state.active().cloned());
            let Some(active) = active else { return };
            intent::lift(people, referee).await;
            chaos::let_go(people, &active).await;
            sleep(Duration::from_secs(5)).await;
        }
    };
    if timeout(END_WITHIN, over).await.is_err() {
        referee.violated(format!("{version} does not end"));
    }
    let last = referee.state().and_then(|state| state.deployments.back().cloned());
    referee.note(format!("{version}: {:?}", last.as_ref().map(ended)));
    house.cloud.with(|world| referee.at_end_of_deployment(world));
    Ok(())
}

fn ended(deployment: &Deployment) -> (u64, Phase, Option<&String>) {
    (deployment.number, deployment.phase, deployment.reason.as_ref())
}

/// Kills what was chosen, once, and starts it anew.
async fn crash_as_chosen(house: Arc<House>, chosen: Option<Chosen>) -> Result<()> {
    house.referee.faults.crash().await;
    if let Some(Chosen::KillServerAfterCommit(_)) = chosen {
        house.kill_server();
        return house.start_server();
    }
    for process in house.deployers() {
        house.kill_deployer(&process);
        let agent = process.split('/').next().unwrap_or_default();
        house.start_deployer(agent, None)?;
    }
    Ok(())
}

/// What of the cloud an interrupted run has in common with an uninterrupted one: everything but ids.
fn lasting(world: &World) -> String {
    let healthy = world.healthy();
    let mut text = String::new();
    for (name, group) in &world.security_groups {
        text += &format!("{name} {:?} {:?}\n", group.rules, group.tags);
    }
    text += &format!("{:#?}\n{:#?}\n{:?}\n", world.balancers, world.templates, world.clusters);
    for (name, group) in &world.groups {
        let (desired, max, rebalances) = (group.desired, group.max, group.rebalances);
        let (instances, balancers) = (group.instances.len(), &group.load_balancers);
        text += &format!("{name} {desired}/{max}, {instances} instances, {rebalances}, {balancers:?}\n");
    }
    for (name, definition) in world.definitions.iter().filter(|(name, _)| !world.deregistered.contains(name)) {
        text += &format!("{name} {definition:?}\n");
    }
    for (name, service) in world.services.iter().filter(|(_, service)| service.deleted_ms.is_none()) {
        let (desired, running) = (service.shown.desired, service.shown.running);
        let healthy = healthy.get(name).copied().unwrap_or(0);
        text += &format!("{name} {desired} {running} {healthy} {}\n", service.shown.task_definition);
    }
    for host in world.hosts.values() {
        text += &format!("host of {}: {:?}\n", host.cluster, host.status);
    }
    text + &weights::lasting(world)
}

/// Fails with what a person needs to see.
pub fn unharmed(setting: Setting) -> Result<Ended> {
    let ended = run(setting)?;
    if ended.violations.is_empty() {
        return Ok(ended);
    }
    let history = ended.history.join("\n");
    bail!(
        "{history}\n\nviolated with {setting:?}:\n  {}\n\nagain: SEED={} cargo test --workspace --test simulation",
        ended.violations.join("\n  "),
        setting.seed
    )
}

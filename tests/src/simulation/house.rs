//! The house: one server and some deployers as they ship, each of which may die and come back at any moment.

use super::{
    faults::Deliberate,
    knowledge::{Hosted, Way},
    ledger::Ledger,
    referee::Referee,
    wires::Wires,
};
use anyhow::Result;
use async_trait::async_trait;
use brain_core::time::Timestamp;
use brain_deployer::{
    outside::Outside,
    simulated::{Client, SimulatedCloud, World},
};
use brain_proto::channel::Network;
use brain_server::{
    Incoming,
    clock::Clock,
    store::{Store, memory::MemoryStore},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Error};

/// When every run begins, milliseconds since 1970.
pub(super) const BEGIN_MS: i64 = 1_800_000_000_000;

/// Everything that runs.
pub struct House {
    /// The network.
    pub wires: Arc<Wires>,
    /// The referee.
    pub referee: Arc<Referee>,
    /// The cloud.
    pub cloud: Arc<SimulatedCloud>,
    /// Git hosts and registries.
    pub hosted: Arc<Hosted>,
    /// The store, which outlives every server.
    pub store: Arc<MemoryStore>,
    /// How often the server keeps house.
    pub housekeeping: Duration,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    server: Option<(Arc<Ledger>, CancellationToken)>,
    deployers: Vec<(String, CancellationToken)>,
    watchers: Vec<(String, CancellationToken)>,
    started: u32,
}

struct Wire {
    wires: Arc<Wires>,
    name: String,
}

#[async_trait]
impl Network for Wire {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        Arc::clone(&self.wires).connect(self.name.clone(), endpoint).await
    }
}

impl House {
    /// A house with a cloud and a store, and nobody in it.
    #[must_use]
    pub fn new(world: World, referee: Arc<Referee>, housekeeping: Duration) -> Arc<Self> {
        let begun = Instant::now();
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || Timestamp(BEGIN_MS).plus(begun.elapsed()));
        let cloud = SimulatedCloud::new(world, Arc::clone(&referee) as _, Arc::clone(&now));
        let running = Arc::clone(&cloud);
        tokio::spawn(async move { running.run().await });
        let (wires, store, hosted) = (Arc::default(), Arc::default(), Arc::default());
        Arc::new(Self { wires, referee, cloud, hosted, store, housekeeping, now, inner: Mutex::default() })
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Starts the server.
    pub fn start_server(&self) -> Result<()> {
        self.referee.note("the server starts");
        self.referee.served(true);
        let housekeeping_interval = Some(format!("{}s", self.housekeeping.as_secs()));
        let settings = brain_server::config::Settings { housekeeping_interval, ..Default::default() };
        let config = settings.check()?;
        let ledger = Arc::new(Ledger::new(Arc::clone(&self.store), Arc::clone(&self.referee)));
        let now = Arc::clone(&self.now);
        let clock = Clock::new(move || now());
        let incoming = Incoming { api: self.wires.serve(), http: None };
        let stop = CancellationToken::new();
        let store = Arc::clone(&ledger) as Arc<dyn Store>;
        let (served, referee) = (stop.clone(), Arc::clone(&self.referee));
        tokio::spawn(async move {
            let ended = brain_server::run(config, store, clock, incoming, served).await;
            referee.note(format!("a server has ended: {ended:?}"));
        });
        self.lock().server = Some((ledger, stop));
        Ok(())
    }

    /// Whether a server runs.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.lock().server.is_some()
    }

    /// Kills the server: what it has not stored is lost, and nothing that it still sends arrives.
    pub fn kill_server(&self) {
        self.referee.note("the server dies");
        self.referee.served(false);
        self.wires.server_gone();
        if let Some((ledger, stop)) = self.lock().server.take() {
            ledger.kill();
            stop.cancel();
        }
    }

    /// Starts a deployer; answers its place among them. `instance` tells its start from others, unless two share one.
    pub fn start_deployer(&self, agent: &str, instance: Option<&str>) -> Result<String> {
        let mut inner = self.lock();
        inner.started += 1;
        let instance = instance.map_or_else(|| format!("start-{}", inner.started), str::to_owned);
        let process = format!("{agent}/{instance}#{}", inner.started);
        self.referee.note(format!("{process} starts"));
        let settings = brain_deployer::config::Settings {
            agent: Some(agent.to_owned()),
            ..brain_deployer::config::Settings::default()
        };
        let outside = Outside {
            clouds: Arc::new(Client::new(Arc::clone(&self.cloud), &process)),
            network: Arc::new(Wire { wires: Arc::clone(&self.wires), name: process.clone() }),
            now: Arc::clone(&self.now),
            deaf: self.referee.faults.deliberate == Some(Deliberate::IgnoresWithdraw),
        };
        let stop = CancellationToken::new();
        tokio::spawn(brain_deployer::run(settings.check()?, outside, instance, stop.clone()));
        inner.deployers.push((process.clone(), stop));
        Ok(process)
    }

    /// Kills a deployer: nothing that it still does arrives anywhere.
    pub fn kill_deployer(&self, process: &str) {
        self.referee.note(format!("{process} dies"));
        self.referee.faults.kill(process);
        self.wires.cut(process);
        self.wires.hold(process, true, true);
        let mut inner = self.lock();
        if let Some(place) = inner.deployers.iter().position(|(other, _)| other == process) {
            inner.deployers.remove(place).1.cancel();
        }
    }

    /// Starts a watcher.
    pub fn start_watcher(&self, agent: &str) -> Result<()> {
        let mut inner = self.lock();
        inner.started += 1;
        let process = format!("{agent}#{}", inner.started);
        self.referee.note(format!("{process} starts"));
        let settings = brain_watcher::config::Settings {
            agent: Some(agent.to_owned()),
            ..brain_watcher::config::Settings::default()
        };
        let (referee, name) = (Arc::clone(&self.referee), process.clone());
        let outside = brain_watcher::outside::Outside {
            sources: Arc::new(Way::new(Arc::clone(&self.hosted), Arc::clone(&self.referee))),
            network: Arc::new(Wire { wires: Arc::clone(&self.wires), name: process.clone() }),
            now: Arc::clone(&self.now),
            stored: Arc::new(move |observation| {
                for missing in referee.knowledge.missing(observation) {
                    referee.violated(format!("{name} was told that {missing} is stored, and it is not"));
                }
            }),
        };
        let stop = CancellationToken::new();
        tokio::spawn(brain_watcher::run(Arc::new(settings.check()?), outside, stop.clone()));
        inner.watchers.push((process, stop));
        Ok(())
    }

    /// Kills a watcher: nothing that it still tells arrives anywhere.
    pub fn kill_watcher(&self, process: &str) {
        self.referee.note(format!("{process} dies"));
        self.wires.cut(process);
        self.wires.hold(process, true, true);
        let mut inner = self.lock();
        if let Some(place) = inner.watchers.iter().position(|(other, _)| other == process) {
            inner.watchers.remove(place).1.cancel();
        }
    }

    /// Watchers that run.
    #[must_use]
    pub fn watchers(&self) -> Vec<String> {
        self.lock().watchers.iter().map(|(process, _)| process.clone()).collect()
    }

    /// Whether this deployer or watcher runs.
    #[must_use]
    pub fn runs(&self, process: &str) -> bool {
        let inner = self.lock();
        inner.deployers.iter().chain(&inner.watchers).any(|(other, _)| other == process)
    }

    /// Deployers that run.
    #[must_use]
    pub fn deployers(&self) -> Vec<String> {
        self.lock().deployers.iter().map(|(process, _)| process.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

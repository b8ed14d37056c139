//! A cloud in memory behind the ports: groups that boot hosts, services that place tasks, a load balancer that finds them
//! healthy after a while. It knows no faults of its own: a [`Director`] decides what goes wrong, and sees every act.
//!
//! [`SimulatedCloud`] is the account; [`Client`] is one process's way to it. Time is the runtime's, so a paused clock makes
//! it a simulation.

use crate::cloud::{Cloud, CloudError, ErrorKind, Result};
use crate::clouds::Clouds;
use async_trait::async_trait;
use brain_core::time::Timestamp;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, sleep};

mod act;
mod application;
mod balancer;
mod chance;
mod pace;
mod ports;
mod world;

pub use act::Act;
pub use chance::Chance;
pub use pace::Pace;
pub use world::{Behaviour, HostState, ServiceState, TaskStage, TaskState, World};

/// How often the control loop runs.
const TICK: Duration = Duration::from_millis(250);
/// Pasts that are kept for reads that are behind.
const PASTS: usize = 8;

/// What becomes of one call.
#[derive(Debug, Clone, Default)]
pub struct Treatment {
    /// Time before the effect.
    pub before: Duration,
    /// Time between the effect and the answer.
    pub after: Duration,
    /// Fails with this before anything is done.
    pub refused: Option<ErrorKind>,
    /// Is done, and the answer is lost.
    pub lost: bool,
    /// A read shows what was so many ticks ago, [`PASTS`] at most.
    pub behind: usize,
    /// A read shows what was when the process read in this way first.
    pub first: bool,
    /// The load balancer takes every running task for healthy.
    pub credulous: bool,
    /// A read shows no task that has stopped.
    pub forgets: bool,
    /// Is neither done nor answered, ever: whoever called is no more.
    pub never: bool,
}

/// Decides what goes wrong, and sees what is done.
pub trait Director: Send + Sync {
    /// What becomes of the call that a process begins.
    fn treat(&self, process: &str, call: &'static str, acting: bool) -> Treatment;
    /// What is done in place of an act: the act itself, unless somebody is to be caught.
    fn acts(&self, process: &str, act: Act, world: &World) -> Vec<Act>;
    /// An act takes effect now; the world is as it was before.
    fn acting(&self, process: &str, act: &Act, world: &World);
    /// The world has changed by itself or by an act.
    fn changed(&self, world: &World);
}

/// An account of one region.
pub struct SimulatedCloud {
    state: Mutex<State>,
    director: Arc<dyn Director>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

struct State {
    world: World,
    /// Newest first. Most ticks change nothing: a copy is made only of what differs from the one before.
    pasts: VecDeque<Arc<World>>,
    /// By process, for reads that show it for ever.
    firsts: BTreeMap<Arc<str>, World>,
}

impl State {
    /// What a read shows.
    fn shown(&mut self, process: &Arc<str>, treatment: &Treatment) -> &World {
        let Self { world, pasts, firsts } = self;
        if treatment.first {
            return firsts.entry(Arc::clone(process)).or_insert_with(|| world.clone());
        }
        match treatment.behind.checked_sub(1).and_then(|ago| pasts.get(ago)) {
            Some(past) => past,
            None => world,
        }
    }
}

impl SimulatedCloud {
    /// An account in which `world` is so.
    #[must_use]
    pub fn new(world: World, director: Arc<dyn Director>, now: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Arc<Self> {
        let state = State { world, pasts: VecDeque::new(), firsts: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state), director, now })
    }

    /// The control loop: runs until it is dropped.
    pub async fn run(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut state = self.lock();
            let past = state.pasts.front().filter(|past| ***past == state.world).map(Arc::clone);
            let past = past.unwrap_or_else(|| Arc::new(state.world.clone()));
            state.pasts.push_front(past);
            state.pasts.truncate(PASTS);
            state.world.tick((self.now)().0);
            self.director.changed(&state.world);
        }
    }

    /// Looks at the world, or changes it by a hand that is not brain's.
    pub fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        f(&mut self.lock().world)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, process: &str, act: Act) -> Result<()> {
        let mut state = self.lock();
        let now = (self.now)().0;
        let mut outcome = Ok(());
        for act in self.director.acts(process, act, &state.world) {
            self.director.acting(process, &act, &state.world);
            outcome = act.apply(&mut state.world, now);
        }
        self.director.changed(&state.world);
        outcome
    }
}

/// One process's way to the account.
#[derive(Clone)]
pub struct Client {
    cloud: Arc<SimulatedCloud>,
    process: Arc<str>,
}

impl Client {
    /// The way of the process of that name.
    #[must_use]
    pub fn new(cloud: Arc<SimulatedCloud>, process: &str) -> Self {
        Self { cloud, process: process.into() }
    }

    async fn look<T>(&self, call: &'static str, read: impl FnOnce(&World) -> T + Send) -> Result<T> {
        self.look_treated(call, |world, _| read(world)).await
    }

    async fn look_treated<T>(
        &self,
        call: &'static str,
        read: impl FnOnce(&World, &Treatment) -> T + Send,
    ) -> Result<T> {
        let treatment = self.begin(call, false).await?;
        let seen = {
            let mut state = self.cloud.lock();
            read(state.shown(&self.process, &treatment), &treatment)
        };
        end(call, &treatment).await?;
        Ok(seen)
    }

    /// Acts, and sees in the answer what is so right after it.
    async fn act_and_see<T>(&self, act: Act, see: impl FnOnce(&World) -> T) -> Result<T> {
        self.act(act).await?;
        Ok(see(&self.cloud.lock().world))
    }

    /// What was sent is carried out, whether or not somebody still waits for the answer.
    async fn act(&self, act: Act) -> Result<()> {
        let call = act.name();
        let client = self.clone();
        let carried = tokio::spawn(async move {
            let treatment = client.begin(call, true).await?;
            let outcome = client.cloud.carry_out(&client.process, act);
            end(call, &treatment).await?;
            outcome
        });
        carried.await.unwrap_or_else(|_| Err(error(call, ErrorKind::Transient, "NoConnection")))
    }

    async fn begin(&self, call: &'static str, acting: bool) -> Result<Treatment> {
        let treatment = self.cloud.director.treat(&self.process, call, acting);
        if treatment.never {
            std::future::pending::<()>().await;
        }
        sleep(treatment.before).await;
        match treatment.refused {
            Some(ErrorKind::Throttled) => Err(error(call, ErrorKind::Throttled, "ThrottlingException")),
            Some(kind) => Err(error(call, kind, "InternalFailure")),
            None => Ok(treatment),
        }
    }
}

async fn end(call: &'static str, treatment: &Treatment) -> Result<()> {
    sleep(treatment.after).await;
    if treatment.lost { Err(error(call, ErrorKind::Transient, "Timeout")) } else { Ok(()) }
}

fn error(action: &'static str, kind: ErrorKind, code: &str) -> CloudError {
    CloudError { action, code: code.to_owned(), message: "simulated".to_owned(), kind }
}

#[async_trait]
impl Clouds for Client {
    async fn get(&self, _: &str, _: &str) -> Arc<dyn Cloud> {
        Arc::new(self.clone())
    }
}

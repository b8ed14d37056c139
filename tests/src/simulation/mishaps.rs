//! What happens once in a while, and lasts: the version that serves turns sick, an instance never joins the cluster, nobody runs
//! the server for minutes, a person deletes a service by hand. Dice of their own decide, so that whatever else a seed draws stays
//! as it is.

use super::{Setting, Way, faults::Deliberate, house::House, weights};
use anyhow::Result;
use brain_core::traffic::LoadBalancerKind;
use brain_deployer::simulated::Behaviour;
use brain_proto::v1::RolloutPolicy;
use futures::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Of so many seeds, a number that has any.
const OFTEN: (u32, u32) = (10, 4);
/// Time of a deployment after which they begin, or time before it, milliseconds.
const SOON_MS: Range<u64> = 0..90_000;
/// Time for which nobody runs the server, milliseconds: sometimes longer than a step may take.
const AWAY_MS: Range<u64> = 60_000..900_000;
/// Time for which a version is sick that recovers, milliseconds.
const SICK_MS: Range<u64> = 30_000..300_000;

/// Something that happens once in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// Tasks of the version that serves are not healthy any more, some or all, for a while or for good.
    Sickness,
    /// An instance is started and never joins the cluster.
    BadBoot,
    /// Nobody runs the server for minutes.
    Absence,
    /// A person deletes a service: the old one or the new one, whatever runs in it.
    Deletion,
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// In the first deployment.
    First,
    /// Before the second one.
    Before,
    /// In the second one.
    During,
    /// Before the one that is to mend it.
    Fix,
}

impl Mishap {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Sickness, Self::BadBoot, Self::Absence, Self::Deletion];

    fn moments(self) -> &'static [Moment] {
        match self {
            Self::Sickness | Self::Deletion => &[Moment::Before, Moment::During, Moment::Fix],
            Self::BadBoot => &[Moment::First, Moment::During],
            Self::Absence => &[Moment::During],
        }
    }
}

/// The one without which a deployer that is wrong on purpose has nothing to be wrong about.
fn needed(deliberate: Deliberate) -> Option<(Mishap, Moment)> {
    match deliberate {
        Deliberate::IgnoresRecovery => Some((Mishap::Sickness, Moment::During)),
        Deliberate::ReplacesJoined => Some((Mishap::BadBoot, Moment::First)),
        _ => None,
    }
}

/// The mishaps of one run.
pub(super) struct Mishaps {
    house: Arc<House>,
    kind: LoadBalancerKind,
    /// Whether whatever turns sick does so in part, and may recover.
    in_part: bool,
    drawn: BTreeMap<Mishap, Moment>,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: fastrand::Rng,
    happened: BTreeSet<Mishap>,
    /// Whether an instance is to be started that never joins.
    boots_badly: bool,
}

impl Mishaps {
    /// Those of a seed. A deployer that is wrong on purpose has none but the one that it needs: it is caught by what it does.
    pub(super) fn draw(house: Arc<House>, setting: Setting) -> Arc<Self> {
        let mut dice = fastrand::Rng::with_seed(setting.seed ^ 0x0005_ADDA_4EA1);
        let mut drawn = BTreeMap::new();
        let any = dice.u32(0..OFTEN.0) < OFTEN.1;
        if any && setting.chaos && setting.deliberate.is_none() {
            // Seldom two of them.
            for _ in 0..1 + u32::from(dice.u32(0..4) == 0) {
                let mishap = Mishap::ALL[dice.usize(0..Mishap::ALL.len())];
                let moments = mishap.moments();
                drawn.insert(mishap, moments[dice.usize(0..moments.len())]);
            }
        }
        drawn.extend(setting.deliberate.and_then(needed));
        let in_part = setting.deliberate == Some(Deliberate::IgnoresRecovery);
        let inner = Inner { dice, happened: BTreeSet::new(), boots_badly: false };
        Arc::new(Self { house, kind: weights::kind(setting), in_part, drawn, inner: Mutex::new(inner) })
    }

    /// Those that have happened.
    pub(super) fn happened(&self) -> BTreeSet<Mishap> {
        self.lock().happened.clone()
    }

    /// Whether a version is to be deployed that mends what has happened. Where there is room for no task, nothing has.
    pub(super) fn ask_for_a_fix(&self) -> bool {
        let touches = self.drawn.keys().any(|mishap| *mishap != Mishap::Absence);
        touches && !self.house.cloud.with(|world| world.small_hosts)
    }

    /// How that version is deployed. Gates that compare with a sick version may hold for ever, so there are none.
    pub(super) fn policy(&self) -> Option<RolloutPolicy> {
        let last = if self.kind == LoadBalancerKind::Classic { Way::AllAtOnce } else { Way::Weighted };
        let ways = [None, Some(Way::BlueGreen), Some(Way::Canary), Some(last)];
        ways[self.pick(ways.len())].map(Way::policy)
    }

    /// Whatever is drawn for this moment, at the same time.
    pub(super) async fn at(&self, moment: Moment) -> Result<()> {
        let now = self.drawn.iter().filter(|(_, at)| **at == moment);
        let now: Vec<_> = now.map(|(mishap, _)| self.happen(*mishap, moment)).collect();
        join_all(now).await.into_iter().collect()
    }

    /// A deployment is over: every instance that is started from now on joins.
    pub(super) fn over(&self) {
        let left = self.house.cloud.with(|world| take(&mut world.stillborn));
        let mut inner = self.lock();
        if take(&mut inner.boots_badly) && left == 0 {
            inner.happened.insert(Mishap::BadBoot);
        }
    }

    async fn happen(&self, mishap: Mishap, moment: Moment) -> Result<()> {
        match mishap {
            Mishap::Sickness => self.turn_sick(moment).await,
            Mishap::BadBoot => {
                self.lock().boots_badly = true;
                self.house.cloud.with(|world| world.stillborn = 1);
                self.house.referee.note("the next instance will never join");
            }
            Mishap::Absence => return self.leave_the_server().await,
            Mishap::Deletion => self.delete_service(moment).await,
        }
        Ok(())
    }

    /// The version that serves turns sick.
    async fn turn_sick(&self, moment: Moment) {
        self.soon(moment).await;
        let behaviours = [Behaviour::NeverHealthy, Behaviour::Crashes, Behaviour::Leaks];
        let behaviour = behaviours[self.pick(behaviours.len())];
        let (some, recovers, tasks) = (self.pick(3) == 0, self.pick(2) == 0, 1 + self.pick(2));
        let (behaviour, some) = if self.in_part { (Behaviour::NeverHealthy, true) } else { (behaviour, some) };
        let Some(service) = self.serving() else { return };
        self.house.referee.sick(&service);
        let now_ms = self.house.now().0;
        self.house.cloud.with(|world| {
            if some {
                world.sicken_tasks(&service, behaviour, tasks, now_ms);
            } else {
                world.sicken(&service, behaviour, now_ms);
            }
        });
        let how_many = if some { format!("{tasks} tasks of") } else { "all of".to_owned() };
        let how_long = if some || recovers { "a while" } else { "good" };
        self.house.referee.note(format!("{how_many} {service} turn sick for {how_long}: {behaviour:?}"));
        self.lock().happened.insert(Mishap::Sickness);
        if recovers && !some {
            self.sleep(SICK_MS).await;
            self.house.cloud.with(|world| world.heal(&service));
            self.house.referee.note(format!("{service} is well again"));
        } else {
            self.seen(moment).await;
        }
    }

    /// The service with the most tasks of those that serve.
    fn serving(&self) -> Option<String> {
        let state = self.house.referee.state()?;
        let serving = state.active().map_or(&state.serving, |active| &active.plan.from);
        self.house.cloud.with(|world| {
            let wanted = |name: &String| world.services.get(name).map_or(0, |service| service.shown.desired);
            let names = serving.iter().map(|count| &count.service).filter(|name| wanted(name) > 0);
            names.max_by_key(|name| wanted(name)).cloned()
        })
    }

    /// Nobody runs the server for a while, sometimes for longer than a step may take.
    async fn leave_the_server(&self) -> Result<()> {
        self.soon(Moment::During).await;
        // Whoever restarts it just now does so within seconds.
        while !self.house.is_served() {
            sleep(Duration::from_secs(1)).await;
        }
        self.house.kill_server();
        self.lock().happened.insert(Mishap::Absence);
        self.sleep(AWAY_MS).await;
        self.house.start_server()
    }

    /// A person deletes a service that the latest deployment is about.
    async fn delete_service(&self, moment: Moment) {
        self.soon(moment).await;
        let Some(state) = self.house.referee.state() else { return };
        let latest = state.deployments.back();
        let named = latest.into_iter().flat_map(|latest| latest.plan.from.iter().chain(&latest.plan.to));
        let named: BTreeSet<&String> = named.map(|count| &count.service).collect();
        let there: Vec<String> = self.house.cloud.with(|world| {
            let there = |name: &&String| world.services.get(*name).is_some_and(|service| service.deleted_ms.is_none());
            named.into_iter().filter(there).cloned().collect()
        });
        if there.is_empty() {
            return;
        }
        let service = &there[self.pick(there.len())];
        self.house.referee.deleted(service);
        let now_ms = self.house.now().0;
        self.house.cloud.with(|world| world.delete_service(service, now_ms));
        self.house.referee.note(format!("a person deletes {service}"));
        self.lock().happened.insert(Mishap::Deletion);
        self.seen(moment).await;
    }

    /// In a deployment, some time passes first.
    async fn soon(&self, moment: Moment) {
        if moment == Moment::During {
            self.sleep(SOON_MS).await;
        }
    }

    /// Before one, some time passes in which it may be seen.
    async fn seen(&self, moment: Moment) {
        if moment != Moment::During {
            self.sleep(SOON_MS).await;
        }
    }

    async fn sleep(&self, between_ms: Range<u64>) {
        let pause_ms = self.lock().dice.u64(between_ms);
        sleep(Duration::from_millis(pause_ms)).await;
    }

    fn pick(&self, among: usize) -> usize {
        self.lock().dice.usize(0..among)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

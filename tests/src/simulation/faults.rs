//! What goes wrong in a run: drawn from the seed while faults are on, or chosen for a sweep.

use brain_deployer::{cloud::ErrorKind, simulated::Treatment};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// An agent or a store that is wrong on purpose, so that the simulation is seen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliberate {
    /// Acts long after it was told to, whoever holds the lease by then.
    ActsLate,
    /// Lowers the old version as soon as it raises the new one.
    IgnoresFloor,
    /// Gives capacity back by lowering the group's desired count.
    EndsUndrained,
    /// Does not raise the old version again.
    ForgetsToRestore,
    /// Registers task definitions twice.
    RegistersTwice,
    /// Mends drift that it was only to tell.
    RepairsUnasked,
    /// Removes a service without a look at it.
    RemovesUnseen,
    /// Takes a task that runs for one that is healthy.
    TakesRunningForHealthy,
    /// Sends all requests to a version that it raises, before any of its tasks is healthy.
    WeighsUnseen,
    /// Two processes claim to be the same start of the same deployer, so that the server hands a deployment to both.
    SharedInstance,
    /// A watcher that is handed a project anew goes on telling what it saw first.
    LosesShare,
    /// The store says of what watchers observe that it is durable, and it is not.
    AcknowledgesEarly,
    /// Goes on with a deployment that was withdrawn, and with reports that are refused.
    IgnoresWithdraw,
    /// Its looks at production that nobody waits for are never answered.
    SeesNothing,
    /// Such looks show for ever what the first of them has shown.
    SeesTheFirst,
    /// Sees no task that has stopped.
    SeesNoExits,
    /// Takes sick tasks for healthy ones when it sets a count, and so gives them no time to recover.
    IgnoresRecovery,
    /// In place of an instance that never joins has one replaced that has joined.
    ReplacesJoined,
}

/// One fault of a sweep, at the k-th call or act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// The process dies when its k-th call has been answered.
    CrashAfterCall(usize),
    /// The k-th act is refused.
    RefuseAct(usize),
    /// The k-th act is done, and its answer lost.
    LoseAct(usize),
    /// The server dies when its k-th commit is durable, before it does anything that follows.
    KillServerAfterCommit(usize),
}

/// What becomes of a poll.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollTreatment {
    /// Time until it is answered.
    pub(super) after: Duration,
    /// It shows what was so many changes ago.
    pub(super) behind: usize,
    /// The host is in trouble.
    pub(super) fails: bool,
}

/// The faults of a run.
#[derive(Debug)]
pub struct Faults {
    /// A deployer that is wrong on purpose.
    pub deliberate: Option<Deliberate>,
    chosen: Option<Chosen>,
    inner: Mutex<Inner>,
    crash: Notify,
}

#[derive(Debug)]
struct Inner {
    random: fastrand::Rng,
    on: bool,
    calls: usize,
    acts: usize,
    commits: usize,
    dead: BTreeSet<String>,
}

impl Faults {
    /// Faults of a seed; none yet.
    #[must_use]
    pub fn new(seed: u64, deliberate: Option<Deliberate>, chosen: Option<Chosen>) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ 0x00FA_0175);
        let inner = Inner { random, on: false, calls: 0, acts: 0, commits: 0, dead: BTreeSet::new() };
        Self { deliberate, chosen, inner: Mutex::new(inner), crash: Notify::new() }
    }

    /// Switches random faults on or off.
    pub fn switch(&self, on: bool) {
        self.lock().on = on;
    }

    /// From now on nothing that the process does reaches the cloud.
    pub fn kill(&self, process: &str) {
        self.lock().dead.insert(process.to_owned());
    }

    /// Acts so far.
    #[must_use]
    pub fn acts(&self) -> usize {
        self.lock().acts
    }

    /// Commits so far.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.lock().commits
    }

    /// Counts a commit; true: the server dies of it.
    pub fn committed(&self) -> bool {
        let mut inner = self.lock();
        inner.commits += 1;
        let dies = self.chosen == Some(Chosen::KillServerAfterCommit(inner.commits));
        if dies {
            self.crash.notify_one();
        }
        dies
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// Waits for the crash that was chosen.
    pub async fn crash(&self) {
        self.crash.notified().await;
    }

    pub(super) fn treat(&self, process: &str, acting: bool, idle: bool) -> Treatment {
        let mut inner = self.lock();
        let Inner { random, on, calls, acts, commits: _, dead } = &mut *inner;
        *calls += 1;
        *acts += usize::from(acting);
        let credulous = self.deliberate == Some(Deliberate::TakesRunningForHealthy);
        let mut treatment = Treatment { before: Duration::from_millis(20), credulous, ..Treatment::default() };
        treatment.never = dead.contains(process) || idle && self.deliberate == Some(Deliberate::SeesNothing);
        treatment.forgets = self.deliberate == Some(Deliberate::SeesNoExits);
        treatment.first = idle && self.deliberate == Some(Deliberate::SeesTheFirst);
        match self.chosen {
            Some(Chosen::CrashAfterCall(call)) if call == *calls => {
                treatment.after = Duration::from_millis(1);
                self.crash.notify_one();
            }
            Some(Chosen::RefuseAct(act)) if acting && act == *acts => treatment.refused = Some(ErrorKind::Transient),
            Some(Chosen::LoseAct(act)) if acting && act == *acts => treatment.lost = true,
            _ => {}
        }
        if !*on {
            return treatment;
        }
        treatment.before = Duration::from_millis(random.u64(5..100));
        match random.u32(0..100) {
            0..3 => treatment.refused = Some(ErrorKind::Throttled),
            3..6 => treatment.refused = Some(ErrorKind::Transient),
            6..9 => treatment.lost = true,
            9..12 => treatment.before = Duration::from_millis(random.u64(100..1_000)),
            12..15 => treatment.after = Duration::from_millis(random.u64(100..4_000)),
            15..20 => treatment.behind = random.usize(1..6),
            20..40 if acting && self.deliberate == Some(Deliberate::ActsLate) => {
                treatment.before = Duration::from_secs(45);
            }
            _ => {}
        }
        treatment
    }

    /// What becomes of a poll of a source.
    pub(super) fn poll(&self) -> PollTreatment {
        let mut inner = self.lock();
        let Inner { random, on, .. } = &mut *inner;
        let mut treatment = PollTreatment { after: Duration::from_millis(20), behind: 0, fails: false };
        if !*on {
            return treatment;
        }
        match random.u32(0..100) {
            0..10 => treatment.fails = true,
            10..15 => (treatment.fails, treatment.after) = (true, Duration::from_secs(20)),
            15..25 => treatment.after = Duration::from_millis(random.u64(100..15_000)),
            25..40 => treatment.behind = random.usize(1..4),
            _ => {}
        }
        treatment
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

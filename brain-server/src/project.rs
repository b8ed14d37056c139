//! One project in memory: its state, readable by all, and the actor that alone changes it.
//!
//! The actor is a task with a bounded mailbox, started when the first command arrives: decide → commit → apply → publish.
//! Readers see only what is committed.

use crate::{clock::Clock, deployers::DeployersHandle, line::Switch, store::Store, watchers::WatchersHandle};
use brain_core::{
    deployment::{Deployment, Fact},
    event::{Change, Event},
    hold::HoldWish,
    housekeeping::HouseNews,
    id::ProjectId,
    looks::Looks,
    observation::Observation,
    project::{ProjectSpec, repository_key},
    state::{DefinitionRefusal, Misfit, ProjectState, Refusal, Wish},
};
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod actor;
mod batch;
mod looks;

/// Commands that may wait for one project. A full mailbox holds back whoever sends: watchers stop polling, clients wait.
const MAILBOX: usize = 64;
/// News that a subscriber of one project may be behind before it is cut off.
const NEWS_BEHIND: usize = 256;

/// What the actors of all projects share.
#[derive(Debug)]
pub struct Shared {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// Who hands deployments to deployers.
    pub deployers: DeployersHandle,
    /// Who shares the projects out among the watchers.
    pub watchers: WatchersHandle,
    /// The switch over all projects.
    pub line: Switch,
    /// Ids of projects that changed, for the board.
    pub changed: broadcast::Sender<ProjectId>,
    /// Ids of projects that changed and whose policy tags heads.
    pub tagging: broadcast::Sender<ProjectId>,
    /// How long production may not have been seen and still is current.
    pub patience: Duration,
    /// Latest revision that is known to be committed.
    pub revision: AtomicU64,
    /// Owner of all tasks.
    pub tasks: TaskTracker,
    /// Ends all tasks.
    pub shutdown: CancellationToken,
}

/// Events of one transition, as subscribers get them.
#[derive(Debug)]
pub struct News {
    /// Version of the project after them.
    pub version: u64,
    /// The events.
    pub events: Vec<Event>,
}

/// State and version; the version counts transitions.
#[derive(Debug)]
pub struct Versioned {
    /// Version; 0 before the project's creation is committed.
    pub version: u64,
    /// State.
    pub state: ProjectState,
    /// How webhooks name its git repository and its image repository.
    pub routes: Routes,
}

/// One project.
#[derive(Debug)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Generation of the latest assignment to a watcher; 0 before the first.
    pub(crate) watch_generation: AtomicU64,
    /// Generation of the latest assignment of its production to a deployer that observes it; 0 before the first.
    pub(crate) observe_generation: AtomicU64,
    /// Since when looks at its production are expected, and how they went.
    began: Instant,
    looks: Mutex<Looks>,
    inner: RwLock<Versioned>,
    mailbox: OnceLock<mpsc::Sender<Command>>,
    news: Mutex<Audience>,
    shared: Arc<Shared>,
}

/// What webhooks name a project by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Key of the git repository.
    pub git: String,
    /// Path of the image repository.
    pub images: String,
}

impl Routes {
    fn of(spec: &ProjectSpec) -> Self {
        Self { git: repository_key(&spec.source.git_url).unwrap_or_default(), images: spec.image_repository.path() }
    }
}

/// Who hears of news.
#[derive(Debug, Default)]
enum Audience {
    /// Nobody has asked yet.
    #[default]
    Nobody,
    Subscribers(broadcast::Sender<Arc<News>>),
    /// The project is deleted: there is no news any more, and every subscription ends.
    Gone,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Error)]
pub enum CommandError {
    /// The request to deploy is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The fact does not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The definition cannot change so, or not now.
    #[error(transparent)]
    Definition(#[from] DefinitionRefusal),
    /// There is no such project any more.
    #[error("the project was deleted")]
    Deleted,
    /// The store did not take it.
    #[error("the store did not take the change: {0}")]
    Store(String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Answer to a command.
pub type Reply<T> = oneshot::Sender<Result<T, CommandError>>;

/// What an actor is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Observe {
        by: Arc<str>,
        /// Of the watcher's assignment; 0: it does not matter.
        generation: u64,
        observation: Observation,
        reply: Reply<()>,
    },
    Deploy {
        wish: Wish,
        reply: Reply<Deployment>,
    },
    RollBack {
        wish: Wish,
        why: String,
        reply: Reply<Deployment>,
    },
    Hold {
        by: String,
        wish: HoldWish,
        why: String,
        reply: Reply<()>,
    },
    Redefine {
        by: String,
        spec: Box<ProjectSpec>,
        /// Paths of what differs.
        fields: Vec<String>,
        why: String,
        reply: Reply<()>,
    },
    Delete {
        by: String,
        leave_running: bool,
        why: String,
        reply: Reply<()>,
    },
    /// A deployer has kept house; answered with what that changed.
    KeepHouse {
        by: String,
        news: HouseNews,
        reply: Reply<Vec<Change>>,
    },
    Fact {
        by: String,
        number: u64,
        fact: Fact,
        reply: Reply<Deployment>,
    },
    /// Answered once everything before it is applied.
    Barrier(Reply<()>),
}

impl Project {
    /// A project whose state is committed.
    #[must_use]
    pub fn new(id: ProjectId, version: u64, state: ProjectState, shared: Arc<Shared>) -> Arc<Self> {
        let routes = Routes::of(&state.spec);
        Arc::new(Self {
            id,
            watch_generation: AtomicU64::new(0),
            observe_generation: AtomicU64::new(0),
            began: Instant::now(),
            looks: Mutex::default(),
            inner: RwLock::new(Versioned { version, state, routes }),
            mailbox: OnceLock::new(),
            news: Mutex::default(),
            shared,
        })
    }

    /// The state now. Hold it shortly, and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Versioned> {
        // A writer that panicked did so before it changed anything: `apply` leaves the state alone on an error.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// News from now on, until the project is deleted. Read the state after subscribing, and skip news of versions that it
    /// has.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<News>> {
        let mut audience = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        match &*audience {
            Audience::Subscribers(news) => news.subscribe(),
            Audience::Nobody => {
                let (news, receiver) = broadcast::channel(NEWS_BEHIND);
                *audience = Audience::Subscribers(news);
                receiver
            }
            Audience::Gone => broadcast::channel(1).1,
        }
    }

    /// Hands over an observation; the answer comes when it is durable, or no news any more.
    pub(crate) async fn observe(
        self: &Arc<Self>,
        by: Arc<str>,
        generation: u64,
        observation: Observation,
    ) -> oneshot::Receiver<Result<(), CommandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.mailbox().send(Command::Observe { by, generation, observation, reply }).await;
        // A mailbox that is closed otherwise drops the reply, which the receiver sees.
        if let Err(mpsc::error::SendError(Command::Observe { reply, .. })) = sent
            && self.read().state.deleted.is_some()
        {
            let _ = reply.send(Ok(()));
        }
        answer
    }

    /// Whether what was observed under that generation was observed by the present definition and the latest assignment.
    pub(crate) fn is_watched_under(&self, generation: u64) -> bool {
        generation == 0 || generation >= self.watch_generation.load(Ordering::Relaxed)
    }

    /// Asks for a deployment.
    pub(crate) async fn deploy(self: &Arc<Self>, wish: Wish) -> Result<Deployment, CommandError> {
        self.ask(|reply| Command::Deploy { wish, reply }).await
    }

    /// Asks for a release that was there before.
    pub(crate) async fn roll_back(self: &Arc<Self>, wish: Wish, why: String) -> Result<Deployment, CommandError> {
        self.ask(|reply| Command::RollBack { wish, why, reply }).await
    }

    /// Asks for a hold, or for its end.
    pub(crate) async fn hold(self: &Arc<Self>, by: String, wish: HoldWish, why: String) -> Result<(), CommandError> {
        self.ask(|reply| Command::Hold { by, wish, why, reply }).await
    }

    /// Asks for another definition.
    pub(crate) async fn redefine(
        self: &Arc<Self>,
        by: String,
        spec: ProjectSpec,
        fields: Vec<String>,
        why: String,
    ) -> Result<(), CommandError> {
        let spec = Box::new(spec);
        self.ask(|reply| Command::Redefine { by, spec, fields, why, reply }).await
    }

    /// Asks for the project's end.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        by: String,
        leave_running: bool,
        why: String,
    ) -> Result<(), CommandError> {
        self.ask(|reply| Command::Delete { by, leave_running, why, reply }).await
    }

    /// Hands over what a deployer says of its housekeeping; answers what that changed.
    pub(crate) async fn keep_house(self: &Arc<Self>, by: String, news: HouseNews) -> Result<Vec<Change>, CommandError> {
        self.ask(|reply| Command::KeepHouse { by, news, reply }).await
    }

    /// Hands over a fact about a deployment; the answer, the deployment after it, comes when it is durable. What was
    /// handed over before is decided before.
    pub(crate) async fn fact(
        self: &Arc<Self>,
        by: String,
        number: u64,
        fact: Fact,
    ) -> oneshot::Receiver<Result<Deployment, CommandError>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.mailbox().send(Command::Fact { by, number, fact, reply }).await;
        answer
    }

    /// Waits until everything that was asked before is applied. A project without an actor has nothing under way.
    pub(crate) async fn settled(self: &Arc<Self>) {
        if self.mailbox.get().is_some() {
            let _ = self.ask(Command::Barrier).await;
        }
    }

    /// Starts the actor if it has something to do by itself: a deadline, the end of a freeze or deploy windows to watch,
    /// or deployments by policy.
    pub(crate) fn wake(self: &Arc<Self>) {
        let wakes = {
            let state = &self.read().state;
            let timed = state.holds.thaws().is_some() || state.holds.windows.is_some();
            state.active().is_some() || timed || state.spec.deploy.automatic
        };
        if wakes {
            self.mailbox();
        }
    }

    async fn ask<T>(self: &Arc<Self>, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox().send(command(reply)).await.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Why the actor takes nothing any more.
    fn gone(&self) -> CommandError {
        if self.read().state.deleted.is_some() { CommandError::Deleted } else { CommandError::ShuttingDown }
    }

    fn mailbox(self: &Arc<Self>) -> &mpsc::Sender<Command> {
        self.mailbox.get_or_init(|| {
            let (mailbox, commands) = mpsc::channel(MAILBOX);
            self.shared.tasks.spawn(actor::run(Arc::clone(self), commands));
            mailbox
        })
    }

    /// Folds committed events and tells subscribers.
    fn publish(&self, version: u64, events: Vec<Event>) -> Result<Vec<brain_core::deployment::Effect>, Misfit> {
        let mut effects = Vec::new();
        let (tagging, deleted);
        {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            for event in &events {
                if let Change::ProjectChanged { spec, .. } = &event.change
                    && inner.state.spec.is_polled_otherwise(spec)
                {
                    inner.routes = Routes::of(spec);
                    // Until it is handed to a watcher anew: what is on its way was seen by the former definition.
                    self.watch_generation.fetch_add(1, Ordering::Relaxed);
                }
                effects.extend(inner.state.apply(event)?);
            }
            inner.version = version;
            tagging = inner.state.spec.source.auto_tag.is_some();
            deleted = inner.state.deleted.is_some();
        }
        let mut audience = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if let Audience::Subscribers(news) = &*audience {
            // Nobody may be listening any more.
            let _ = news.send(Arc::new(News { version, events }));
        }
        if deleted {
            *audience = Audience::Gone;
        }
        drop(audience);
        let _ = self.shared.changed.send(self.id.clone());
        if tagging {
            let _ = self.shared.tagging.send(self.id.clone());
        }
        Ok(effects)
    }
}

impl Shared {
    /// Remembers the latest revision.
    pub(crate) fn committed(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::Relaxed);
    }
}

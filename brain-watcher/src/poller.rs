//! The two pollers of a project, of its git repository and of its images: each on its jittered period, and at once when
//! poked. A poke that comes while a poll is under way makes one more poll, however many come. Hosts tell of a change before they
//! show it: a poke that brings no news is followed up.

use crate::{
    config::Config,
    observe::Told,
    outbox::Outbox,
    outside::Outside,
    source::{
        PollError,
        port::{ImagesPort, RepositoryPort},
    },
    trace::seen,
};
use brain_core::{time::Timestamp, trace::Place};
use brain_process::trace;
use brain_proto::{
    convert::{duration_from_proto, timestamp_from_proto, timestamp_to_proto},
    name,
    v1::{Observation, PollTarget, TagCommand, TagOutcome, WatchedProject, observation::What},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, info, info_span, warn};

/// Shortest period, whatever the server says.
const PERIOD_MIN: Duration = Duration::from_millis(50);
/// Longest time of one poll, which may be many requests.
const POLL_TIMEOUT: Duration = Duration::from_mins(10);

/// After a poll that was asked for and brought no news: when it is made once more, and the last time. A registry, for one, tells of
/// an image before its tag can be read.
const FOLLOW_UPS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Longest pause of a poller whose host asks for one; the host's own may be longer.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// Tags of one project that may wait to be made.
const TAGS_WAITING: usize = 16;

/// What all pollers share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) outside: Outside,
    pub(crate) outbox: Outbox,
    /// How tags' creations ended; read by the stream that is open.
    pub(crate) tag_outcomes: mpsc::Sender<TagOutcome>,
    pub(crate) tasks: TaskTracker,
}

/// Asks a poller to poll at once.
#[derive(Debug, Default)]
struct Poke {
    asked: Notify,
    /// Who asked last.
    cause: Mutex<String>,
}

impl Poke {
    fn ask(&self, cause: &str) {
        cause.clone_into(&mut self.lock());
        self.asked.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pollers of one project. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pollers {
    poke: [Arc<Poke>; 2],
    tags: mpsc::Sender<TagCommand>,
    end: CancellationToken,
}

impl Drop for Pollers {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Pollers {
    /// Starts both.
    pub(crate) fn start(shared: &Arc<Shared>, project: &WatchedProject) -> Self {
        let (tags, commands) = mpsc::channel(TAGS_WAITING);
        let mut commands = Some(commands);
        let pollers = Self { poke: [Arc::default(), Arc::default()], tags, end: CancellationToken::new() };
        for (target, poke) in [PollTarget::Source, PollTarget::Images].into_iter().zip(&pollers.poke) {
            let poller = Poller {
                shared: Arc::clone(shared),
                project: project.clone(),
                target,
                poke: Arc::clone(poke),
                cause: String::new(),
                // Tags are made by the poller of the git repository, which has it open.
                tags: if target == PollTarget::Source { commands.take() } else { None },
                told: Told::default(),
            };
            let end = pollers.end.clone();
            let span = info_span!("poll", project = project.project, target = target.as_str_name());
            shared.tasks.spawn(async move { end.run_until_cancelled(poller.run().instrument(span)).await });
        }
        pollers
    }

    /// Makes one poll at once, or both.
    pub(crate) fn poke(&self, target: PollTarget, cause: &str) {
        let [source, images] = &self.poke;
        if target != PollTarget::Images {
            source.ask(cause);
        }
        if target != PollTarget::Source {
            images.ask(cause);
        }
    }

    /// Has a tag made; the outcome goes to the shared queue. What cannot be taken is answered here.
    pub(crate) fn create_tag(&self, shared: &Shared, command: TagCommand) {
        if let Err(refused) = self.tags.try_send(command) {
            let command = match refused {
                mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command) => command,
            };
            shared.tag_outcome(&command, "the watcher cannot reach the git repository, or makes too many tags");
        }
    }
}

struct Poller {
    shared: Arc<Shared>,
    project: WatchedProject,
    target: PollTarget,
    poke: Arc<Poke>,
    /// What the poll was asked for by; empty: its own time had come.
    cause: String,
    tags: Option<mpsc::Receiver<TagCommand>>,
    told: Told,
}

enum Source {
    Repository(Box<dyn RepositoryPort>),
    Images(Box<dyn ImagesPort>),
}

impl Shared {
    /// Tells how a tag's creation ended. Nobody waits for long: what finds no room is told by the caller's own time-out.
    pub(crate) fn tag_outcome(&self, command: &TagCommand, failure: &str) {
        let outcome = TagOutcome { command: command.command, failure: failure.to_owned() };
        let _ = self.tag_outcomes.try_send(outcome);
    }
}

impl Poller {
    async fn run(mut self) {
        let period = self.project.poll_interval.map(duration_from_proto).unwrap_or_default().max(PERIOD_MIN);
        let mut source = match self.open() {
            Ok(source) => source,
            // The definition itself is at fault; another one brings another poller.
            Err(error) => return self.failed(&error).await,
        };
        let mut hinted = false;
        let mut followed_up = 0;
        loop {
            let mut pause = Duration::ZERO;
            let mut follow_up = None;
            let host = match &source {
                Source::Repository(repository) => repository.host(),
                Source::Images(images) => images.host(),
            };
            let turn = host.poll_turn().await;
            let began = tokio::time::Instant::now();
            // Boxed: a poll's memory is many times a poller's own, and ten thousand pollers rest most of the time.
            let poll = Box::pin(self.poll(&mut source, hinted));
            let polled = timeout(POLL_TIMEOUT, poll).await;
            drop(turn);
            host.measured.polled(self.target, matches!(polled, Ok(Ok(_))), began.elapsed());
            match polled {
                Ok(Ok(news)) => {
                    self.tell_poll("").await;
                    follow_up = FOLLOW_UPS.get(followed_up).filter(|_| hinted && !news);
                }
                Ok(Err(error)) => {
                    self.failed(&error).await;
                    // The host's queue turns requests away for as long; this keeps the poller from standing in it.
                    pause = error.retry_after.unwrap_or_default().min(PAUSE_MAX);
                }
                Err(_) => self.failed(&PollError::new("the poll did not end in 10 minutes")).await,
            }
            // Within a tenth either way, so that a thousand projects do not poll at the same moment.
            let jitter = period.mul_f32(0.9 + 0.2 * fastrand::f32());
            let length = follow_up.map_or(jitter, |follow_up| jitter.min(*follow_up)).max(pause);
            let poked = self.rest(length, &mut source).await;
            followed_up = if poked || follow_up.is_none() { 0 } else { followed_up + 1 };
            hinted = poked || follow_up.is_some();
            if !hinted {
                self.cause.clear();
            }
        }
    }

    /// Waits for the next poll, making tags meanwhile; answers whether something is said to have changed.
    async fn rest(&mut self, length: Duration, source: &mut Source) -> bool {
        let end = tokio::time::Instant::now() + length;
        loop {
            let command = async {
                match &mut self.tags {
                    Some(tags) => tags.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // In one order, so that a simulation's seed runs the same way each time.
                biased;
                () = tokio::time::sleep_until(end) => return false,
                () = self.poke.asked.notified() => {
                    self.cause = self.poke.lock().clone();
                    debug!(cause = self.cause, "poked");
                    return true;
                }
                command = command => match command {
                    Some(command) => {
                        Box::pin(self.create_tag(&command, source)).await;
                        self.cause.clear();
                        return true;
                    }
                    None => self.tags = None,
                },
            }
        }
    }

    async fn create_tag(&self, command: &TagCommand, source: &mut Source) {
        let Source::Repository(repository) = source else { return };
        let failure = match repository.create_tag(&command.tag, &command.commit).await {
            Ok(()) => String::new(),
            Err(error) => error.message,
        };
        info!(tag = command.tag, commit = command.commit, failure, "tag asked for");
        self.shared.tag_outcome(command, &failure);
    }

    fn open(&self) -> Result<Source, PollError> {
        let sources = &self.shared.outside.sources;
        let WatchedProject { git_url, branch, image_repository, .. } = &self.project;
        if self.target == PollTarget::Images {
            return sources.images(image_repository).map(Source::Images);
        }
        sources.repository(git_url, branch).map(Source::Repository)
    }

    /// One poll; answers whether there is news.
    async fn poll(&mut self, source: &mut Source, hinted: bool) -> Result<bool, PollError> {
        let began = (self.shared.outside.now)();
        let what = match source {
            Source::Repository(repository) => {
                let refs = repository.poll().await?;
                self.told.refs(refs)
            }
            Source::Images(images) => {
                let images = images.poll(hinted).await?;
                self.told.images(images)
            }
        };
        let Some(what) = what else { return Ok(false) };
        info!("there is news");
        if trace::is_on() {
            self.export(&what, began);
        }
        self.put(what).await;
        Ok(true)
    }

    fn export(&self, what: &What, began: Timestamp) {
        let WatchedProject { project, project_create_time, .. } = &self.project;
        let (Ok(id), Some(created)) = (name::parse_project(project), *project_create_time) else { return };
        let of = |tag: &str| Place::release(&id, timestamp_from_proto(created), tag);
        seen(&id, of, what, began, (self.shared.outside.now)()).into_iter().for_each(trace::export);
    }

    async fn failed(&mut self, error: &PollError) {
        warn!(%error, "poll failed");
        self.tell_poll(&error.message).await;
    }

    async fn tell_poll(&mut self, failure: &str) {
        if let Some(what) = self.told.poll(self.target, failure) {
            self.put(what).await;
        }
    }

    async fn put(&self, what: What) {
        let now = (self.shared.outside.now)();
        let WatchedProject { project, generation, .. } = self.project.clone();
        let observe_time = Some(timestamp_to_proto(now));
        let (what, cause) = (Some(what), self.cause.clone());
        // The outbox numbers it.
        let observation = Observation { sequence: 0, project, observe_time, what, generation, cause };
        self.shared.outbox.put(observation).await;
    }
}

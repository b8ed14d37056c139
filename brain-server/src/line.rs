//! The line: one switch over all projects, kept in a stream of its own.
//!
//! Whoever begins a deployment holds the gate from its decision to its commit, and whoever throws the switch waits for all of
//! them: once a stop is acknowledged, nothing new begins any more. What a stop does to deployments under way is carried out
//! beside it, again and again until all of it is stored, also by the next server.

use crate::{
    directory::Directory,
    project::{Project, Shared},
    store::{StoreError, Transition},
};
use brain_core::{
    deployment::Fact,
    event::{Change, Event},
    line::{Line, Moment},
    stream::Stream,
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::{RwLock as Gate, RwLockReadGuard, watch};
use tracing::{error, info, warn};

/// Who is named in the log when the line pauses a deployment or lets it go on.
const LINE: &str = "line";
/// Pause before what the store did not take is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The switch.
#[derive(Debug)]
pub struct Switch {
    inner: RwLock<(u64, Line)>,
    gate: Gate<()>,
    thrown: watch::Sender<()>,
}

/// As long as it is held, the line is not stopped or released.
#[derive(Debug)]
pub(crate) struct Steady<'a>(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'a, ()>);

impl Switch {
    /// The switch as it was loaded, with its version.
    #[must_use]
    pub fn new(loaded: (u64, Line)) -> Self {
        Self { inner: RwLock::new(loaded), gate: Gate::new(()), thrown: watch::Sender::new(()) }
    }

    /// How the line stands.
    #[must_use]
    pub fn line(&self) -> Line {
        self.versioned().1
    }

    /// How the line stands, with its version.
    #[must_use]
    pub fn versioned(&self) -> (u64, Line) {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whenever it was thrown.
    pub(crate) fn thrown(&self) -> watch::Receiver<()> {
        self.thrown.subscribe()
    }

    /// Waits until a change that is under way is applied, and keeps others off.
    pub(crate) async fn steady(&self) -> Steady<'_> {
        Steady(self.gate.read().await)
    }

    /// Throws the switch as decided; answers the line after it. A change that changes nothing costs no write.
    pub(crate) async fn throw(
        &self,
        shared: &Shared,
        by: String,
        decide: impl FnOnce(&Line) -> Option<Change>,
    ) -> Result<Line, StoreError> {
        let _gate = self.gate.write().await;
        let (expected, mut line) = self.versioned();
        let Some(change) = decide(&line) else { return Ok(line) };
        let event = Event { at: shared.clock.now(), by, change };
        let transition = Transition { stream: Stream::Line, expected, events: vec![event.clone()] };
        let committed = shared.store.commit(vec![transition]).await.inspect_err(|failure| {
            error!(%failure, "the line was not changed");
            if matches!(failure, StoreError::Conflict { .. }) {
                // Somebody else wrote to the store: nothing that is held in memory is right any more.
                shared.shutdown.cancel();
            }
        })?;
        shared.committed(committed.0);
        // The decision is of this very line, so that its event fits.
        line.apply(&event).map_err(|misfit| StoreError::Unavailable(misfit.to_string()))?;
        info!(stopped = line.stopped.is_some(), by = event.by, "the line");
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = (expected + 1, line.clone());
        let _ = self.thrown.send(());
        Ok(line)
    }
}

impl Shared {
    /// Now, and how the line stands.
    pub(crate) fn moment(&self) -> Moment {
        Moment { at: self.clock.now(), line: self.line.line() }
    }
}

/// Carries out what the switch says, from the start of the server to its end.
pub(crate) async fn run(directory: Arc<Directory>, shared: Arc<Shared>) {
    let mut thrown = shared.line.thrown.subscribe();
    let work = async {
        loop {
            thrown.borrow_and_update();
            let mut failed = false;
            for project in directory.all() {
                failed |= !carry_out(&project, &shared).await;
            }
            tokio::select! {
                changed = thrown.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if failed => {}
            }
        }
    };
    shared.shutdown.run_until_cancelled(work).await;
}

/// Pauses a project's deployment or lets it go on, and lets the project look at what the line allows now. Answers whether
/// that is stored.
async fn carry_out(project: &Arc<Project>, shared: &Shared) -> bool {
    let line = shared.line.line();
    let fact = {
        let state = &project.read().state;
        match (line.pauses(), state.active()) {
            (Some(held), Some(active)) if active.stops_with_the_line() => {
                Some((active.number, Fact::LineStopped { by: held.by.clone(), why: held.why.clone() }))
            }
            (None, Some(active)) if active.paused.as_ref().is_some_and(|pause| pause.line) => {
                Some((active.number, Fact::LineReleased))
            }
            _ => None,
        }
    };
    let mut stored = true;
    if let Some((number, fact)) = fact
        && let Ok(Err(failure)) = project.fact(LINE.to_owned(), number, fact).await.await
    {
        warn!(project = %project.id, number, %failure, "the line could not be carried out");
        stored = false;
    }
    project.settled().await;
    let _ = shared.changed.send(project.id.clone());
    stored
}

//! What changes on the board, gathered and rendered once for everybody.
//!
//! Changes are gathered for a moment, so that a project that changes a hundred times meanwhile is rendered once; and only
//! while somebody looks. A reader who is behind is sent everything anew.

use super::{Board, row::Row};
use brain_core::{id::ProjectId, words::counted};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long changes are gathered.
const GATHERED: Duration = Duration::from_millis(50);
/// How often it is asked whether agents have come or gone.
const AGENTS: Duration = Duration::from_secs(5);
/// Ticks that a reader may be behind.
const BEHIND: usize = 64;

/// The rows, and who hears of changes.
#[derive(Debug)]
pub(super) struct Pulse {
    rows: Mutex<Rows>,
    ticks: broadcast::Sender<Arc<Tick>>,
}

#[derive(Debug)]
struct Rows {
    rows: BTreeMap<ProjectId, Arc<Row>>,
    /// Projects whose rows are not as they are rendered.
    stale: BTreeSet<ProjectId>,
    all_stale: bool,
    /// What was rendered and is not told yet: whoever opens a page renders what is stale, and the others hear of that too.
    untold: Tick,
    agents: String,
}

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Tick {
    pub(super) rows: BTreeMap<ProjectId, Arc<Row>>,
    /// Which agents there are, where that is news.
    pub(super) agents: Option<String>,
    /// The line, or which projects there are: a list has to be made anew.
    pub(super) around: bool,
}

impl Tick {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.agents.is_none() && !self.around
    }
}

impl Default for Pulse {
    fn default() -> Self {
        let rows = Rows {
            rows: BTreeMap::new(),
            stale: BTreeSet::new(),
            all_stale: true,
            untold: Tick::default(),
            agents: "no agent is connected".to_owned(),
        };
        Self { rows: Mutex::new(rows), ticks: broadcast::Sender::new(BEHIND) }
    }
}

impl Rows {
    /// Renders what is stale, of all projects that there are. Where nobody has `heard` of it as it was, nothing of it is news.
    fn refresh(
        &mut self,
        heard: bool,
        all: impl FnOnce() -> BTreeSet<ProjectId>,
        render: impl Fn(&ProjectId) -> Option<Row>,
    ) {
        if std::mem::take(&mut self.all_stale) {
            self.stale = all();
            let stale = &self.stale;
            self.rows.retain(|id, _| stale.contains(id));
            self.untold.around = true;
        }
        for id in std::mem::take(&mut self.stale) {
            let Some(row) = render(&id).map(Arc::new) else {
                self.untold.rows.remove(&id);
                self.untold.around |= self.rows.remove(&id).is_some();
                continue;
            };
            self.untold.around |= self.rows.insert(id.clone(), Arc::clone(&row)).is_none();
            self.untold.rows.insert(id, row);
        }
        if !heard {
            self.untold = Tick::default();
        }
    }
}

impl Board {
    /// Changes from now on.
    pub(super) fn ticks(&self) -> broadcast::Receiver<Arc<Tick>> {
        self.pulse.ticks.subscribe()
    }

    /// Reads the rows as they are now, and which agents there are.
    pub(super) fn rows<T>(&self, read: impl FnOnce(&BTreeMap<ProjectId, Arc<Row>>, &str) -> T) -> T {
        let mut rows = self.pulse.rows.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut rows);
        read(&rows.rows, &rows.agents)
    }

    /// Renders what is stale.
    fn refresh(&self, rows: &mut Rows) {
        let moment = self.shared.moment();
        let all = || self.directory.all().iter().map(|project| project.id.clone()).collect();
        let render = |id: &ProjectId| {
            let project = self.directory.get(id)?;
            Some(Row::new(&project.read().state, &moment))
        };
        // Whoever comes later reads the rows after that.
        rows.refresh(self.pulse.ticks.receiver_count() > 0, all, render);
    }

    fn mark(&self, id: Option<ProjectId>) {
        let mut rows = self.pulse.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match id {
            Some(id) => drop(rows.stale.insert(id)),
            None => rows.all_stale = true,
        }
    }

    fn tick(&self) {
        let tick = {
            let mut rows = self.pulse.rows.lock().unwrap_or_else(PoisonError::into_inner);
            if self.pulse.ticks.receiver_count() == 0 {
                rows.untold = Tick::default();
                return;
            }
            self.refresh(&mut rows);
            std::mem::take(&mut rows.untold)
        };
        if !tick.is_empty() {
            // The last one may just have left.
            let _ = self.pulse.ticks.send(Arc::new(tick));
        }
    }

    /// Asks which agents there are.
    async fn see_agents(&self) {
        let (watchers, deployers) = tokio::join!(self.shared.watchers.list(), self.shared.deployers.list());
        let watched: usize = watchers.iter().map(|view| view.projects).max().unwrap_or(0);
        let count = |count: usize, what: &str| if count == 0 { format!("no {what}") } else { counted(count, what) };
        let load = match watched {
            0 => String::new(),
            watched if watchers.len() == 1 => format!(" of {}", counted(watched, "project")),
            watched => format!(" of up to {} each", counted(watched, "project")),
        };
        let carried: usize = deployers.iter().map(|view| view.deployments).sum();
        let busy = if carried == 0 { String::new() } else { format!(" with {}", counted(carried, "deployment")) };
        let agents =
            format!("{}{load}, {}{busy}", count(watchers.len(), "watcher"), count(deployers.len(), "deployer"));
        let mut rows = self.pulse.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.agents != agents {
            rows.untold.agents = Some(agents.clone());
            rows.agents = agents;
        }
    }
}

/// Keeps the board current until the server ends.
pub(in crate::http) async fn run(board: Arc<Board>, ended: CancellationToken) {
    ended.run_until_cancelled(follow(&board)).await;
}

async fn follow(board: &Board) {
    let mut changed = board.shared.changed.subscribe();
    let mut thrown = board.shared.line.thrown();
    let mut agents = interval(AGENTS);
    agents.set_missed_tick_behavior(MissedTickBehavior::Delay);
    board.mark(None);
    loop {
        tokio::select! {
            changed = changed.recv() => {
                match changed {
                    Ok(id) => board.mark(Some(id)),
                    Err(RecvError::Lagged(_)) => board.mark(None),
                    Err(RecvError::Closed) => return,
                }
            }
            thrown = thrown.changed() => {
                if thrown.is_err() {
                    return;
                }
                // Every sentence may say something else now.
                board.mark(None);
            }
            _ = agents.tick() => board.see_agents().await,
        }
        sleep(GATHERED).await;
        loop {
            match changed.try_recv() {
                Ok(id) => board.mark(Some(id)),
                Err(TryRecvError::Lagged(_)) => board.mark(None),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        board.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::time::Timestamp;

    #[test]
    fn what_one_reader_had_rendered_is_told_to_the_others() {
        let Pulse { rows, .. } = Pulse::default();
        let mut rows = rows.into_inner().unwrap();
        let user = ProjectId::parse("user").unwrap();
        let row = |html: &str| Row {
            html: html.to_owned(),
            searched: String::new(),
            deploying: false,
            attention: 0,
            changed: Timestamp(0),
        };
        let all = || BTreeSet::from([user.clone()]);
        rows.refresh(false, all, |_| Some(row("runs")));
        assert!(rows.untold.is_empty() && rows.rows.len() == 1, "nobody was there");
        rows.stale.insert(user.clone());
        // Somebody opens a page before the tick.
        rows.refresh(true, all, |_| Some(row("is frozen")));
        rows.refresh(true, all, |_| Some(row("nothing is stale any more")));
        let told = std::mem::take(&mut rows.untold);
        assert_eq!((told.rows[&user].html.as_str(), told.around), ("is frozen", false));
        rows.stale.insert(user.clone());
        rows.refresh(true, all, |_| None);
        assert!(rows.untold.around && rows.untold.rows.is_empty() && rows.rows.is_empty(), "it is deleted");
    }
}

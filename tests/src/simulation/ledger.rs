//! The store of a simulated server: it outlives the server, and the referee sees every commit.

use super::{faults::Deliberate, referee::Referee};
use async_trait::async_trait;
use brain_core::{
    deployment::Fact,
    event::{Change, Event},
    stream::Stream,
    time::Timestamp,
};
use brain_server::store::{
    CheckpointEntry, Commits, Committed, Loaded, Revision, Store, StoreError, Transition, memory::MemoryStore,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// One server's way to the store, until that server dies.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<MemoryStore>,
    referee: Arc<Referee>,
    dead: AtomicBool,
}

impl Ledger {
    /// A new server's way to the store.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>, referee: Arc<Referee>) -> Self {
        Self { store, referee, dead: AtomicBool::new(false) }
    }

    /// Nothing that its server still does is stored.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the server is dead".to_owned()));
        }
        Ok(())
    }
}

/// Whether a deployment is leased with it.
fn leases(event: &Event) -> bool {
    matches!(event.change, Change::DeploymentChanged { fact: Fact::Leased(_), .. })
}

/// Whether a step has taken too long with it.
fn times_out(event: &Event) -> bool {
    matches!(event.change, Change::DeploymentChanged { fact: Fact::TimedOut, .. })
}

#[async_trait]
impl Store for Ledger {
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError> {
        self.alive()?;
        let watched = |transition: &Transition| transition.events.iter().all(|event| event.by.starts_with("watcher "));
        if self.referee.faults.deliberate == Some(Deliberate::AcknowledgesEarly) && batch.iter().all(watched) {
            return Ok(self.store.load().await?.revision);
        }
        let told: BTreeMap<Stream, bool> =
            batch.iter().map(|transition| (transition.stream.clone(), transition.events.iter().any(leases))).collect();
        let late = batch.iter().any(|transition| transition.events.iter().any(times_out));
        let revision = self.store.commit(batch).await?;
        if late {
            self.referee.timed_out();
        }
        let loaded = self.store.load().await?;
        self.referee.line(loaded.line.1);
        for project in loaded.projects {
            if let Some(leases) = told.get(&Stream::Project(project.id)) {
                self.referee.committed(project.state, *leases);
            }
        }
        if self.referee.faults.committed() {
            self.kill();
            std::future::pending::<()>().await;
        }
        Ok(revision)
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load().await
    }

    fn watch(&self, after: Revision) -> Commits {
        self.store.watch(after)
    }

    async fn earlier(
        &self,
        before: Revision,
        of: Option<Stream>,
        most: usize,
    ) -> Result<Vec<Arc<Committed>>, StoreError> {
        self.store.earlier(before, of, most).await
    }

    async fn checkpoint(&self, entries: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError> {
        self.alive()?;
        self.store.checkpoint(entries, covers).await
    }

    async fn attend(&self, at: Timestamp) -> Result<(), StoreError> {
        self.alive()?;
        self.store.attend(at).await
    }

    async fn attended(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.attended().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

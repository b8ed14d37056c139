//! The store in memory: for tests and simulations. Gone with the process.

use super::{
    CheckpointEntry, Commits, Committed, Loaded, LoadedProject, Revision, Store, StoreError, Transition, live::Live,
};
use async_trait::async_trait;
use brain_core::{id::ProjectId, state::ProjectState};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    live: Live,
}

#[derive(Debug, Default)]
struct Inner {
    projects: BTreeMap<ProjectId, (u64, ProjectState)>,
    log: Vec<Arc<Committed>>,
    compacted: u64,
    revision: u64,
}

impl MemoryStore {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError> {
        let mut inner = self.lock();
        let mut projects = BTreeMap::new();
        for Transition { project, expected, events } in &batch {
            let known = projects.get(project).or_else(|| inner.projects.get(project)).cloned();
            let (actual, state) = known.map_or((0, None), |(version, state)| (version, Some(state)));
            if actual != *expected {
                return Err(StoreError::Conflict { project: project.clone(), expected: *expected, actual });
            }
            let mut state = state;
            for event in events {
                ProjectState::fold(&mut state, event).map_err(|misfit| StoreError::Unavailable(misfit.to_string()))?;
            }
            let state = state.ok_or_else(|| StoreError::Unavailable("a transition without events".to_owned()))?;
            projects.insert(project.clone(), (expected + 1, state));
        }
        inner.projects.extend(projects);
        for Transition { project, expected, events } in batch {
            inner.revision += 1;
            let revision = Revision(inner.revision);
            let committed = Arc::new(Committed { revision, project, version: expected + 1, events });
            inner.log.push(Arc::clone(&committed));
            self.live.publish(committed);
        }
        Ok(Revision(inner.revision))
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        let inner = self.lock();
        let project = |(id, (version, state)): (&ProjectId, &(u64, ProjectState))| LoadedProject {
            id: id.clone(),
            version: *version,
            state: state.clone(),
        };
        Ok(Loaded { revision: Revision(inner.revision), projects: inner.projects.iter().map(project).collect() })
    }

    fn watch(&self, after: Revision) -> Commits {
        self.live.watch(after, || {
            let inner = self.lock();
            if after.0 < inner.compacted {
                return Err(StoreError::Compacted { oldest: inner.compacted + 1 });
            }
            Ok(inner.log.iter().filter(|commit| commit.revision > after).cloned().collect())
        })
    }

    async fn checkpoint(&self, _: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let oldest = covers.0.saturating_sub(super::sled::TAIL);
        inner.log.retain(|commit| commit.revision.0 > oldest);
        inner.compacted = inner.compacted.max(oldest);
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

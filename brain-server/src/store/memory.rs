//! The store in memory: for tests and simulations. Gone with the process.

use super::{CheckpointEntry, Commits, Committed, Loaded, Revision, Store, StoreError, Transition, live::Live};
use async_trait::async_trait;
use brain_core::{
    stream::{Stream, StreamState},
    time::Timestamp,
};
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
    streams: BTreeMap<Stream, (u64, StreamState)>,
    log: Vec<Arc<Committed>>,
    compacted: u64,
    revision: u64,
    attended: Option<Timestamp>,
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
        let mut streams = BTreeMap::new();
        for Transition { stream, expected, events } in &batch {
            let known = streams.get(stream).or_else(|| inner.streams.get(stream)).cloned();
            let (actual, state) = known.map_or((0, None), |(version, state)| (version, Some(state)));
            if actual != *expected {
                return Err(StoreError::Conflict { stream: stream.clone(), expected: *expected, actual });
            }
            let mut state = state;
            for event in events {
                let folded = StreamState::fold(&mut state, stream, event);
                folded.map_err(|misfit| StoreError::Unavailable(misfit.to_string()))?;
            }
            let state = state.ok_or_else(|| StoreError::Unavailable("a transition without events".to_owned()))?;
            streams.insert(stream.clone(), (expected + 1, state));
        }
        inner.streams.extend(streams);
        for Transition { stream, expected, events } in batch {
            inner.revision += 1;
            let revision = Revision(inner.revision);
            let committed = Arc::new(Committed { revision, stream, version: expected + 1, events });
            inner.log.push(Arc::clone(&committed));
            self.live.publish(committed);
        }
        Ok(Revision(inner.revision))
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        let inner = self.lock();
        Ok(Loaded::new(Revision(inner.revision), inner.streams.clone()))
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

    async fn earlier(
        &self,
        before: Revision,
        of: Option<Stream>,
        most: usize,
    ) -> Result<Vec<Arc<Committed>>, StoreError> {
        let inner = self.lock();
        let wanted = |commit: &&Arc<Committed>| {
            commit.revision < before && of.as_ref().is_none_or(|stream| commit.stream == *stream)
        };
        Ok(inner.log.iter().rev().filter(wanted).take(most).cloned().collect())
    }

    async fn checkpoint(&self, _: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let oldest = covers.0.saturating_sub(super::sled::TAIL);
        inner.log.retain(|commit| commit.revision.0 > oldest);
        inner.compacted = inner.compacted.max(oldest);
        Ok(())
    }

    async fn attend(&self, at: Timestamp) -> Result<(), StoreError> {
        self.lock().attended = Some(at);
        Ok(())
    }

    async fn attended(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.lock().attended)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

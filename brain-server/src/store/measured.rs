//! A store whose commits are counted and timed, whichever it is.

use super::{CheckpointEntry, Commits, Committed, Loaded, Revision, Store, StoreError, Transition};
use crate::metrics::{EVENTS, STORE_COMMIT, STORE_COMMITS};
use async_trait::async_trait;
use brain_core::{event::Topic, stream::Stream, time::Timestamp};
use metrics::{Counter, Histogram, counter, histogram};
use std::{fmt, sync::Arc};
use tokio::time::Instant;

/// The store, measured. Its handles are taken once: thousands of commits a second pass here.
pub(crate) struct Measured {
    store: Arc<dyn Store>,
    took: Histogram,
    ok: Counter,
    conflict: Counter,
    unavailable: Counter,
    events: [(Topic, Counter); Topic::ALL.len()],
}

impl Measured {
    /// The same store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let commits = |outcome: &'static str| counter!(STORE_COMMITS, "outcome" => outcome);
        Self {
            store,
            took: histogram!(STORE_COMMIT),
            ok: commits("ok"),
            conflict: commits("conflict"),
            unavailable: commits("unavailable"),
            events: Topic::ALL.map(|topic| (topic, counter!(EVENTS, "topic" => topic.name()))),
        }
    }
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl Store for Measured {
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError> {
        let began = Instant::now();
        let topics: Vec<Topic> =
            batch.iter().flat_map(|transition| &transition.events).map(|event| event.change.topic()).collect();
        let committed = self.store.commit(batch).await;
        self.took.record(began.elapsed());
        match &committed {
            Ok(_) => self.ok.increment(1),
            Err(StoreError::Conflict { .. }) => self.conflict.increment(1),
            Err(_) => self.unavailable.increment(1),
        }
        if committed.is_ok() {
            for (topic, counter) in &self.events {
                let stored = topics.iter().filter(|of| *of == topic).count() as u64;
                if stored > 0 {
                    counter.increment(stored);
                }
            }
        }
        committed
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
        self.store.checkpoint(entries, covers).await
    }

    async fn attend(&self, at: Timestamp) -> Result<(), StoreError> {
        self.store.attend(at).await
    }

    async fn attended(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.attended().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

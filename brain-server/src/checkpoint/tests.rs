use super::*;
use crate::{
    clock::Clock,
    deployers,
    directory::Deletion,
    line::Switch,
    store::{Commits, Committed, Loaded, Store, Transition, memory::MemoryStore},
    watchers,
};
use async_trait::async_trait;
use brain_core::{
    id::ProjectId,
    project::{ProjectDraft, TargetDraft},
};
use std::sync::{Mutex, atomic::AtomicU64};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A store that remembers what checkpoints it was given.
#[derive(Debug, Default)]
struct Remembering {
    store: MemoryStore,
    entries: Mutex<Vec<CheckpointEntry>>,
}

#[async_trait]
impl Store for Remembering {
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError> {
        self.store.commit(batch).await
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

    async fn checkpoint(&self, entries: Vec<CheckpointEntry>, _: Revision) -> Result<(), StoreError> {
        self.entries.lock().unwrap().extend(entries);
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

/// What is deleted is deleted for good, also once the log no longer says so.
#[tokio::test]
async fn a_checkpoint_holds_what_is_left_of_deleted_projects() {
    let store = Arc::new(Remembering::default());
    let ((watchers, _watchers), (deployers, _deployers)) = (watchers::channel(), deployers::channel());
    let loaded = store.load().await.unwrap();
    let shared = Arc::new(Shared {
        store: Arc::clone(&store) as Arc<dyn Store>,
        clock: Clock::system(),
        deployers,
        watchers,
        line: Switch::new(loaded.line.clone()),
        changed: broadcast::Sender::new(16),
        tagging: broadcast::Sender::new(16),
        patience: Duration::from_secs(60),
        revision: AtomicU64::new(0),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    });
    let directory = Arc::new(Directory::new(Arc::clone(&shared), loaded, 6_000..=6_010));
    let mut checkpointer = Checkpointer::new(Arc::clone(&directory), shared);
    let target =
        TargetDraft { region: "us-east-1".into(), container_port: 9_000, desired_count: 1, ..TargetDraft::default() };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    directory.create(draft, "ann".into()).await.unwrap();
    checkpointer.write().await.unwrap();
    let id = ProjectId::parse("user").unwrap();
    let deletion = Deletion { id, etag: String::new(), leave_running: false, by: "ann".into(), why: String::new() };
    directory.delete(deletion).await.unwrap();
    for expected in [&[(1, false), (2, true)][..], &[(1, false), (2, true)]] {
        checkpointer.write().await.unwrap();
        let entries = store.entries.lock().unwrap();
        let told = |entry: &CheckpointEntry| match &entry.state {
            StreamState::Project(state) => Some((entry.version, state.deleted.is_some())),
            StreamState::Line(_) => None,
        };
        assert_eq!(entries.iter().filter_map(told).collect::<Vec<_>>(), expected, "once, and not again");
    }
}

use super::*;
use crate::{
    clock::Clock,
    deployers,
    directory::Deletion,
    line::Switch,
    store::{Store, memory::MemoryStore},
    watchers,
};
use brain_core::{
    id::ProjectId,
    project::{ProjectDraft, TargetDraft},
};
use std::sync::atomic::AtomicU64;
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is deleted is deleted for good, also once the log no longer says so.
#[tokio::test]
async fn a_checkpoint_holds_what_is_left_of_deleted_projects() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let ((watchers, _watchers), (deployers, _deployers)) = (watchers::channel(), deployers::channel());
    let loaded = store.load().await.unwrap();
    let shared = Arc::new(Shared {
        store,
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
    let told = async |checkpointer: &Checkpointer| -> Vec<(u64, bool)> {
        let of = |entry: CheckpointEntry| match entry.state {
            StreamState::Project(state) => Some((entry.version, state.deleted.is_some())),
            StreamState::Line(_) => None,
        };
        checkpointer.changed().await.into_iter().filter_map(of).collect()
    };
    assert_eq!(told(&checkpointer).await, [(1, false)]);
    checkpointer.write().await.unwrap();
    let id = ProjectId::parse("user").unwrap();
    let deletion = Deletion { id, etag: String::new(), leave_running: false, by: "ann".into(), why: String::new() };
    directory.delete(deletion).await.unwrap();
    assert_eq!(told(&checkpointer).await, [(2, true)]);
    checkpointer.write().await.unwrap();
    assert_eq!(told(&checkpointer).await, [], "once is enough");
}

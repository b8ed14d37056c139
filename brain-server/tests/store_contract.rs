//! The contract that every store keeps, run against each of them; and what the store on disk adds to it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_core::{
    event::{Change, Event},
    id::ProjectId,
    project::{ProjectDraft, ProjectSpec, TargetDraft},
    stream::{Stream, StreamState},
    time::Timestamp,
};
use brain_server::store::{
    CheckpointEntry, Loaded, Revision, Store, StoreError, Transition, memory::MemoryStore, sled::SledStore,
};
use futures::StreamExt;
use proptest::prelude::*;
use rstest::rstest;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use tempfile::TempDir;

fn spec(id: &str) -> ProjectSpec {
    let target =
        TargetDraft { region: "us-east-1".into(), container_port: 9000, desired_count: 3, ..TargetDraft::default() };
    let draft = ProjectDraft {
        id: id.into(),
        git_url: "https://git.example/x".into(),
        image_repository: "flowcommerce/x".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6000)).unwrap()
}

fn event(change: Change) -> Event {
    Event { at: Timestamp(1), by: "test".into(), change }
}

fn tag(name: String) -> Event {
    event(Change::TagObserved { tag: name, commit: "c".repeat(40) })
}

fn creation(id: &str) -> Transition {
    let events = vec![event(Change::ProjectCreated(Box::new(spec(id))))];
    Transition { stream: ProjectId::parse(id).unwrap().into(), expected: 0, events }
}

fn tagging(id: &str, expected: u64, name: impl Into<String>) -> Transition {
    Transition { stream: ProjectId::parse(id).unwrap().into(), expected, events: vec![tag(name.into())] }
}

/// A store, and the folder that lives as long.
struct Fixture {
    store: Arc<dyn Store>,
    _folder: TempDir,
}

fn memory() -> Fixture {
    Fixture { store: Arc::new(MemoryStore::default()), _folder: tempfile::tempdir().unwrap() }
}

fn sled() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    Fixture { store: Arc::new(SledStore::open(&folder.path().join("data")).unwrap()), _folder: folder }
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test]
async fn a_batch_is_all_or_nothing_and_a_conflict_names_the_actual_version(#[case] fixture: Fixture) {
    let store = fixture.store;
    assert_eq!(store.commit(vec![creation("a"), tagging("a", 1, "1")]).await.unwrap(), Revision(2));
    let refused = store.commit(vec![tagging("a", 2, "2"), creation("b"), tagging("a", 7, "3")]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { expected: 7, actual: 3, .. }), "{refused}");
    let refused = store.commit(vec![creation("a")]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { expected: 0, actual: 2, .. }), "{refused}");
    assert_eq!(store.commit(vec![creation("b")]).await.unwrap(), Revision(3), "what was refused took no revision");
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test]
async fn earlier_commits_are_read_backwards_of_one_stream_or_of_all(#[case] fixture: Fixture) {
    let store = fixture.store;
    // Revisions 1 to 3 in one record, then one record each.
    store.commit(vec![creation("a"), tagging("a", 1, "1"), creation("b")]).await.unwrap();
    for version in 1..=3 {
        store.commit(vec![tagging("b", version, version.to_string())]).await.unwrap();
    }
    // A record in several parts.
    store.commit(vec![tagging("a", 2, "x".repeat(100_000))]).await.unwrap();
    let read = async |before: u64, of: Option<&str>, most| {
        let of = of.map(|id| ProjectId::parse(id).unwrap().into());
        let commits = store.earlier(Revision(before), of, most).await.unwrap();
        commits.iter().map(|commit| (commit.revision.0, commit.stream.to_string(), commit.version)).collect::<Vec<_>>()
    };
    let all = read(u64::MAX - 1, None, 100).await;
    let revisions: Vec<u64> = all.iter().map(|(revision, ..)| *revision).collect();
    assert_eq!(revisions, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(read(7, None, 2).await, all[1..3]);
    assert_eq!(read(3, None, 100).await, all[5..], "from within a record");
    let of_a = read(u64::MAX - 1, Some("a"), 100).await;
    assert_eq!(of_a.iter().map(|(revision, ..)| *revision).collect::<Vec<_>>(), [7, 2, 1]);
    assert_eq!(read(7, Some("a"), 1).await, of_a[1..2]);
    assert_eq!(read(1, None, 100).await, []);
    assert_eq!(read(u64::MAX - 1, Some("c"), 100).await, []);
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test]
async fn when_a_server_was_last_there_is_told(#[case] fixture: Fixture) {
    let store = fixture.store;
    assert_eq!(store.attended().await.unwrap(), None);
    for at in [1_700_000_000_123, 1_700_000_010_123] {
        store.attend(Timestamp(at)).await.unwrap();
        assert_eq!(store.attended().await.unwrap(), Some(Timestamp(at)));
    }
}

fn line(expected: u64, change: Change) -> Transition {
    Transition { stream: Stream::Line, expected, events: vec![event(change)] }
}

fn stop() -> Change {
    Change::LineStopped { pause_running: true, why: "an outage".into() }
}

fn release() -> Change {
    Change::LineReleased { why: "over".into() }
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test]
async fn the_line_has_a_stream_of_its_own_beside_the_projects(#[case] fixture: Fixture) {
    let store = fixture.store;
    store.commit(vec![creation("line")]).await.unwrap();
    assert_eq!(store.commit(vec![line(0, stop()), tagging("line", 1, "1")]).await.unwrap(), Revision(3));
    let refused = store.commit(vec![line(0, release())]).await.unwrap_err();
    let conflict = |error: &StoreError| matches!(error, StoreError::Conflict { stream: Stream::Line, actual: 1, .. });
    assert!(conflict(&refused), "{refused}");
    let mut watch = store.watch(Revision(1));
    let commit = watch.next().await.unwrap().unwrap();
    assert_eq!((&commit.stream, commit.version, &commit.events), (&Stream::Line, 1, &vec![event(stop())]));
}

#[tokio::test]
async fn the_line_is_loaded_from_the_log_and_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = SledStore::open(&path).unwrap();
    store.commit(vec![creation("a"), line(0, stop())]).await.unwrap();
    close(store).await;
    let store = SledStore::open(&path).unwrap();
    let loaded = store.load().await.unwrap();
    let held = loaded.line.1.stopped.clone().unwrap();
    assert_eq!((loaded.line.0, held.hold.pause_running, &*held.by), (1, true, "test"));
    let entry = CheckpointEntry { stream: Stream::Line, version: 1, state: StreamState::Line(loaded.line.1.clone()) };
    store.checkpoint(vec![entry], Revision(2)).await.unwrap();
    close(store).await;
    let store = SledStore::open(&path).unwrap();
    assert_eq!(store.load().await.unwrap(), loaded);
    store.commit(vec![line(1, release())]).await.unwrap();
    close(store).await;
    let released = reopened(&path).await;
    assert_eq!((released.line.0, released.line.1.stopped, released.projects), (2, None, loaded.projects));
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_every_commit_once_and_in_order_whenever_it_began(#[case] fixture: Fixture) {
    const COMMITTERS: u64 = 32;
    const EACH: u64 = 12;
    let store = fixture.store;
    let mut early = store.watch(Revision(0));
    let committers: Vec<_> = (0..COMMITTERS)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let id = format!("p{number}");
                store.commit(vec![creation(&id)]).await.unwrap();
                for version in 1..EACH {
                    store.commit(vec![tagging(&id, version, version.to_string())]).await.unwrap();
                }
            })
        })
        .collect();
    let middle = COMMITTERS * EACH / 2;
    for expected in 1..=middle {
        assert_eq!(early.next().await.unwrap().unwrap().revision.0, expected);
    }
    let mut late = store.watch(Revision(middle));
    for committer in committers {
        committer.await.unwrap();
    }
    for watch in [&mut early, &mut late] {
        let mut versions: BTreeMap<Stream, u64> = BTreeMap::new();
        for expected in middle + 1..=COMMITTERS * EACH {
            let commit = watch.next().await.unwrap().unwrap();
            assert_eq!(commit.revision.0, expected);
            let before = versions.insert(commit.stream.clone(), commit.version);
            assert!(before.is_none_or(|before| before + 1 == commit.version));
        }
    }
}

#[rstest]
#[case::memory(memory())]
#[case::sled(sled())]
#[tokio::test]
async fn a_transition_of_twenty_thousand_events_is_taken_whole(#[case] fixture: Fixture) {
    let store = fixture.store;
    store.commit(vec![creation("a")]).await.unwrap();
    let events = (0..20_000).map(|number| tag(format!("0.0.{number}"))).collect();
    let large = Transition { stream: ProjectId::parse("a").unwrap().into(), expected: 1, events };
    store.commit(vec![large]).await.unwrap();
    let mut watch = store.watch(Revision(1));
    assert_eq!(watch.next().await.unwrap().unwrap().events.len(), 20_000);
}

/// What a store that is opened anew finds on disk.
async fn reopened(path: &Path) -> Loaded {
    SledStore::open(path).unwrap().load().await.unwrap()
}

async fn close(store: SledStore) {
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_opened_again_knows_when_a_server_was_last_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = SledStore::open(&path).unwrap();
    store.attend(Timestamp(7)).await.unwrap();
    close(store).await;
    let store = SledStore::open(&path).unwrap();
    assert_eq!(store.attended().await.unwrap(), Some(Timestamp(7)));
    // Torn, it tells nothing.
    fs::write(path.join("attended"), b"torn").unwrap();
    assert_eq!(store.attended().await.unwrap(), None);
    close(store).await;
}

#[tokio::test]
async fn a_store_that_is_opened_again_holds_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = SledStore::open(&path).unwrap();
    store.commit(vec![creation("a"), tagging("a", 1, "1.0.0")]).await.unwrap();
    let second = SledStore::open(&path).unwrap_err().to_string();
    assert!(second.contains("another process uses it"), "{second}");
    close(store).await;
    let loaded = reopened(&path).await;
    assert_eq!((loaded.revision, loaded.projects[0].version), (Revision(2), 2));
    assert!(loaded.projects[0].state.tags.contains_key("1.0.0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever is committed and whenever a checkpoint is written, a load finds the fold of all events.
    #[test]
    fn a_checkpoint_and_the_log_after_it_are_the_fold_of_the_log(choices in proptest::collection::vec(0u8..8, 1..60)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (with, without) = (folder.path().join("with"), folder.path().join("without"));
            let checkpointed = SledStore::open(&with).unwrap();
            let plain = SledStore::open(&without).unwrap();
            // The first load is what was there when the store was opened; the next ones read the disk.
            plain.load().await.unwrap();
            let mut versions: BTreeMap<u8, u64> = BTreeMap::new();
            for (step, choice) in choices.iter().enumerate() {
                if *choice == 7 {
                    let on_disk = plain.load().await.unwrap();
                    let entries = on_disk.projects.into_iter().map(|project| CheckpointEntry {
                        stream: project.id.into(),
                        version: project.version,
                        state: StreamState::Project(Box::new(project.state)),
                    });
                    checkpointed.checkpoint(entries.collect(), on_disk.revision).await.unwrap();
                    continue;
                }
                let version = versions.entry(*choice).or_default();
                let id = format!("p{choice}");
                let transition =
                    if *version == 0 { creation(&id) } else { tagging(&id, *version, format!("0.0.{step}")) };
                *version += 1;
                checkpointed.commit(vec![transition.clone()]).await.unwrap();
                plain.commit(vec![transition]).await.unwrap();
            }
            close(checkpointed).await;
            close(plain).await;
            assert_eq!(reopened(&with).await, reopened(&without).await);
        });
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// A damaged store is refused by the name of its file, and left as it is; or it still holds everything.
async fn assert_refused_or_whole(path: &Path, whole: &Loaded, how: &str) {
    let before = contents(path);
    match SledStore::open(path) {
        Err(error) => {
            assert!(matches!(&error, StoreError::Corrupt { file, .. } if file.ends_with("db")), "{how}: {error}");
            assert_eq!(contents(path), before, "{how}: the refused store was changed");
        }
        Ok(store) => assert_eq!(store.load().await.unwrap(), *whole, "{how}: something is lost"),
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = SledStore::open(&path).unwrap();
    store.commit(vec![creation("a")]).await.unwrap();
    let early = fs::read(path.join("db")).unwrap();
    for version in 1..200 {
        store.commit(vec![tagging("a", version, format!("0.0.{version}"))]).await.unwrap();
    }
    close(store).await;
    let whole = reopened(&path).await;
    assert_eq!(whole.revision, Revision(200));
    let sound = fs::read(path.join("db")).unwrap();
    let damaged = |name: String, bytes: Vec<u8>| {
        let copy = folder.path().join(&name);
        fs::create_dir_all(copy.join("blobs")).unwrap();
        for (file, content) in contents(&path) {
            fs::write(copy.join(file), content).unwrap();
        }
        fs::write(copy.join("db"), bytes).unwrap();
        copy
    };
    assert_refused_or_whole(&damaged("empty".into(), Vec::new()), &whole, "empty").await;
    assert_refused_or_whole(&damaged("garbage".into(), b"garbage".repeat(5_000)), &whole, "garbage").await;
    assert_refused_or_whole(&damaged("early".into(), early), &whole, "an older copy").await;
    for part in 1..8 {
        let cut = sound[..sound.len() * part / 8].to_vec();
        assert_refused_or_whole(&damaged(format!("cut-{part}"), cut), &whole, &format!("cut at {part}/8")).await;
        let mut flipped = sound.clone();
        let at = sound.len() * part / 8;
        flipped[at..at + 4].iter_mut().for_each(|byte| *byte ^= 0x55);
        assert_refused_or_whole(&damaged(format!("flip-{part}"), flipped), &whole, &format!("flipped at {part}/8"))
            .await;
    }
}

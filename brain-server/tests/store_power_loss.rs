//! Power loss: what was acknowledged is there even if all that was not synced is thrown away.
//!
//! A child process commits and says what was acknowledged; a preloaded shim keeps of each file what it held at its latest
//! sync; the child is killed, and the store is opened from what the shim kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_core::{
    event::{Change, Event},
    id::ProjectId,
    project::{ProjectDraft, ProjectSpec, TargetDraft},
    time::Timestamp,
};
use brain_server::store::{Store, Transition, sled::SledStore};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the child finds its store; set in the child only.
const CHILD: &str = "BRAIN_POWER_LOSS_CHILD";
const ROUNDS: u32 = 5;
const PROJECTS: u64 = 8;

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

/// The commit that brings project `number` to `version`: its creation, then a tag each.
fn transition(number: u64, version: u64) -> Transition {
    let id = format!("p{number}");
    let change = if version == 1 {
        Change::ProjectCreated(Box::new(spec(&id)))
    } else {
        Change::TagObserved { tag: format!("0.0.{version}"), commit: "c".repeat(40) }
    };
    let event = Event { at: Timestamp(1), by: "test".into(), change };
    Transition { stream: ProjectId::parse(&id).unwrap().into(), expected: version - 1, events: vec![event] }
}

/// The child: commits without end, and says "PROJECT VERSION" once a commit is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = std::sync::Arc::new(SledStore::open(Path::new(&path)).unwrap());
    let commits = (0..PROJECTS).map(|number| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move {
            for version in 1.. {
                store.commit(vec![transition(number, version)]).await.unwrap();
                writeln!(std::io::stdout(), "acknowledged {number} {version}").unwrap();
            }
        })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.unwrap();
    }
}

fn build_shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_loss/shim.c");
    let shim = folder.join("shim.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
    assert!(built.unwrap().success(), "the shim cannot be compiled");
    shim
}

/// Runs the child until it has acknowledged `commits`; answers the latest acknowledged version of each project.
fn run_child(shim: &Path, store: &Path, shadow: &Path, commits: usize) -> BTreeMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_commits_until_it_is_killed", "--nocapture"])
        .env(CHILD, store)
        .env("LD_PRELOAD", shim)
        .env("BRAIN_SHADOW_FROM", store)
        .env("BRAIN_SHADOW_TO", shadow)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut take = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["acknowledged", number, version] = words[..] {
            acknowledged.insert(number.parse().unwrap(), version.parse().unwrap());
        }
    };
    for line in lines.by_ref().take(commits) {
        take(line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it was killed was acknowledged too.
    lines.for_each(take);
    acknowledged
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_all_that_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let shim = build_shim(folder.path());
    for round in 0..ROUNDS {
        let store = folder.path().join(format!("store-{round}"));
        let shadow = folder.path().join(format!("shadow-{round}"));
        std::fs::create_dir_all(shadow.join("blobs")).unwrap();
        let acknowledged = run_child(&shim, &store, &shadow, 200 + 331 * round as usize);
        assert!(acknowledged.len() > 1, "the child acknowledged too little: {acknowledged:?}");
        let loaded = SledStore::open(&shadow).unwrap().load().await.unwrap();
        for (number, version) in acknowledged {
            let id = ProjectId::parse(&format!("p{number}")).unwrap();
            let found = loaded.projects.iter().find(|project| project.id == id).map_or(0, |project| project.version);
            assert!(found >= version, "{id} was acknowledged at version {version} and is at {found}");
        }
    }
}

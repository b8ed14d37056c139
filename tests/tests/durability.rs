//! What was acknowledged is there, however often the server is killed.

use anyhow::{Result, ensure};
use brain_tests::{
    brain::Server,
    load::{self, LoadWatcher},
    wait::eventually,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tonic::transport::Channel;

const KILLS: usize = 30;
const PROJECTS: usize = 6;

/// What the clients of one round were told is durable.
#[derive(Debug, Default)]
struct Acknowledged {
    tags: BTreeSet<(String, String)>,
    projects: BTreeSet<String>,
}

/// Streams tags until the server is gone.
async fn stream_tags(
    channel: Channel,
    project: String,
    round: usize,
    acknowledged: Arc<Mutex<Acknowledged>>,
) -> Result<()> {
    let mut watcher = LoadWatcher::open(&channel, &format!("load-{project}")).await?;
    for number in 0.. {
        let names: Vec<String> = (0..8).map(|part| format!("0.{round}.{}", number * 8 + part)).collect();
        let through = watcher.send(names.iter().map(|name| (project.clone(), name.clone()))).await?;
        while watcher.acknowledged().await? < through {}
        let mut acknowledged = acknowledged.lock().expect("no holder panics");
        acknowledged.tags.extend(names.into_iter().map(|name| (project.clone(), name)));
    }
    Ok(())
}

/// Creates projects until the server is gone.
async fn create(channel: Channel, round: usize, acknowledged: Arc<Mutex<Acknowledged>>) -> Result<()> {
    for number in 0.. {
        let id = format!("new-{round}-{number}");
        load::create_projects(&channel, std::iter::once(id.clone())).await?;
        acknowledged.lock().expect("no holder panics").projects.insert(id);
    }
    Ok(())
}

async fn check(channel: &Channel, acknowledged: &Acknowledged) -> Result<()> {
    let projects: BTreeSet<&String> = acknowledged.tags.iter().map(|(project, _)| project).collect();
    for project in projects {
        let known = load::tags(channel, project).await?;
        let lost = acknowledged.tags.iter().filter(|(owner, tag)| owner == project && !known.contains(tag)).count();
        ensure!(lost == 0, "{lost} acknowledged tags of {project} are lost");
    }
    for project in &acknowledged.projects {
        load::tags(channel, project).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_thirty_times_under_load_loses_nothing_that_it_acknowledged() -> Result<()> {
    let mut server = Server::start().await?;
    let address = server.address();
    let ids: Vec<String> = (0..PROJECTS).map(|number| format!("load-{number}")).collect();
    load::create_projects(&load::connect(&address).await?, ids.iter().cloned()).await?;
    let all = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..KILLS {
        let channel = load::connect(&address).await?;
        let mut clients: Vec<_> = ids
            .iter()
            .map(|id| tokio::spawn(stream_tags(channel.clone(), id.clone(), round, Arc::clone(&all))))
            .collect();
        clients.push(tokio::spawn(create(channel, round, Arc::clone(&all))));
        eventually("something to be acknowledged", || async {
            ensure!(!all.lock().expect("no holder panics").tags.is_empty(), "nothing yet");
            Ok(())
        })
        .await?;
        // Another moment each time, so that every part of a commit is hit.
        tokio::time::sleep(Duration::from_millis(7 * round as u64)).await;
        server.kill().await?;
        for client in clients {
            assert!(client.await?.is_err(), "a client goes on until the server is gone");
        }
        server.restart().await?;
        let acknowledged = std::mem::take(&mut *all.lock().expect("no holder panics"));
        let channel = load::connect(&address).await?;
        check(&channel, &acknowledged).await?;
    }
    Ok(())
}

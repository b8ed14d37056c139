//! The benchmark: prints the table of the README's performance section. Ratios within one run say more than the figures,
//! since machines differ and are busy. An argument chooses a part of it: store, knowledge, board, aws, many or idle.

use anyhow::{Context, Result};
use brain_tests::{brain::Server, load, sandbox::Sandbox};
use std::{
    fs::{self, File},
    io::Write,
    time::{Duration, Instant},
};

#[path = "bench/aws.rs"]
mod aws;
#[path = "bench/board.rs"]
mod board;
#[path = "bench/knowledge.rs"]
mod knowledge;

const PROJECTS: usize = 10_000;
const WATCHERS: usize = 100;
/// Observations in one message of a busy watcher, and messages under way.
const BATCH: usize = 100;
const WINDOW: usize = 2;
const RUN: Duration = Duration::from_secs(5);
const EVENTS: u64 = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    println!("| what | figure |\n|---|---|");
    let part = std::env::args().nth(1);
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("store") {
        let (batches, rate) = observations().await?;
        sync_appends(batches, rate)?;
        start_up().await?;
    }
    if wanted("knowledge") {
        knowledge::polls().await?;
        knowledge::webhooks().await?;
    }
    if wanted("board") {
        board::streams().await?;
    }
    if wanted("aws") {
        aws::deployments().await?;
    }
    if wanted("many") {
        aws::many().await?;
    }
    if wanted("idle") {
        aws::idle().await?;
    }
    Ok(())
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what} | {figure} |");
}

/// Observations acknowledged over gRPC; answers bytes appended per second and the rate, for the comparison.
async fn observations() -> Result<(usize, f64)> {
    let server = Server::start().await?;
    let ids: Vec<String> = (0..PROJECTS).map(|number| format!("p{number}")).collect();
    let begun = Instant::now();
    load::create_projects(&load::connect(&server.address()).await?, ids.iter().cloned()).await?;
    row(
        &format!("{PROJECTS} projects created, each durable, 256 at a time"),
        format!("{:.1} s", begun.elapsed().as_secs_f32()),
    );
    for (name, batch, window) in [("one at a time", 1, 1), ("in messages of 100", BATCH, WINDOW)] {
        let begun = Instant::now();
        let runs = load::stream_all(&server.address(), WATCHERS, &ids, batch, window, RUN).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let total: u64 = runs.iter().map(|run| run.observations).sum();
        let mut latencies: Vec<Duration> = runs.into_iter().flat_map(|run| run.latencies).collect();
        latencies.sort();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        let rate = total as f64 / seconds;
        row(
            &format!("durable observations acknowledged, {WATCHERS} watchers streaming {name}"),
            format!("{rate:.0}/s, p50 {:.1} ms, p99 {:.1} ms", millis(at(50)), millis(at(99))),
        );
        if batch > 1 {
            let data = server.sandbox().path("data/db");
            let size = fs::metadata(data)?.len();
            row("store on disk after that", format!("{:.0} MB", size as f64 / 1e6));
            return Ok((total as usize, rate));
        }
    }
    unreachable!("the last run returns")
}

/// Bare appends with fdatasync of the same number of events, in batches as the writer makes them.
fn sync_appends(events: usize, rate: f64) -> Result<()> {
    const BYTES: usize = 140;
    let sandbox = Sandbox::new()?;
    for batch in [300, 3_000] {
        let mut file = File::create(sandbox.path(format!("append-{batch}")))?;
        let bytes = vec![7u8; BYTES * batch];
        let rounds = (events / batch).clamp(1, 400);
        let begun = Instant::now();
        for _ in 0..rounds {
            file.write_all(&bytes)?;
            file.sync_data()?;
        }
        let bare = (rounds * batch) as f64 / begun.elapsed().as_secs_f64();
        row(
            &format!("bare fdatasync appends of {BYTES}-byte events in batches of {batch}"),
            format!("{bare:.0}/s; brain reaches {:.0} % of it", rate / bare * 100.0),
        );
    }
    Ok(())
}

/// Start-up with many projects and events, from a checkpoint and, after a kill, from what the log adds to it.
async fn start_up() -> Result<()> {
    let mut server = Server::start().await?;
    let ids: Vec<String> = (0..PROJECTS).map(|number| format!("p{number}")).collect();
    load::create_projects(&load::connect(&server.address()).await?, ids.iter().cloned()).await?;
    let mut events = 0;
    let mut watcher = load::LoadWatcher::open(&load::connect(&server.address()).await?, "loader").await?;
    while events < EVENTS {
        let mut through = 0;
        for _ in 0..10 {
            let tags = (0..1_000).map(|index| {
                let event = events + index;
                (ids[(event as usize) % ids.len()].clone(), format!("0.0.{}", event as usize / ids.len()))
            });
            through = watcher.send(tags).await?;
            events += 1_000;
        }
        while watcher.acknowledged().await? < through {}
    }
    server.process().context("it runs")?.stop().await?;
    for how in ["after a clean end", "after kill -9"] {
        let begun = Instant::now();
        server.restart().await?;
        let seconds = begun.elapsed().as_secs_f32();
        let loaded = server.loaded_in().unwrap_or_default();
        let memory = server.process().context("it runs")?.memory_mb()?;
        row(
            &format!("start-up with {PROJECTS} projects and {EVENTS} events, {how}"),
            format!("{seconds:.2} s until it serves ({loaded}); {memory:.0} MB resident"),
        );
        server.kill().await?;
    }
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

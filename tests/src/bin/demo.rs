//! The demo: brain with everything it works with, on this machine, and the story of a tag that reaches production.
//!
//! Nothing is stood in for but AWS, for which the lab answers: a real git host, a real registry, brain's own binaries. It
//! leaves the system up, and ends it on Ctrl-C.

use anyhow::{Result, ensure};
use brain_tests::{
    calls::Caller,
    paths,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};
use std::{process::ExitCode, time::Instant};
use tokio::signal;

/// Says what happens, with the time since the beginning.
struct Narrator(Instant);

impl Narrator {
    fn say(&self, line: impl AsRef<str>) {
        println!("{:>6.1}s  {}", self.0.elapsed().as_secs_f32(), line.as_ref());
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let told = tokio::select! {
        told = play() => told,
        _ = signal::ctrl_c() => Ok(()),
    };
    match told {
        Ok(()) => {
            println!("\nended; nothing is left running");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play() -> Result<()> {
    let narrator = Narrator(Instant::now());
    narrator.say("starting the AWS lab, a registry, a git host, brain's server, a watcher and a deployer");
    let world = World::start().await?;
    narrator.say(format!("git host      {}", world.user.url));
    narrator.say(format!("registry      {}", world.registry.endpoint()));
    narrator.say(format!("AWS lab       {}", world.lab.endpoint()));
    narrator.say(format!("brain         {}", world.server.address()));
    knowledge(&world, &narrator).await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    narrator.say("Deploy(\"flowcommerce/user:0.0.4\")");
    follow(&world, &narrator, &first).await?;
    narrator.say("a build pushes flowcommerce/user:0.0.5");
    let second = world.begin_shift().await?;
    narrator.say("Deploy(\"flowcommerce/user:0.0.5\")");
    follow(&world, &narrator, &second).await?;
    ending(&world, &narrator).await?;
    signal::ctrl_c().await?;
    Ok(())
}

async fn knowledge(world: &World, narrator: &Narrator) -> Result<()> {
    world.create_project().await?;
    narrator.say("project user is made, by JSON through grpcurl");
    let (lines, head) = eventually("releases and head", || async {
        let (lines, head) = world.releases().await?;
        ensure!(lines.iter().any(|line| line.ends_with("user:0.0.4")) && !head.is_empty(), "{lines:?} {head}");
        Ok((lines, head))
    })
    .await?;
    for line in lines {
        narrator.say(format!("  {line}"));
    }
    narrator.say(format!("  master: {head}"));
    tell_board(world, narrator).await
}

async fn tell_board(world: &World, narrator: &Narrator) -> Result<()> {
    let board = world.caller().grpcurl("BoardService/GetBoard", &json!({})).await?;
    for project in board["projects"].as_array().into_iter().flatten() {
        narrator.say(format!("  board: {}  {}", text(&project["title"]), text(&project["production"])));
        for sentence in project["sentences"].as_array().into_iter().flatten() {
            narrator.say(format!("    {} (waits for {})", text(&sentence["text"]), text(&sentence["waitsFor"])));
        }
    }
    Ok(())
}

/// Tells the steps of a deployment and the shares of production as they change.
async fn follow(world: &World, narrator: &Narrator, name: &str) -> Result<()> {
    let caller = world.caller();
    let production = tell_production(&caller, narrator);
    let deployment = tell_deployment(&caller, narrator, name);
    tokio::select! {
        told = deployment => told?,
        told = production => told?,
    }
    world.succeeded(name).await?;
    Ok(())
}

async fn tell_deployment(caller: &Caller, narrator: &Narrator, name: &str) -> Result<()> {
    let mut watch = caller.watch("DeploymentService/WatchDeployment", &json!({"name": name}))?;
    let mut last = (String::new(), String::new());
    while let Some(message) = watch.next().await? {
        let deployment = &message["deployment"];
        let now = (text(&deployment["headline"]), text(&deployment["waiting"]));
        if now.0 != last.0 {
            narrator.say(format!("  {}", now.0));
        } else if now.1 != last.1 && !now.1.is_empty() {
            narrator.say(format!("      {}", now.1));
        }
        last = now;
    }
    Ok(())
}

async fn tell_production(caller: &Caller, narrator: &Narrator) -> Result<()> {
    let mut watch = caller.watch("ProductionService/WatchProduction", &json!({"name": "projects/user/production"}))?;
    let mut last = String::new();
    while let Some(message) = watch.next().await? {
        let summary = text(&message["production"]["summary"]);
        if summary != last && !summary.is_empty() {
            narrator.say(format!("      production: {summary}"));
        }
        last = summary;
    }
    std::future::pending().await
}

async fn ending(world: &World, narrator: &Narrator) -> Result<()> {
    let fingerprint = world.lab.fingerprint().await?;
    let record = world.lab.record().await?;
    let calls: u64 =
        record["calls"].as_object().map(|calls| calls.values().filter_map(Value::as_u64).sum()).unwrap_or(0);
    narrator.say(format!("production reads {}", world.production().await?));
    narrator.say(format!(
        "the lab counts {} instances, {calls} AWS calls, and {} live tasks that lost their host",
        fingerprint["instances_running"],
        record["live_tasks_killed"].as_array().map_or(0, Vec::len)
    ));
    tell_board(world, narrator).await?;
    let grpcurl = paths::tool("venv/bin/grpcurl")?;
    let grpcurl = grpcurl.strip_prefix(paths::root()).unwrap_or(&grpcurl).display();
    let address = world.server.address();
    println!("\nThe system is up. Try, from another terminal:");
    println!("  {grpcurl} -plaintext {address} list");
    println!("  {grpcurl} -plaintext {address} brain.v1.BoardService/GetBoard");
    println!(
        "  {grpcurl} -plaintext -d '{{\"parent\":\"projects/user\"}}' {address} brain.v1.ProjectService/ListReleases"
    );
    println!(
        "  {grpcurl} -plaintext -d '{{\"image\":\"flowcommerce/user:0.0.4\"}}' {address} brain.v1.DeploymentService/CreateDeployment"
    );
    println!(
        "  {grpcurl} -plaintext -d '{{\"name\":\"projects/user/production\"}}' {address} brain.v1.ProductionService/WatchProduction"
    );
    println!("  curl {}/_lab/fingerprint", world.lab.endpoint());
    println!("Ctrl-C ends it.");
    Ok(())
}

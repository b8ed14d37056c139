//! The trace of a deploy, from tag to traffic, as a collector of OpenTelemetry sees it.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    spans::Collector,
    wait::eventually,
    world::{World, text},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener},
};

/// Spans of a trace by id.
type Trace = BTreeMap<String, Value>;

/// The one trace that a root span of this name begins, once it is whole: every span hangs below another, and the calls of every
/// scaling have come.
async fn whole(collector: &Collector, version: &str) -> Result<Trace> {
    eventually(&format!("the whole trace of {version}"), || async {
        let spans = collector.spans()?;
        let is_root = |span: &&Value| span["name"] == "release" && span["attributes"]["brain.version"] == version;
        let root = spans.iter().find(is_root).context("no root yet")?;
        let mut trace = Trace::new();
        for span in spans.iter().filter(|span| span["trace"] == root["trace"]) {
            // A batch may be sent again.
            let known = trace.insert(text(&span["id"]), span.clone()).is_none_or(|known| known == *span);
            ensure!(known, "two spans have one id: {span}");
        }
        for span in trace.values() {
            let parent = text(&span["parent"]);
            ensure!(parent.is_empty() || trace.contains_key(&parent), "{span} hangs in the air");
        }
        // Every program sends what it has by its own beat.
        let services: BTreeSet<String> = trace.values().map(|span| text(&span["service"])).collect();
        ensure!(services.len() == 3, "only of {services:?}");
        let scales = named(&trace, "scale");
        ensure!(!scales.is_empty(), "no scaling");
        for scale in scales {
            let acts = named(&trace, "UpdateService");
            ensure!(acts.iter().any(|call| call["parent"] == scale["id"]), "{scale} without its call");
        }
        Ok(trace)
    })
    .await
}

fn named<'a>(trace: &'a Trace, name: &str) -> Vec<&'a Value> {
    trace.values().filter(|span| span["name"] == name).collect()
}

#[tokio::test]
async fn one_trace_follows_a_version_from_its_tag_to_its_traffic_through_all_three_programs() -> Result<()> {
    let collector = Collector::start().await?;
    let world = World::start_traced(&collector.endpoint()).await?;
    world.first_deployment().await?;
    // Tagged and pushed while everything runs.
    world.user.tag("0.0.6").await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    world.image_known("0.0.6").await?;
    let name = world.deploy("flowcommerce/user:0.0.6").await?;
    let deployment = world.succeeded(&name).await?;

    let trace = whole(&collector, "0.0.6").await.with_context(|| world.agents.logs())?;
    let only = |name: &str| match named(&trace, name).as_slice() {
        [span] => Ok((*span).clone()),
        spans => anyhow::bail!("{} spans are called {name}", spans.len()),
    };
    let (release, deploy) = (only("release")?, only("deploy")?);
    let number = |span: &Value, end: &str| span[end].as_u64().context("no time");
    ensure!(text(&release["parent"]).is_empty() && deploy["parent"] == release["id"], "{release} {deploy}");
    for seen in ["see_tag", "see_image"] {
        let span = only(seen)?;
        ensure!(span["service"] == "brain-watcher" && span["parent"] == release["id"], "{span}");
        ensure!(number(&span, "to")? <= number(&deploy, "from")?, "{span} {deploy}");
    }
    ensure!(deploy["attributes"]["brain.ending"] == "succeeded" && deploy["status"]["code"].is_null(), "{deploy}");
    // Each step once, below the deployment, and the calls that it made below it.
    let steps = deployment["steps"].as_array().cloned().unwrap_or_default();
    let below = |parent: &Value| trace.values().filter(|span| span["parent"] == parent["id"]).collect::<Vec<_>>();
    let described: BTreeSet<String> =
        below(&deploy).into_iter().map(|span| text(&span["attributes"]["brain.step"])).collect();
    for step in &steps {
        ensure!(described.contains(&text(&step["description"])), "no span of {step}: {described:?}");
    }
    ensure!(below(&deploy).len() == steps.len() + 1, "the steps and the wait for a deployer: {:?}", below(&deploy));
    let calls: Vec<&Value> = named(&trace, "scale").into_iter().flat_map(below).collect();
    for call in calls {
        ensure!(call["service"] == "brain-deployer" && call["attributes"]["rpc.system"] == "aws-api", "{call}");
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() -> Result<()> {
    // It takes connections, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut world = World::start_traced(&format!("http://{}", silent.local_addr()?)).await?;
    world.first_deployment().await?;
    let complaint = eventually("a word in the log", || async {
        ensure!(world.deployer.output().contains("ExportError"), "not yet");
        Ok(())
    });
    complaint.await.with_context(|| world.agents.logs())?;
    ensure!(world.deployer.stop().await? == Some(0), "{}", world.agents.logs());
    world.unharmed().await
}

//! Metrics of all three programs, by the judgement of Prometheus itself.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    figures::{Figures, address_of},
    paths,
    prometheus::Prometheus,
    wait::eventually,
    world::World,
};
use std::fs;

#[tokio::test]
async fn a_deployment_shows_in_the_figures_of_all_three_programs() -> Result<()> {
    let world = World::start().await?;
    let server = world.server.http_address();
    let (watcher, deployer) = (address_of(&world.watcher).await?, address_of(&world.deployer).await?);
    let succeeded = ("brain_deployments_ended_total", ["outcome=\"succeeded\""]);
    let before = Figures::of(&server).await?;
    ensure!(before.text().contains("brain_deployments_ended_total{outcome=\"succeeded\"} 0"), "{}", before.text());
    world.first_deployment().await?;

    let told = Figures::of(&server).await?;
    let is = |name: &str, labels: &[&str], figure: f64| {
        let found = told.sum(name, labels);
        ensure!(found == figure, "{name} {labels:?} is {found}, not {figure}:\n{}", told.text());
        Ok(())
    };
    is(succeeded.0, &succeeded.1, 1.0)?;
    is(succeeded.0, &[], 1.0)?;
    is("brain_deployment_duration_seconds_count", &succeeded.1, 1.0)?;
    is("brain_deployments_active", &[], 0.0)?;
    is("brain_projects", &[], 1.0)?;
    is("brain_agents_connected", &["kind=\"watcher\""], 1.0)?;
    is("brain_agents_connected", &["kind=\"deployer\""], 1.0)?;
    is("brain_grpc_streams", &["method=\"Connect\""], 2.0)?;
    is("brain_grpc_requests_total", &["method=\"CreateDeployment\"", "code=\"Ok\""], 1.0)?;
    is("brain_grpc_request_duration_seconds_count", &["method=\"CreateDeployment\""], 1.0)?;
    is("brain_events_total", &["topic=\"project\""], 1.0)?;
    for (name, labels) in [
        ("brain_events_total", "topic=\"step\""),
        ("brain_store_commits_total", "outcome=\"ok\""),
        ("brain_store_commit_duration_seconds_count", ""),
        ("brain_store_batch_events_sum", ""),
    ] {
        ensure!(told.sum(name, &[labels]) >= 10.0, "{name} {labels}:\n{}", told.text());
    }
    let refused = world.deploy("flowcommerce/user:0.0.5").await;
    ensure!(refused.is_err(), "there is no such image yet");
    let told = Figures::of(&server).await?;
    ensure!(told.sum("brain_grpc_requests_total", &["CreateDeployment", "code=\"FailedPrecondition\""]) == 1.0);

    let polls = Figures::of(&watcher).await?;
    for (name, label) in [
        ("brain_polls_total", "outcome=\"ok\""),
        ("brain_poll_duration_seconds_count", "target=\"images\""),
        ("brain_source_requests_total", "host=\"registry docker.io\""),
        ("brain_source_wait_seconds_count", ""),
    ] {
        ensure!(polls.sum(name, &[label]) >= 2.0, "{name} {label}:\n{}", polls.text());
    }
    ensure!(polls.sum("brain_projects_watched", &[]) == 1.0 && polls.sum("brain_server_connected", &[]) == 1.0);

    let steps = Figures::of(&deployer).await?;
    for (name, label) in [
        ("brain_steps_total", "outcome=\"done\""),
        ("brain_step_duration_seconds_count", ""),
        ("brain_aws_calls_total", "outcome=\"ok\""),
        ("brain_aws_call_duration_seconds_count", "call=\"DescribeServices\""),
        ("brain_aws_limit_wait_seconds_count", ""),
        ("brain_lease_renewals_total", "outcome=\"answered\""),
    ] {
        ensure!(steps.sum(name, &[label]) >= 2.0, "{name} {label}:\n{}", steps.text());
    }
    ensure!(steps.sum("brain_steps_total", &["outcome=\"failed\""]) == 0.0, "{}", steps.text());
    ensure!(steps.sum("brain_deployments_held", &[]) == 0.0, "{}", steps.text());

    for (program, figures) in [("server", &told), ("watcher", &polls), ("deployer", &steps)] {
        figures.lint().await.context(program)?;
        ensure!(!figures.text().contains("\"user\""), "a project's name is a label:\n{}", figures.text());
    }
    scraped(&[server, watcher, deployer]).await
}

/// A real Prometheus takes all of it.
async fn scraped(targets: &[String]) -> Result<()> {
    let prometheus = Prometheus::scraping(targets).await?;
    for (query, figure) in
        [("sum(up{job=\"brain\"})", "3"), ("brain_deployments_ended_total{outcome=\"succeeded\"}", "1")]
    {
        let url =
            reqwest::Url::parse_with_params(&format!("{}/api/v1/query", prometheus.endpoint()), [("query", query)])?;
        eventually(query, || async {
            let answer = brain_tests::http::client().get(url.clone()).send().await?;
            let answer: serde_json::Value = answer.json().await?;
            ensure!(answer["data"]["result"][0]["value"][1] == figure, "{answer}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[test]
fn the_readme_names_every_metric_and_no_other() -> Result<()> {
    let readme = fs::read_to_string(paths::root().join("README.md"))?;
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `brain_")?.split(['`', '{']).next());
    let mut named: Vec<String> = rows.map(|name| format!("brain_{name}")).collect();
    let tables = [brain_server::metrics::MEASURED, brain_watcher::metrics::MEASURED, brain_deployer::metrics::MEASURED];
    let mut measured: Vec<String> = tables.into_iter().flatten().map(|metric| metric.name.to_owned()).collect();
    measured.push("brain_build_info".to_owned());
    named.sort();
    measured.sort();
    measured.dedup();
    assert_eq!(named, measured);
    Ok(())
}

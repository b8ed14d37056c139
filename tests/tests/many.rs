//! Many deployments at once on one deployer, within AWS's limits.

use anyhow::{Result, ensure};
use brain_tests::many::Many;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// More than the load balancers that AWS lets be made at once.
const PROJECTS: usize = 12;

#[tokio::test]
async fn many_first_deployments_at_once_stay_within_awss_limits() -> Result<()> {
    let mut many = Many::start(PROJECTS, "").await?;
    many.lab.settings(json!({"throttle": true})).await?;
    let deployments = many.deploy_all("0.0.1", |_| ()).await?;
    let deployers: BTreeSet<&str> = deployments.iter().map(|deployment| deployment.deployer.as_str()).collect();
    ensure!((deployments.len(), deployers.len()) == (PROJECTS, 1), "{deployers:?}");
    let record = many.lab.record().await?;
    ensure!(record["throttled"] == json!({}), "what is sent is within the limits: {}", record["throttled"]);
    let made = record["calls"]["CreateLoadBalancer"].as_u64();
    ensure!(made == Some(PROJECTS as u64), "one for each: {made:?}");
    let services = many.lab.fingerprint().await?["services"].clone();
    let running = |service: &Value| service["running"] == 1;
    let whole = services.as_object().is_some_and(|all| all.len() == PROJECTS && all.values().all(running));
    ensure!(whole, "{services}");
    Ok(())
}

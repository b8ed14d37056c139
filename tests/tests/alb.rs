//! An application load balancer: requests are weighted exactly, whatever the number of tasks.

use anyhow::{Result, ensure};
use brain_tests::{
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// A world in which 0.0.4 runs behind an application load balancer, under a policy.
async fn world_with(policy: Value) -> Result<World> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["loadBalancerKind"] = json!("LOAD_BALANCER_KIND_APPLICATION");
    project["rolloutPolicy"] = policy;
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    world.succeeded(&first).await?;
    Ok(world)
}

/// Waits until production shows these versions with their shares and the weights that AWS tells.
async fn shows(world: &World, expected: &[(&str, u64, u64)]) -> Result<()> {
    eventually(&format!("production to be {expected:?}"), || async {
        let request = json!({"name": "projects/user/production"});
        let shown = world.caller().buf("ProductionService/GetProduction", &request).await?["production"].clone();
        let versions = shown["versions"].as_array().cloned().unwrap_or_default();
        let figure = |version: &Value, field: &str| version[field].as_u64().unwrap_or(0);
        let now: Vec<(String, u64, u64)> = versions
            .iter()
            .map(|version| {
                let (share, weight) = (figure(version, "sharePercent"), figure(version, "targetGroupWeight"));
                (text(&version["version"]), share, weight)
            })
            .collect();
        let expected: Vec<(String, u64, u64)> =
            expected.iter().map(|(version, share, weight)| ((*version).to_owned(), *share, *weight)).collect();
        ensure!(now == expected, "{shown}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_of_ten_percent_sends_a_tenth_of_the_requests_and_the_rest_follows_when_promoted() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 10, "hold": true}]})).await?;
    shows(&world, &[("0.0.4", 100, 100)]).await?;
    let shift = world.begin_shift().await?;
    eventually("the deployment to be paused", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(deployment["pause"].is_object(), "{}, {}", deployment["headline"], deployment["waiting"]);
        Ok(())
    })
    .await?;
    shows(&world, &[("0.0.4", 90, 90), ("0.0.5", 10, 10)]).await?;
    let request = json!({"name": shift, "toEnd": true, "requestedBy": "ann"});
    world.caller().grpcurl("DeploymentService/PromoteDeployment", &request).await?;
    world.succeeded(&shift).await?;
    shows(&world, &[("0.0.5", 100, 100)]).await
}

#[tokio::test]
async fn a_version_that_crashes_is_taken_back_and_the_old_one_has_all_requests() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 10, "bake": "60s"}]})).await?;
    let settings = json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 3000}]});
    world.lab.settings(settings).await?;
    let shift = world.begin_shift().await?;
    let ended = world.ended(&shift).await?;
    ensure!(ended["phase"] == "DEPLOYMENT_PHASE_FAILED", "{}: {}", ended["phase"], ended["reason"]);
    shows(&world, &[("0.0.4", 100, 100)]).await
}

//! The line: one switch over all projects, seen through grpcurl, also over a kill of the server.

use anyhow::{Result, ensure};
use brain_tests::{
    intent::{create_automatic, deployments, refused, said, there_is},
    trigger::Following,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// A call of LineService by ann; answers the line.
async fn line(world: &World, method: &str, more: Value) -> Result<Value> {
    let mut request = json!({"requestedBy": "ann", "reason": "an outage"});
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        request[field] = value;
    }
    let answer = world.caller().grpcurl(&format!("LineService/{method}"), &request).await?;
    Ok(answer["line"].clone())
}

async fn paused_with_the_line(world: &World, name: &str) -> Result<Value> {
    eventually("the deployment to be paused with the line", || async {
        let deployment = world.deployment(name).await?;
        ensure!(deployment["pause"]["line"] == true, "{}", deployment["headline"]);
        Ok(deployment)
    })
    .await
}

#[tokio::test]
async fn a_stopped_line_lets_nothing_new_begin_and_everything_go_back_until_it_is_released() -> Result<()> {
    let mut world = World::start().await?;
    create_automatic(&world).await?;
    there_is(&world, 1).await?;
    world.succeeded("projects/user/deployments/1").await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    there_is(&world, 2).await?;
    world.succeeded("projects/user/deployments/2").await?;

    let stopped = line(&world, "StopLine", json!({})).await?;
    assert_eq!((&stopped["stopped"], &stopped["origin"]["setBy"]), (&json!(true), &json!("ann")));
    let again = line(&world, "StopLine", json!({"requestedBy": "bob"})).await?;
    assert_eq!(again, stopped, "whoever stops first is named");
    world.user.tag("0.0.6").await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    said(&world, "flowcommerce/user:0.0.6 is not deployed automatically: the line is stopped, by ann since 2").await?;
    said(&world, "flowcommerce/user: the line is stopped, nothing new begins, by ann since 2").await?;
    let refusal = refused(&world, "flowcommerce/user:0.0.6").await;
    for part in ["FailedPrecondition", "LINE_STOPPED", "an outage", "ReleaseLine"] {
        assert!(refusal.contains(part), "{part} is missing: {refusal}");
    }
    let back = json!({"parent": "projects/user", "requestedBy": "ann"});
    let forward = json!({"parent": "projects/user", "requestedBy": "ann", "version": "0.0.6"});
    let refusal = world.caller().grpcurl("DeploymentService/RollbackProject", &forward).await;
    let refusal = refusal.expect_err("0.0.6 never served, so that nothing goes back to it").to_string();
    assert!(refusal.contains("LINE_STOPPED"), "{refusal}");

    // It outlives the server's process.
    world.server.kill().await?;
    world.server.restart().await?;
    let kept = world.caller().grpcurl("LineService/GetLine", &json!({})).await?;
    assert_eq!(kept["line"], stopped);
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await?;
    assert_eq!(back["deployment"]["version"], "0.0.4");
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    assert_eq!(deployments(&world).await?, 3, "policy deployed nothing");

    assert_eq!(line(&world, "ReleaseLine", json!({})).await?["stopped"], false);
    line(&world, "ReleaseLine", json!({})).await?;
    assert_eq!(there_is(&world, 4).await?["version"], "0.0.6");
    world.succeeded("projects/user/deployments/4").await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_line_that_pauses_keeps_what_is_under_way_paused_over_a_restart_and_lets_it_go_on_when_released() -> Result<()>
{
    let mut world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    Following::begin(&world.server.address(), &shift).await?.steps_done(9).await?;
    line(&world, "StopLine", json!({"pauseRunning": true})).await?;
    // The server may die before it has paused anything: the next one does it.
    world.server.kill().await?;
    world.server.restart().await?;
    let paused = paused_with_the_line(&world, &shift).await?;
    assert_eq!((&paused["pause"]["pausedBy"], &paused["pause"]["reason"]), (&json!("ann"), &json!("an outage")));
    let name = json!({"name": shift, "requestedBy": "bob"});
    for method in ["ResumeDeployment", "PromoteDeployment"] {
        let refusal = world.caller().grpcurl(&format!("DeploymentService/{method}"), &name).await;
        let refusal = refusal.expect_err("the line is stopped").to_string();
        assert!(refusal.contains("LINE_STOPPED") && refusal.contains("ReleaseLine"), "{method}: {refusal}");
    }
    said(&world, "flowcommerce/user:0.0.5 deploy is paused with the line by ann: an outage").await?;
    line(&world, "ReleaseLine", json!({})).await?;
    world.succeeded(&shift).await?;
    world.unharmed().await
}

#[tokio::test]
async fn what_a_person_has_paused_besides_stays_so_when_the_line_is_released() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    Following::begin(&world.server.address(), &shift).await?.steps_done(9).await?;
    line(&world, "StopLine", json!({"pauseRunning": true})).await?;
    paused_with_the_line(&world, &shift).await?;
    let by_bob = json!({"name": shift, "requestedBy": "bob", "reason": "to look"});
    let both = world.caller().grpcurl("DeploymentService/PauseDeployment", &by_bob).await?;
    assert_eq!(both["deployment"]["pause"]["pausedBy"], "ann", "the line's is told first");
    line(&world, "ReleaseLine", json!({})).await?;
    said(&world, "flowcommerce/user:0.0.5 deploy is paused by bob: to look").await?;
    let kept = world.deployment(&shift).await?;
    ensure!(kept["pause"]["pausedBy"] == "bob" && kept["pause"]["line"] != true, "{}", kept["pause"]);
    world.caller().grpcurl("DeploymentService/ResumeDeployment", &by_bob).await?;
    world.succeeded(&shift).await?;
    world.unharmed().await
}

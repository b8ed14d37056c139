//! The dry run: every AWS call is told before it is made, and none is made.

use anyhow::{Result, ensure};
use brain_tests::{
    planned::{Calls, made_calls, planned, planned_calls},
    wait::eventually,
    world::{World, text},
};
use serde_json::json;

#[tokio::test]
async fn a_dry_run_lists_the_calls_of_set_up_and_shift_and_makes_none() -> Result<()> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["healthCheckPath"] = json!("/_internal_/healthcheck");
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    world.lab.reset_record().await?;
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.4"})).await?;
    assert_eq!(made_calls(&world).await?, Calls::new(), "a dry run changes nothing");
    let steps = answer["plan"]["steps"].as_array().map(Vec::len);
    assert_eq!(answer["steps"].as_array().map(Vec::len), steps);
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    world.succeeded(&first).await?;
    assert_eq!(planned_calls(&answer), made_calls(&world).await?);

    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    world.lab.reset_record().await?;
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.5"})).await?;
    assert_eq!(made_calls(&world).await?, Calls::new());
    let shift = world.deploy("flowcommerce/user:0.0.5").await?;
    world.succeeded(&shift).await?;
    assert_eq!(planned_calls(&answer), made_calls(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_tells_what_differs_and_what_it_lacks() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let check = "dict(Target='TCP:22', Interval=10, Timeout=5, UnhealthyThreshold=2, HealthyThreshold=2)";
    let drift =
        format!("boto3.client('elb').configure_health_check(LoadBalancerName='user-ecs-lb', HealthCheck={check})");
    world.lab.boto3(&drift).await?;
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.5"})).await?;
    let step = &answer["steps"][2];
    assert_eq!((&step["calls"], &step["drift"][0]["remedy"]), (&json!([]), &json!("DRIFT_REMEDY_TOLD")), "{step}");
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.5", "repairDrift": true})).await?;
    let call = &answer["steps"][2]["calls"][0];
    assert_eq!((text(&call["call"]), text(&call["resource"])), ("ConfigureHealthCheck".into(), "user-ecs-lb".into()));
    assert!(text(&call["differences"][0]).starts_with("health check: TCP:22 every 10 s, "), "{call}");
    world.deployer.kill().await?;
    eventually("the plan without calls", || async {
        let request = json!({"image": "flowcommerce/user:0.0.5"});
        let answer = world.caller().grpcurl("DeploymentService/PlanDeployment", &request).await?;
        ensure!(answer["note"] == "no deployer is connected" && answer["plan"]["steps"].is_array(), "{answer}");
        Ok(())
    })
    .await
}

//! Housekeeping on a schedule: what is old goes; what lives, is kept or is not brain's stays.

use anyhow::{Result, ensure};
use brain_tests::{
    brain::Server,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// Project `user` with one task, all at once, keeping as little as it may.
async fn world(policy: Value) -> Result<World> {
    let world = World::start_on(Server::start_keeping_house("1s").await?).await?;
    let mut definition = world.definition();
    definition["target"]["desiredCount"] = json!(1);
    definition["rolloutPolicy"] = policy;
    world.create(definition).await?;
    world.image_known("0.0.4").await?;
    Ok(world)
}

async fn deploy(world: &World, version: &str) -> Result<()> {
    // The first one's image is there from the beginning.
    if version != "0.0.4" {
        world.registry.push("flowcommerce/user", version, version).await?;
        world.image_known(version).await?;
    }
    let name = world.deploy(&format!("flowcommerce/user:{version}")).await?;
    world.succeeded(&name).await.map(drop)
}

/// Versions, and other names, of the services that are active.
async fn active(world: &World) -> Result<Vec<String>> {
    let fingerprint = world.lab.fingerprint().await?;
    let services = fingerprint["services"].as_object().cloned().unwrap_or_default();
    let active = services.iter().filter(|(_, service)| service["status"] == "ACTIVE");
    let version = |name: &String| {
        let name = name.rsplit('/').next().unwrap_or_default();
        let version = name.strip_prefix("user-ecs-service-").and_then(|rest| rest.rsplit_once('-'));
        version.map_or_else(|| name.to_owned(), |(version, _)| version.replace('-', "."))
    };
    Ok(active.map(|(name, _)| version(name)).collect())
}

async fn project(world: &World) -> Result<Value> {
    let answer = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    Ok(answer["project"].clone())
}

#[tokio::test]
async fn old_services_and_task_definitions_go_and_a_version_whose_service_is_gone_is_deployed_again() -> Result<()> {
    let policy = json!({"preset": "ROLLOUT_PRESET_ALL_AT_ONCE", "keepServices": 0, "keepTaskDefinitions": 1});
    let world = world(policy).await?;
    deploy(&world, "0.0.4").await?;
    let by_hand = "c = boto3.client('ecs'); c.create_service(cluster='user-ecs-cluster', serviceName='by-hand', desiredCount=0, \
        taskDefinition=c.register_task_definition(family='by-hand', containerDefinitions=[dict(name='a', image='b', memory=64)])\
        ['taskDefinition']['taskDefinitionArn'])";
    world.lab.boto3(by_hand).await?;
    deploy(&world, "0.0.5").await?;
    deploy(&world, "0.0.6").await?;
    eventually("the first version to go", || async {
        let active = active(&world).await?;
        // 0.0.6 serves, and its deployment came from 0.0.5.
        ensure!(active == ["by-hand", "0.0.5", "0.0.6"], "{active:?}");
        let definitions = world.lab.fingerprint().await?["task_definitions"]["user-ecs-task"]["active"].clone();
        ensure!(definitions == 2, "{definitions} task definitions");
        let removed = text(&json!(project(&world).await?["housekeeping"]["removed"].to_string()));
        ensure!(removed.contains("user-ecs-task:1"), "{removed}");
        Ok(())
    })
    .await?;
    assert_eq!(world.production().await?, "0.0.6: 100%");

    let request = json!({"parent": "projects/user", "version": "0.0.4", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    eventually("what the latest deployment names, and no more", || async {
        let active = active(&world).await?;
        ensure!(active == ["by-hand", "0.0.4", "0.0.6"], "{active:?}");
        Ok(())
    })
    .await?;
    assert_eq!(world.lab.record().await?["live_tasks_killed"], json!([]));
    Ok(())
}

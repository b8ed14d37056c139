//! Intent that sticks: pins, quarantines and freezes, and deployments by policy that never override one.

use anyhow::{Result, ensure};
use brain_tests::{
    intent::{create_automatic, deployments, hold, refused, said, there_is},
    planned::planned,
    wait::eventually,
    world::{World, text},
};
use serde_json::json;

#[tokio::test]
async fn a_pin_refuses_every_other_version_and_a_freeze_all_new_ones_until_they_are_lifted() -> Result<()> {
    let world = World::start().await?;
    world.create_project().await?;
    let nothing = hold(&world, "PinProject", json!({})).await.expect_err("nothing serves").to_string();
    assert!(nothing.contains("NOTHING_SERVES"), "{nothing}");
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    world.succeeded(&first).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;

    let pinned = hold(&world, "PinProject", json!({})).await?;
    assert_eq!(pinned["holds"]["pin"]["version"], "0.0.4");
    assert_eq!(pinned["holds"]["pin"]["origin"]["setBy"], "ann");
    let again = hold(&world, "PinProject", json!({"version": "v0.0.4", "requestedBy": "bob"})).await?;
    assert_eq!(again["holds"], pinned["holds"]);
    let refusal = refused(&world, "flowcommerce/user:0.0.5").await;
    for part in
        ["FailedPrecondition", "PROJECT_PINNED", "pinned to 0.0.4, by ann since 2", "to be safe", "UnpinProject"]
    {
        assert!(refusal.contains(part), "{part} is missing: {refusal}");
    }
    said(&world, "flowcommerce/user is pinned to 0.0.4, by ann since 2").await?;
    let frozen = hold(&world, "FreezeProject", json!({})).await?;
    assert!(frozen["holds"]["freeze"]["endTime"].is_null());
    // What is held is planned all the same.
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.5"})).await?;
    let barriers = answer["barriers"].as_array().cloned().unwrap_or_default();
    let reasons: Vec<String> = barriers.iter().map(|barrier| text(&barrier["reason"])).collect();
    assert_eq!(reasons, ["PROJECT_PINNED", "PROJECT_FROZEN"], "{barriers:?}");
    let told = text(&barriers[0]["description"]);
    assert!(told.starts_with("the project is pinned to 0.0.4, by ann since 2"), "{told}");
    assert_eq!(deployments(&world).await?, 1, "a plan begins nothing");
    hold(&world, "UnpinProject", json!({})).await?;
    hold(&world, "UnpinProject", json!({})).await?;
    let refusal = refused(&world, "flowcommerce/user:0.0.5").await;
    assert!(refusal.contains("PROJECT_FROZEN") && refusal.contains("ThawProject"), "{refusal}");
    said(&world, "flowcommerce/user is frozen, by ann since 2").await?;
    let past = hold(&world, "FreezeProject", json!({"endTime": "2020-01-01T00:00:00Z"})).await;
    let past = past.expect_err("it is over").to_string();
    assert!(past.contains("InvalidArgument") && past.contains("end_time"), "{past}");

    hold(&world, "ThawProject", json!({})).await?;
    let second = world.deploy("flowcommerce/user:0.0.5").await?;
    world.succeeded(&second).await?;
    // Going back is allowed while frozen, unless the release is quarantined.
    hold(&world, "FreezeProject", json!({})).await?;
    let release = json!({"name": "projects/user/releases/0.0.4"});
    hold(&world, "QuarantineRelease", release.clone()).await?;
    let back = json!({"parent": "projects/user", "version": "0.0.4", "requestedBy": "ann"});
    let refusal = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await;
    let refusal = refusal.expect_err("0.0.4 is quarantined").to_string();
    assert!(refusal.contains("VERSION_QUARANTINED") && refusal.contains("LiftQuarantine"), "{refusal}");
    hold(&world, "LiftQuarantine", release).await?;
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_pushed_image_is_deployed_by_policy_and_one_that_failed_never_again_until_its_quarantine_is_lifted()
-> Result<()> {
    let mut world = World::start().await?;
    create_automatic(&world).await?;
    let first = there_is(&world, 1).await?;
    assert_eq!((text(&first["version"]), text(&first["requestedBy"])), ("0.0.4".into(), "policy auto_deploy".into()));
    world.succeeded("projects/user/deployments/1").await?;

    world.lab.settings(json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 50}]})).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    there_is(&world, 2).await?;
    let failed = world.ended("projects/user/deployments/2").await?;
    assert_eq!(failed["phase"], "DEPLOYMENT_PHASE_FAILED");
    said(&world, "flowcommerce/user:0.0.5 is quarantined, by brain-server since 2").await?;
    let refusal = refused(&world, "flowcommerce/user:0.0.5").await;
    assert!(refusal.contains("VERSION_QUARANTINED") && refusal.contains("deployment 2 failed"), "{refusal}");

    // The intent outlives the server's process, and what comes after it is decided with it.
    world.server.kill().await?;
    world.server.restart().await?;
    hold(&world, "FreezeProject", json!({})).await?;
    world.user.tag("0.0.6").await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    said(&world, "flowcommerce/user:0.0.6 is not deployed automatically: the project is frozen, by ann").await?;
    assert_eq!(deployments(&world).await?, 2, "neither what failed nor what is frozen was deployed");
    hold(&world, "ThawProject", json!({})).await?;
    assert_eq!(there_is(&world, 3).await?["version"], "0.0.6");
    world.succeeded("projects/user/deployments/3").await?;

    // A person takes it back: it does not come again by itself.
    let back = json!({"parent": "projects/user", "version": "0.0.4", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    let frozen = hold(&world, "FreezeProject", json!({"endTime": in_a_moment()})).await?;
    assert!(frozen["holds"]["freeze"]["endTime"].is_string());
    eventually("the freeze to end by itself", || async {
        let project = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
        ensure!(project["project"]["holds"]["freeze"].is_null(), "{}", project["project"]["holds"]);
        Ok(())
    })
    .await?;
    assert_eq!(deployments(&world).await?, 4);
    world.unharmed().await
}

#[tokio::test]
async fn what_its_surroundings_failed_is_not_quarantined_and_policy_tries_it_again_only_when_a_person_says_so()
-> Result<()> {
    let world = World::start().await?;
    let group = "ec2 = boto3.client('ec2'); \
                 vpc = [vpc for vpc in ec2.describe_vpcs()['Vpcs'] if vpc['IsDefault']][0]['VpcId']; \
                 ec2.create_security_group(GroupName='user-ecs-sg', Description='of others', VpcId=vpc)";
    world.lab.boto3(group).await?;
    create_automatic(&world).await?;
    there_is(&world, 1).await?;
    let failed = world.ended("projects/user/deployments/1").await?;
    assert_eq!(failed["failureCause"], "FAILURE_CAUSE_SURROUNDINGS", "{}", failed["reason"]);
    said(&world, "flowcommerce/user:0.0.4 is not deployed automatically again: not the version failed").await?;
    let project = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    assert!(project["project"]["holds"].is_null(), "{}", project["project"]["holds"]);
    assert_eq!(deployments(&world).await?, 1);
    // A person may deploy it, and does so too early.
    let second = world.deploy("flowcommerce/user:0.0.4").await?;
    assert_eq!(world.ended(&second).await?["failureCause"], "FAILURE_CAUSE_SURROUNDINGS");
    world.lab.boto3("boto3.client('ec2').delete_security_group(GroupName='user-ecs-sg')").await?;
    hold(&world, "LiftQuarantine", json!({"name": "projects/user/releases/0.0.4"})).await?;
    assert_eq!(there_is(&world, 3).await?["requestedBy"], "policy auto_deploy");
    world.succeeded("projects/user/deployments/3").await.map(drop)
}

#[tokio::test]
async fn what_is_held_before_a_deployer_has_taken_it_does_not_begin_until_that_is_lifted() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    world.deployer.kill().await?;
    // Its lease on nothing runs out, and then there is nobody who could take it.
    let second = world.deploy("flowcommerce/user:0.0.5").await?;
    hold(&world, "FreezeProject", json!({})).await?;
    world.replace_deployer().await?;
    said(&world, "flowcommerce/user:0.0.5 deploy has all that it needs and waits to begin: the project is frozen")
        .await?;
    let waits = world.deployment(&second).await?;
    assert_eq!((text(&waits["phase"]), text(&waits["deployer"])), ("DEPLOYMENT_PHASE_PENDING".into(), String::new()));
    hold(&world, "ThawProject", json!({})).await?;
    world.succeeded(&second).await?;
    world.unharmed().await
}

/// Two seconds from now.
fn in_a_moment() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string()
}

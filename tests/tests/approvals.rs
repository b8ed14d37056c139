//! Required approvals, seen through grpcurl: a new version waits for other people, and then for whatever forbids it.

use anyhow::{Result, ensure};
use brain_tests::{
    intent::{hold, said},
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

async fn approve(world: &World, name: &str, by: &str) -> Result<Value> {
    let request = json!({"name": name, "requestedBy": by, "reason": "seen"});
    Ok(world.caller().grpcurl("DeploymentService/ApproveDeployment", &request).await?["deployment"].clone())
}

/// What the refusal of an approval says.
async fn not_approved(world: &World, name: &str, by: &str) -> String {
    match approve(world, name, by).await {
        Ok(deployment) => format!("it was not refused: {deployment}"),
        Err(refusal) => refusal.to_string(),
    }
}

#[tokio::test]
async fn a_deployment_waits_for_other_people_and_for_what_forbids_it_and_going_back_waits_for_nobody() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    let set = hold(&world, "SetRequiredApprovals", json!({"count": 2})).await?;
    assert_eq!(set["holds"]["requiredApprovals"]["count"], 2);
    let too_many = hold(&world, "SetRequiredApprovals", json!({"count": 11})).await.expect_err("too many").to_string();
    assert!(too_many.contains("InvalidArgument") && too_many.contains("count"), "{too_many}");

    let shift = world.begin_shift().await?;
    let waiting = world.deployment(&shift).await?;
    assert_eq!((&waiting["phase"], &waiting["approvalsRequired"]), (&json!("DEPLOYMENT_PHASE_PENDING"), &json!(2)));
    said(&world, "flowcommerce/user:0.0.5 deploy waits until 2 more people have approved it").await?;
    let own = not_approved(&world, &shift, "Paolo").await;
    assert!(own.contains("FailedPrecondition") && own.contains("OWN_APPROVAL"), "{own}");
    let nameless = not_approved(&world, &shift, "").await;
    assert!(nameless.contains("InvalidArgument") && nameless.contains("requested_by"), "{nameless}");
    approve(&world, &shift, "ann").await?;
    let again = approve(&world, &shift, "ann").await?;
    assert_eq!(again["approvals"].as_array().map(Vec::len), Some(1), "a person counts once: {again}");
    said(&world, "flowcommerce/user:0.0.5 deploy waits until 1 more person has approved it").await?;

    // What is approved outlives the server; what forbids it then holds it back.
    hold(&world, "FreezeProject", json!({})).await?;
    world.server.kill().await?;
    world.server.restart().await?;
    approve(&world, &shift, "bob").await?;
    let held = eventually("the deployment to be held back", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(
            text(&deployment["waiting"]).starts_with("the project is frozen, by ann"),
            "{}",
            deployment["headline"]
        );
        Ok(deployment)
    })
    .await?;
    assert_eq!(held["phase"], "DEPLOYMENT_PHASE_PENDING");
    said(&world, "flowcommerce/user:0.0.5 deploy has all that it needs and waits to begin: the project is frozen")
        .await?;
    hold(&world, "ThawProject", json!({})).await?;
    let done = world.succeeded(&shift).await?;
    assert_eq!(done["approvals"][1]["requestedBy"], "bob");
    approve(&world, &shift, "ann").await?;
    let late = not_approved(&world, &shift, "eve").await;
    assert!(late.contains("DEPLOYMENT_ENDED"), "{late}");

    let back = json!({"parent": "projects/user", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;

    // What waits can be cancelled, and lifting the hold lets what waits begin.
    let unwanted = world.deploy("flowcommerce/user:0.0.5").await?;
    let cancel = json!({"name": unwanted, "requestedBy": "ann", "rollback": true});
    world.caller().grpcurl("DeploymentService/CancelDeployment", &cancel).await?;
    assert_eq!(world.ended(&unwanted).await?["phase"], "DEPLOYMENT_PHASE_CANCELLED");
    let last = world.deploy("flowcommerce/user:0.0.5").await?;
    hold(&world, "SetRequiredApprovals", json!({"count": 0})).await?;
    world.succeeded(&last).await?;
    world.unharmed().await
}

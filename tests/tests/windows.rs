//! Deploy windows, seen through grpcurl: when new versions may begin, and who passes them over.

use anyhow::{Result, ensure};
use brain_tests::{
    intent::{create_automatic, deployments, hold, refused, said, there_is},
    wait::eventually,
    world::{World, text},
};
use jiff::{SignedDuration, ZonedDateTime, tz::TimeZone};
use serde_json::{Value, json};

/// The time in so many seconds, at UTC.
fn soon(seconds: i64) -> ZonedDateTime {
    (jiff::Timestamp::now() + SignedDuration::from_secs(seconds)).to_zoned_datetime(TimeZone::UTC)
}

/// A window that opens every hour at that minute, for two.
fn hourly(minute: i8) -> Value {
    json!({"windows": [{"cron": format!("{minute} * * * *"), "duration": "120s", "timeZone": "UTC"}]})
}

#[tokio::test]
async fn outside_of_its_windows_a_project_is_not_deployed_unless_a_person_says_why() -> Result<()> {
    let world = World::start().await?;
    create_automatic(&world).await?;
    there_is(&world, 1).await?;
    world.succeeded("projects/user/deployments/1").await?;
    // Half an hour away from now, whatever the time is.
    let far = soon(30 * 60).minute();
    let set = hold(&world, "SetDeployWindows", hourly(far)).await?;
    let windows = &set["holds"]["deployWindows"];
    assert_eq!((&windows["windows"][0]["duration"], &windows["origin"]["setBy"]), (&json!("120s"), &json!("ann")));
    let again = hold(&world, "SetDeployWindows", hourly(far)).await?;
    assert_eq!(again["holds"], set["holds"]);
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    said(&world, "flowcommerce/user:0.0.5 is not deployed automatically: no deploy window is open, set by ann").await?;
    let refusal = refused(&world, "flowcommerce/user:0.0.5").await;
    for part in ["FailedPrecondition", "OUTSIDE_DEPLOY_WINDOWS", "the next one opens at 2", "SetDeployWindows"] {
        assert!(refusal.contains(part), "{part} is missing: {refusal}");
    }
    assert_eq!(deployments(&world).await?, 1);
    let mut request = json!({"image": "flowcommerce/user:0.0.5", "requestedBy": "ann", "outsideWindows": "it burns"});
    let begun = world.caller().grpcurl("DeploymentService/CreateDeployment", &request).await?["deployment"].clone();
    assert_eq!(begun["outsideWindows"], "it burns");
    world.succeeded(&text(&begun["name"])).await?;
    // Going back is allowed at any time.
    let back = json!({"parent": "projects/user", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &back).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    let lifted = hold(&world, "SetDeployWindows", json!({})).await?;
    assert!(lifted["holds"].is_null(), "{}", lifted["holds"]);
    request["outsideWindows"] = json!("");
    let begun = world.caller().grpcurl("DeploymentService/CreateDeployment", &request).await?;
    world.succeeded(&text(&begun["deployment"]["name"])).await?;
    world.unharmed().await
}

#[tokio::test]
async fn policy_deploys_when_a_window_opens_also_after_a_restart() -> Result<()> {
    let mut world = World::start().await?;
    create_automatic(&world).await?;
    there_is(&world, 1).await?;
    world.succeeded("projects/user/deployments/1").await?;
    // The beginning of a minute that is half a minute away at least.
    let opening = soon(90);
    let opening = opening.timestamp() - SignedDuration::from_secs(opening.second().into());
    hold(&world, "SetDeployWindows", hourly(opening.to_zoned_datetime(TimeZone::UTC).minute())).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    said(&world, "flowcommerce/user:0.0.5 is not deployed automatically: no deploy window is open").await?;
    world.server.kill().await?;
    world.server.restart().await?;
    assert_eq!(deployments(&world).await?, 1);
    let name = "projects/user/deployments/2";
    let patience = std::time::Duration::from_secs(120);
    let begun = brain_tests::wait::within(patience, "the window to open", || world.deployment(name)).await?;
    let created: jiff::Timestamp = text(&begun["createTime"]).parse()?;
    ensure!((opening - SignedDuration::from_secs(1)..).contains(&created), "{created} is before {opening}");
    world.succeeded(name).await.map(drop)
}

#[tokio::test]
async fn a_faulty_window_is_answered_with_every_fault() -> Result<()> {
    let world = World::start().await?;
    world.create_project().await?;
    let bad = json!({"windows": [
        {"cron": "0 25 * * *", "duration": "1s", "timeZone": "Mars/Olympus"},
        {"cron": "0 9 * * *", "duration": "3600s", "timeZone": "UTC"},
        {"cron": "0 0 30 2 *", "duration": "3600s", "timeZone": "UTC"},
    ]});
    let refusal = hold(&world, "SetDeployWindows", bad).await.expect_err("it is faulty").to_string();
    ensure!(refusal.contains("InvalidArgument"), "{refusal}");
    for field in ["windows[0].cron", "windows[0].duration", "windows[0].time_zone", "windows[2].cron"] {
        ensure!(refusal.contains(field), "{field} is missing: {refusal}");
    }
    ensure!(!refusal.contains("windows[1]"), "{refusal}");
    eventually("nothing to be held", || async {
        let project = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
        ensure!(project["project"]["holds"].is_null(), "{}", project["project"]["holds"]);
        Ok(())
    })
    .await
}

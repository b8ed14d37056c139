//! Order between projects.

use anyhow::{Result, ensure};
use brain_tests::{
    wait::eventually,
    world::{World, text},
};
use serde_json::json;

#[tokio::test]
async fn a_deployment_waits_for_the_version_of_another_project_and_then_goes_on() -> Result<()> {
    let mut world = World::start().await?;
    let other = world.git.repository("auth").await?;
    world.registry.push("flowcommerce/auth", "1.2.0", "auth").await?;
    let mut auth = world.definition();
    auth["name"] = json!("projects/auth");
    auth["source"]["gitUrl"] = json!(other.url);
    auth["imageRepository"] = json!("flowcommerce/auth");
    auth["target"]["hostPort"] = json!(6042);
    let mut project = world.definition();
    project["dependsOn"] = json!([{"project": "projects/auth", "version": "1.2.0"}]);
    let early = world.create(project.clone()).await.expect_err("there is no projects/auth yet").to_string();
    assert!(early.contains("InvalidArgument") && early.contains("project.depends_on[0].project"), "{early}");
    world.create(auth).await?;
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    let waiting = world.deploy("flowcommerce/user:0.0.4").await?;
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let sentence = text(&board["projects"][1]["sentences"][0]["text"]);
    assert_eq!(sentence, "flowcommerce/user:0.0.4 deploy waits for projects/auth to run 1.2.0 or newer");
    let first = eventually("the image of auth", || world.deploy("flowcommerce/auth:1.2.0")).await?;
    // It waits over a restart of the server too.
    world.server.kill().await?;
    world.server.restart().await?;
    eventually("auth to shift", || async {
        let deployment = world.deployment(&first).await?;
        ensure!(deployment["phase"] != "DEPLOYMENT_PHASE_PENDING", "{deployment}");
        Ok(())
    })
    .await?;
    let still = world.deployment(&waiting).await?;
    let awaits = json!(["projects/auth to run 1.2.0 or newer"]);
    assert_eq!((&still["phase"], &still["awaits"]), (&json!("DEPLOYMENT_PHASE_PENDING"), &awaits));
    world.succeeded(&first).await?;
    world.succeeded(&waiting).await?;
    Ok(())
}

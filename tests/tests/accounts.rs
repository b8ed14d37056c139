//! Accounts that differ: a role to take, and launch configurations where those are used.

use anyhow::Result;
use brain_tests::world::World;
use serde_json::json;

#[tokio::test]
async fn a_project_of_another_account_is_deployed_with_its_role_and_launch_configurations() -> Result<()> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["roleArn"] = json!("arn:aws:iam::123456789012:role/brain");
    project["target"]["launchKind"] = json!("LAUNCH_KIND_CONFIGURATION");
    world.first_deployment_of(project).await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    let calls = world.lab.record().await?["calls"].clone();
    assert!(calls["AssumeRole"].as_u64() >= Some(1), "{calls}");
    assert_eq!(calls["GetCallerIdentity"], 1, "whether the limits are the deployer's own is asked once");
    assert_eq!(calls["CreateLaunchConfiguration"], 1, "one is made, and used again by the next deployment");
    assert!(calls["CreateLaunchTemplate"].is_null(), "{calls}");
    world.unharmed().await
}

//! How many AWS calls a deployment makes, at the pace that brain has by itself.

use anyhow::{Result, ensure};
use brain_tests::world::World;
use std::collections::BTreeMap;

/// Calls by name since the record was emptied.
async fn calls(world: &World) -> Result<BTreeMap<String, u64>> {
    let calls = world.lab.record().await?["calls"].as_object().cloned().unwrap_or_default();
    Ok(calls.into_iter().filter_map(|(name, count)| Some((name, count.as_u64()?))).collect())
}

#[tokio::test]
async fn a_shift_of_three_instances_makes_few_calls() -> Result<()> {
    let world = World::start_at_ease().await?;
    world.first_deployment().await?;
    let mut most = Vec::new();
    for tag in ["0.0.5", "0.0.6"] {
        if tag != "0.0.5" {
            world.user.tag(tag).await?;
        }
        world.registry.push("flowcommerce/user", tag, tag).await?;
        world.image_known(tag).await?;
        world.lab.reset_record().await?;
        let shift = world.deploy(&format!("flowcommerce/user:{tag}")).await?;
        world.succeeded(&shift).await?;
        let calls = calls(&world).await?;
        let total: u64 = calls.values().sum();
        println!("{tag}: {total}: {calls:?}");
        most.push((total, calls));
        world.unharmed().await?;
    }
    // A machine that is busy makes waits longer than the last ones, and each costs a look or two more.
    for ((total, calls), most) in most.into_iter().zip([60, 60]) {
        ensure!(total <= most, "{total} calls: {calls:?}");
        let acts: u64 = calls
            .iter()
            .filter(|(name, _)| !name.starts_with("Describe") && !name.starts_with("List"))
            .map(|(_, count)| count)
            .sum();
        ensure!(acts == 11, "one act for each change: {calls:?}");
    }
    Ok(())
}

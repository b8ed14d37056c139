//! The story: a tag reaches production through every real layer, seen through grpcurl and `buf curl`.

use anyhow::{Result, ensure};
use brain_tests::{wait::eventually, world::World};
use serde_json::{Value, json};

/// The fewest healthy tasks behind a load balancer in the lab's own record, from the first sample that has `floor` on.
fn fewest_healthy(record: &Value, floor: u64) -> u64 {
    let samples = record["samples"].as_array().cloned().unwrap_or_default();
    let totals = samples.iter().filter_map(|sample| sample["elbs"]["user-ecs-lb"]["in_service_total"].as_u64());
    totals.skip_while(|total| *total < floor).min().unwrap_or(0)
}

#[tokio::test]
async fn a_tag_reaches_production() -> Result<()> {
    let world = World::start().await?;
    world.create_project().await?;
    let head = world.user.head().await?;
    let expected_head = format!("0.0.5-{}", &head[..8]);

    // Knowledge: releases, head and the board's sentences.
    eventually("releases and head as in the seed", || async {
        let (lines, head) = world.releases().await?;
        let expected = ["0.0.5 <not yet available>", "0.0.4 flowcommerce/user:0.0.4"];
        ensure!(lines == expected && head == expected_head, "{lines:?}, head {head}");
        Ok(())
    })
    .await?;
    let project = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    assert_eq!(project["project"]["head"]["commitsAhead"], 1, "the branch is one commit ahead");
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let sentences: Vec<&str> = board["projects"][0]["sentences"]
        .as_array()
        .map(|sentences| sentences.iter().filter_map(|sentence| sentence["text"].as_str()).collect())
        .unwrap_or_default();
    assert!(sentences.contains(&"flowcommerce/user has commits on master that are not yet tagged"), "{sentences:?}");
    assert!(sentences.contains(&"flowcommerce/user:0.0.5 waiting on docker image"), "{sentences:?}");

    // The first deployment: set-up, three healthy tasks.
    let refused = world.deploy("flowcommerce/user:0.0.5").await.expect_err("0.0.5 has no image yet").to_string();
    assert!(refused.contains("FailedPrecondition") && refused.contains("flowcommerce/user:0.0.5"), "{refused}");
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    let second = world.deploy("flowcommerce/user:0.0.4").await.expect_err("one is in progress").to_string();
    assert!(second.contains("FailedPrecondition") && second.contains(&first), "{second}");
    world.succeeded(&first).await?;
    world.runs("0.0.4: 100%").await?;
    let set_up = world.lab.fingerprint().await?;
    assert_eq!(set_up["groups"]["user-ecs-asg"], json!({"desired": 3, "actual": 3}));
    assert_eq!(set_up["task_definitions"]["user-ecs-task"]["active"], 1);

    // The second one: the image is pushed, appears, and traffic shifts one, two, three of three.
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    world.lab.reset_record().await?;
    let mut watch =
        world.caller().watch("ProductionService/WatchProduction", &json!({"name": "projects/user/production"}))?;
    let now = watch.next().await?;
    assert_eq!(now.map(|now| now["production"]["summary"].clone()), Some(json!("0.0.4: 100%")));
    let shift = world.deploy("flowcommerce/user:0.0.5").await?;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|summary| summary != "0.0.5: 100%") {
        let message = tokio::time::timeout(brain_tests::wait::PATIENCE, watch.next()).await;
        let Ok(Ok(Some(message))) = message else {
            panic!("the watch ended after {seen:?}\n{}", world.agents.logs());
        };
        seen.push(brain_tests::world::text(&message["production"]["summary"]));
    }
    for stage in ["0.0.4: 67% 0.0.5: 33%", "0.0.4: 33% 0.0.5: 67%"] {
        assert!(seen.iter().any(|summary| summary == stage), "{stage:?} is not among {seen:?}");
    }
    world.succeeded(&shift).await?;

    // Asserted from the lab's own record: the floor, the end, and that nothing live was killed.
    let record = world.lab.record().await?;
    assert!(fewest_healthy(&record, 3) >= 3, "fewer than three healthy tasks: {}", record["samples"]);
    assert_eq!(record["live_tasks_killed"], json!([]));
    let draining_killed = record["events"]
        .as_array()
        .is_some_and(|events| events.iter().any(|event| event["kind"] == "draining_task_killed"));
    assert!(!draining_killed, "a task that still drained lost its host");
    let end = world.lab.fingerprint().await?;
    assert_eq!(end["groups"]["user-ecs-asg"], json!({"desired": 3, "actual": 3}));
    assert_eq!(end["clusters"]["user-ecs-cluster"], json!({"status": "ACTIVE", "instances": 3, "draining": 0}));
    let services = end["services"].as_object().cloned().unwrap_or_default();
    let running: Vec<(&str, u64)> = services
        .iter()
        .map(|(name, service)| {
            let version = if name.contains("0-0-5") { "0.0.5" } else { "0.0.4" };
            (version, service["running"].as_u64().unwrap_or(99) + service["desired"].as_u64().unwrap_or(99))
        })
        .collect();
    assert_eq!(running, [("0.0.4", 0), ("0.0.5", 6)], "{services:?}");
    Ok(())
}

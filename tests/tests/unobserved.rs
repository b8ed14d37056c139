//! Production that cannot be observed: it is told, and nothing is decided by what it was before.

use anyhow::{Result, ensure};
use brain_tests::{
    brain,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// The board's line of a project, and the sentence that says that its production is not observed.
async fn board(world: &World, project: &str) -> Result<(String, Option<String>)> {
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let projects = board["projects"].as_array().cloned().unwrap_or_default();
    let status = projects.into_iter().find(|status| status["project"] == project).unwrap_or_default();
    let sentences = status["sentences"].as_array().cloned().unwrap_or_default();
    let mut texts = sentences.iter().map(|sentence| text(&sentence["text"]));
    Ok((text(&status["production"]), texts.find(|text| text.contains("production not observed since"))))
}

/// Waits until the board says that a project's production is not observed, with `why` in it; answers both texts.
async fn lost(world: &World, project: &str, why: &str) -> Result<(String, String)> {
    eventually(&format!("the board to say {why:?}"), || async {
        let (line, sentence) = board(world, project).await?;
        match sentence {
            Some(sentence) if sentence.contains(why) => Ok((line, sentence)),
            other => Err(anyhow::anyhow!("{line}: {other:?}")),
        }
    })
    .await
}

async fn seen(world: &World, project: &str, line: &str) -> Result<()> {
    eventually("production to be observed again", || async {
        let now = board(world, project).await?;
        ensure!(now == (line.to_owned(), None), "{now:?}");
        Ok(())
    })
    .await
}

async fn production(world: &World) -> Result<Value> {
    let request = json!({"name": "projects/user/production"});
    Ok(world.caller().buf("ProductionService/GetProduction", &request).await?["production"].clone())
}

/// A project that needs `user` to run, on a port of its own.
async fn dependent(world: &World) -> Result<()> {
    let other = world.git.repository("web").await?;
    world.registry.push("flowcommerce/web", "1.0.0", "web").await?;
    let mut web = world.definition();
    web["name"] = json!("projects/web");
    web["source"]["gitUrl"] = json!(other.url);
    web["imageRepository"] = json!("flowcommerce/web");
    web["target"]["hostPort"] = json!(6042);
    web["dependsOn"] = json!([{"project": "projects/user"}]);
    world.create(web).await.map(drop)
}

#[tokio::test]
async fn production_that_aws_does_not_show_is_told_as_last_observed_and_lets_nothing_begin() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    dependent(&world).await?;
    seen(&world, "projects/user", "0.0.4: 100%").await?;
    ensure!(production(&world).await?["seenTime"].is_string(), "when it was seen is told");
    world.lab.faults(json!({"action": "DescribeClusters", "fault": "denied"})).await?;
    let (line, sentence) = lost(&world, "projects/user", "AccessDeniedException").await?;
    ensure!(line.starts_with("0.0.4: 100% when last observed, before "), "{line}");
    ensure!(
        sentence.contains("DescribeClusters") && sentence.contains("give the deployer's credentials"),
        "{sentence}"
    );
    let shown = production(&world).await?;
    ensure!(text(&shown["unobserved"]["reason"]).contains("AccessDeniedException"), "{shown}");
    ensure!(text(&shown["summary"]).contains("when last observed") && shown["seenTime"].is_string(), "{shown}");
    let project = world.caller().buf("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    let since = &project["project"]["productionUnobserved"]["startTime"];
    ensure!(*since == shown["unobserved"]["startTime"] && since.is_string(), "{project}");

    // It is known over a restart of the server, from its first answer on.
    world.server.kill().await?;
    world.server.restart().await?;
    ensure!(board(&world, "projects/user").await? == (line, Some(sentence)));
    let waiting = eventually("the image of web", || world.deploy("flowcommerce/web:1.0.0")).await?;
    let why = "projects/user to run; production of projects/user not observed since";
    eventually("the deployment to tell why it waits", || async {
        let deployment = world.deployment(&waiting).await?;
        ensure!(text(&deployment["headline"]).starts_with(&format!("waiting for {why}")), "{}", deployment["headline"]);
        Ok(())
    })
    .await?;
    ensure!(world.deployment(&waiting).await?["phase"] == "DEPLOYMENT_PHASE_PENDING");
    world.lab.heal().await?;
    seen(&world, "projects/user", "0.0.4: 100%").await?;
    world.succeeded(&waiting).await.map(drop)
}

#[tokio::test]
async fn production_of_a_project_whose_deployer_is_gone_is_told_as_last_observed() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    seen(&world, "projects/user", "0.0.4: 100%").await?;
    world.deployer.kill().await?;
    lost(&world, "projects/user", "no deployer is connected").await?;
    // Meanwhile somebody takes a task away: what is shown next is what is there.
    world.lab.boto3("ecs = boto3.client('ecs'); c = 'user-ecs-cluster'; [ecs.update_service(cluster=c, service=s, desiredCount=2) for s in ecs.list_services(cluster=c)['serviceArns']]").await?;
    world.deployer = brain::deployer(&world.agents, "deployer-1", &world.server.address(), &world.lab.endpoint())?;
    seen(&world, "projects/user", "0.0.4: 100%").await?;
    eventually("the two tasks", || async {
        let shown = production(&world).await?;
        ensure!(shown["versions"][0]["desired"] == 2 && shown["unobserved"].is_null(), "{shown}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn production_behind_a_role_that_cannot_be_taken_is_told_with_what_sts_says() -> Result<()> {
    let world = World::start().await?;
    world.lab.faults(json!({"action": "AssumeRole", "fault": "denied"})).await?;
    let mut project = world.definition();
    project["target"]["roleArn"] = json!("arn:aws:iam::123456789012:role/brain");
    world.create(project).await?;
    let (line, sentence) = lost(&world, "projects/user", "the role cannot be taken").await?;
    ensure!(line.is_empty() && sentence.contains("AccessDenied") && sentence.contains("sts:AssumeRole"), "{sentence}");
    world.lab.heal().await?;
    seen(&world, "projects/user", "").await
}

//! Steering: what people do to a deployment while it runs, seen through grpcurl and in the lab.

use anyhow::{Result, ensure};
use brain_tests::{
    trigger::Following,
    wait::eventually,
    world::{World, text},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Uses a control; answers the deployment after it.
async fn control(world: &World, method: &str, name: &str, more: Value) -> Result<Value> {
    let mut request = json!({"name": name, "requestedBy": "ann", "reason": "to look"});
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        request[field] = value;
    }
    let answer = world.caller().grpcurl(&format!("DeploymentService/{method}"), &request).await?;
    Ok(answer["deployment"].clone())
}

async fn paused(world: &World, name: &str) -> Result<Value> {
    eventually("the deployment to be paused", || async {
        let deployment = world.deployment(name).await?;
        ensure!(deployment["pause"].is_object(), "{}", deployment["headline"]);
        Ok(deployment)
    })
    .await
}

/// A world in which 0.0.4 runs under a policy.
async fn world_with(policy: Value) -> Result<World> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["rolloutPolicy"] = policy;
    world.first_deployment_of(project).await?;
    Ok(world)
}

/// Desired counts of project `user`'s services.
async fn desired(world: &World) -> Result<Vec<(String, Value)>> {
    let services = world.lab.fingerprint().await?["services"].as_object().cloned().unwrap_or_default();
    let ours = services.into_iter().filter(|(name, _)| name.contains("user-ecs"));
    Ok(ours.map(|(name, service)| (name, service["desired"].clone())).collect())
}

#[tokio::test]
async fn a_canary_bakes_holds_and_goes_on_when_promoted() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 33, "bake": "1s", "hold": true}]})).await?;
    let shift = world.begin_shift().await?;
    let held = paused(&world, &shift).await?;
    assert_eq!(held["pause"]["pausedBy"], "rollout policy");
    world.runs("0.0.4: 67% 0.0.5: 33%").await?;
    let steps = held["steps"].as_array().cloned().unwrap_or_default();
    let bake = steps.iter().find(|step| text(&step["description"]).starts_with("watch user-ecs-service-0-0-5"));
    assert!(bake.is_some_and(|bake| bake["endTime"].is_string()), "the bake is over: {steps:?}");
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let sentence = text(&board["projects"][0]["sentences"][0]["text"]);
    assert!(sentence.starts_with("flowcommerce/user:0.0.5 deploy is paused by rollout policy"), "{sentence}");
    let this_step = json!({"step": held["step"]});
    control(&world, "PromoteDeployment", &shift, this_step.clone()).await?;
    control(&world, "PromoteDeployment", &shift, this_step).await?;
    let deployment = world.succeeded(&shift).await?;
    let controls = deployment["controls"].as_array().cloned().unwrap_or_default();
    assert_eq!(controls.len(), 1, "the repeated request changed nothing: {controls:?}");
    assert_eq!(controls[0]["what"], "promote");
    assert_eq!((&controls[0]["requestedBy"], &controls[0]["reason"]), (&json!("ann"), &json!("to look")));
    world.unharmed().await
}

#[tokio::test]
async fn a_canary_whose_tasks_begin_to_crash_while_it_is_held_is_rolled_back() -> Result<()> {
    let mut world = world_with(json!({"steps": [{"percent": 33, "hold": true}]})).await?;
    let shift = world.begin_shift().await?;
    paused(&world, &shift).await?;
    // Whoever watched it dies; the next one does.
    world.replace_deployer().await?;
    world.lab.settings(json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 50}]})).await?;
    world.stop_tasks_of("0-0-5").await?;
    let ended = world.ended(&shift).await?;
    assert_eq!(ended["phase"], "DEPLOYMENT_PHASE_FAILED", "{ended}");
    let reason = text(&ended["reason"]);
    ensure!(reason.contains("tasks of user-ecs-service-0-0-5") && reason.contains("exit code 1"), "{reason}");
    let failures = ended["taskFailures"].as_array().cloned().unwrap_or_default();
    ensure!(failures.iter().filter(|failure| failure["exitCode"] == 1).count() >= 3, "{failures:?}");
    ensure!(ended["failureCause"] == "FAILURE_CAUSE_VERSION" && ended["pause"].is_null(), "{ended}");
    world.runs("0.0.4: 100%").await
}

#[tokio::test]
async fn a_hold_says_what_is_not_well_and_waits_on_until_somebody_decides() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 33, "hold": true}]})).await?;
    let shift = world.begin_shift().await?;
    paused(&world, &shift).await?;
    let slow = json!({"match": "0-0-5", "behaviour": "slow", "delay_ms": 600_000});
    world.lab.settings(json!({"behaviours": [slow]})).await?;
    world.stop_tasks_of("0-0-5").await?;
    let held = eventually("the hold to say what is missing", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(text(&deployment["waiting"]).starts_with("0 of 1 tasks healthy"), "{}", deployment["waiting"]);
        Ok(deployment)
    })
    .await?;
    assert_eq!((&held["pause"]["pausedBy"], held["stepDeadlineTime"].is_null()), (&json!("rollout policy"), true));
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let sentence = &board["projects"][0]["sentences"][0];
    let said = text(&sentence["text"]);
    assert!(said.contains("deploy is paused by rollout policy") && said.contains("; 0 of 1 tasks healthy"), "{said}");
    assert_eq!(sentence["waitsFor"], "somebody to promote, resume or cancel it");
    // It is well again, and nothing is missing any more.
    world.lab.settings(json!({"behaviours": []})).await?;
    world.stop_tasks_of("0-0-5").await?;
    eventually("the hold to be well", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(text(&deployment["waiting"]).is_empty() && deployment["endTime"].is_null(), "{deployment}");
        Ok(())
    })
    .await?;
    control(&world, "PromoteDeployment", &shift, json!({})).await?;
    world.succeeded(&shift).await.map(drop)
}

#[tokio::test]
async fn a_bake_begins_again_when_a_task_of_the_new_version_is_lost() -> Result<()> {
    // Long beside what a machine that is busy takes to start the script that loses the task.
    const BAKE: SignedDuration = SignedDuration::from_secs(12);
    let world = world_with(json!({"steps": [{"percent": 33, "bake": format!("{}s", BAKE.as_secs())}]})).await?;
    let shift = world.begin_shift().await?;
    let bake = |deployment: &Value| {
        let steps = deployment["steps"].as_array().cloned().unwrap_or_default();
        steps.into_iter().find(|step| text(&step["description"]).starts_with("watch ")).unwrap_or_default()
    };
    eventually("the bake to begin", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(bake(&deployment)["startTime"].is_string(), "{}", deployment["headline"]);
        Ok(())
    })
    .await?;
    let lost = Timestamp::now();
    world.stop_tasks_of("0-0-5").await?;
    let deployment = world.succeeded(&shift).await?;
    let end: Timestamp = text(&bake(&deployment)["endTime"]).parse()?;
    let after = end.duration_since(lost);
    ensure!(after >= BAKE, "the bake ended {after:#} after a task was lost");
    Ok(())
}

#[tokio::test]
async fn nothing_is_done_to_a_paused_deployment_until_it_is_resumed() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    Following::begin(&world.server.address(), &shift).await?.steps_done(10).await?;
    let paused = control(&world, "PauseDeployment", &shift, json!({})).await?;
    assert_eq!((&paused["pause"]["pausedBy"], &paused["pause"]["reason"]), (&json!("ann"), &json!("to look")));
    let again = control(&world, "PauseDeployment", &shift, json!({})).await?;
    assert_eq!(again["controls"].as_array().map(Vec::len), Some(1));
    // A call that was under way is finished; from the next process on, the counts stand still.
    world.replace_deployer().await?;
    let before = desired(&world).await?;
    // The deployer is free for others meanwhile: it brings another project into production.
    let other = world.git.repository("other").await?;
    world.registry.push("flowcommerce/other", "0.1.0", "other").await?;
    let mut project = world.definition();
    project["name"] = json!("projects/other");
    project["source"]["gitUrl"] = json!(other.url);
    project["imageRepository"] = json!("flowcommerce/other");
    project["target"]["hostPort"] = json!(6042);
    world.create(project).await?;
    let name = eventually("an image of the other project", || world.deploy("flowcommerce/other:0.1.0")).await?;
    world.succeeded(&name).await?;
    let still = world.deployment(&shift).await?;
    assert_eq!(still["step"], paused["step"]);
    assert_eq!(desired(&world).await?, before);
    let resumed = control(&world, "ResumeDeployment", &shift, json!({})).await?;
    assert!(resumed["pause"].is_null());
    world.succeeded(&shift).await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_deployment_cancelled_with_a_rollback_brings_the_old_version_back() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let before = world.lab.fingerprint().await?;
    let shift = world.begin_shift().await?;
    Following::begin(&world.server.address(), &shift).await?.steps_done(14).await?;
    control(&world, "CancelDeployment", &shift, json!({"rollback": true})).await?;
    control(&world, "CancelDeployment", &shift, json!({"rollback": true})).await?;
    let ended = world.ended(&shift).await?;
    assert_eq!(ended["phase"], "DEPLOYMENT_PHASE_CANCELLED");
    assert_eq!(ended["reason"], "cancelled by ann: to look");
    control(&world, "CancelDeployment", &shift, json!({"rollback": true})).await?;
    let late = control(&world, "PauseDeployment", &shift, json!({})).await.expect_err("it is over").to_string();
    assert!(late.contains("FailedPrecondition") && late.contains("DEPLOYMENT_ENDED"), "{late}");
    world.runs("0.0.4: 100%").await?;
    assert_eq!(world.lab.fingerprint().await?["groups"], before["groups"]);
    world.unharmed().await
}

#[tokio::test]
async fn a_deployment_cancelled_as_it_stands_is_left_so_and_a_rollback_goes_on_from_there() -> Result<()> {
    let world = world_with(json!({"steps": [{"count": 1, "hold": true}]})).await?;
    // Tasks of 0.0.5 are made of this; what is left of 0.0.4 was not, and comes back as it was.
    let changed = json!({"name": "projects/user", "target": {"environment": {"MODE": "new"}}});
    let request = json!({"project": changed, "updateMask": {"paths": ["target.environment"]}});
    world.caller().grpcurl("ProjectService/UpdateProject", &request).await?;
    let shift = world.begin_shift().await?;
    paused(&world, &shift).await?;
    control(&world, "CancelDeployment", &shift, json!({})).await?;
    let ended = world.ended(&shift).await?;
    assert_eq!(ended["phase"], "DEPLOYMENT_PHASE_CANCELLED");
    world.runs("0.0.4: 67% 0.0.5: 33%").await?;
    let request = json!({"parent": "projects/user", "version": "0.0.4", "requestId": "back", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    let name = text(&back["deployment"]["name"]);
    assert_eq!(name, "projects/user/deployments/3");
    let repeated = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    assert_eq!(repeated["deployment"]["name"], json!(name));
    world.succeeded(&name).await?;
    world.runs("0.0.4: 100%").await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_rollback_that_cancelled_a_deployment_goes_back_no_further_when_its_request_is_repeated() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    world.image_known("0.0.6").await?;
    let next = world.deploy("flowcommerce/user:0.0.6").await?;
    Following::begin(&world.server.address(), &next).await?.steps_done(9).await?;
    let request = json!({"parent": "projects/user", "requestId": "back", "requestedBy": "ann"});
    let roll_back = || async { world.caller().grpcurl("DeploymentService/RollbackProject", &request).await };
    assert_eq!(roll_back().await?["deployment"]["name"], json!(next));
    world.ended(&next).await?;
    let repeated = roll_back().await?;
    assert_eq!(repeated["deployment"]["name"], json!(next), "0.0.4 would be one release more");
    world.runs("0.0.5: 100%").await
}

#[tokio::test]
async fn a_project_goes_back_to_the_release_before_and_refuses_when_there_is_none() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let request = json!({"parent": "projects/user", "requestedBy": "ann", "reason": "0.0.5 leaks"});
    let none = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await;
    let none = none.expect_err("only one release was deployed").to_string();
    assert!(none.contains("FailedPrecondition") && none.contains("NOTHING_TO_GO_BACK_TO"), "{none}");
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    assert_eq!(back["deployment"]["version"], "0.0.4");
    assert_eq!(back["deployment"]["requestReason"], "0.0.5 leaks");
    let events = world.caller().grpcurl("EventService/ListEvents", &json!({"project": "projects/user"})).await?;
    let asked = events["events"].as_array().into_iter().flatten();
    let asked = asked.filter(|event| text(&event["text"]).contains("was asked for, to bring it back"));
    let why: Vec<(String, String)> = asked.map(|event| (text(&event["causedBy"]), text(&event["reason"]))).collect();
    assert_eq!(why, [("ann".to_owned(), "0.0.5 leaks".to_owned())]);
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    world.runs("0.0.4: 100%").await?;
    world.unharmed().await
}

#[tokio::test]
async fn what_comes_back_comes_back_as_it_served_whatever_the_definition_says_now() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let change = json!({
        "project": {"name": "projects/user", "target": {"memoryMib": 384}},
        "updateMask": {"paths": ["target.memory_mib"]},
        "requestedBy": "ann",
    });
    world.caller().grpcurl("ProjectService/UpdateProject", &change).await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    let request = json!({"parent": "projects/user", "requestedBy": "ann", "reason": "384 MiB are too little"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    // 0.0.5 has the second revision, and a third one would be of today's definition.
    let is_first = "e = boto3.client('ecs'); c = 'user-ecs-cluster'; \
                    [s] = [s for s in e.list_services(cluster=c)['serviceArns'] if '0-0-4' in s]; \
                    d = e.describe_services(cluster=c, services=[s])['services'][0]['taskDefinition']; \
                    assert d.endswith(':1'), d";
    world.lab.boto3(is_first).await?;
    world.unharmed().await
}

#[tokio::test]
async fn where_the_policy_says_so_a_failed_step_waits_for_a_person() -> Result<()> {
    let world = world_with(json!({"onFailure": "ON_FAILURE_PAUSE"})).await?;
    world.lab.settings(json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 50}]})).await?;
    let shift = world.begin_shift().await?;
    let held = paused(&world, &shift).await?;
    assert!(text(&held["pause"]["reason"]).contains("exit code 1"), "{}", held["pause"]);
    control(&world, "CancelDeployment", &shift, json!({"rollback": true})).await?;
    let ended = world.ended(&shift).await?;
    assert_eq!(ended["phase"], "DEPLOYMENT_PHASE_CANCELLED");
    world.runs("0.0.4: 100%").await?;
    world.unharmed().await
}

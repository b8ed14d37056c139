//! Faults: whatever is killed or fails, the deployment reaches its end, and AWS holds what an uninterrupted run leaves.

use anyhow::{Result, ensure};
use brain_tests::{
    planned::planned,
    trigger::Following,
    wait::eventually,
    world::{World, drift, text},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What an uninterrupted run of both deployments leaves in AWS.
async fn uninterrupted() -> Result<Value> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    world.lab.fingerprint().await
}

/// Follows a deployment and kills the deployer whenever a step was done.
async fn kill_after_each_step(world: &mut World, name: &str) -> Result<usize> {
    let mut following = Following::begin(&world.server.address(), name).await?;
    let (mut next, mut kills) = (1, 0);
    while let Some(done) = following.steps_done(next).await? {
        world.replace_deployer().await?;
        kills += 1;
        next = done + 1;
    }
    Ok(kills)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployer_killed_after_each_step_leaves_what_an_uninterrupted_run_leaves() -> Result<()> {
    let expected = tokio::spawn(uninterrupted());
    let mut world = World::start().await?;
    world.create_project().await?;
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    let kills = kill_after_each_step(&mut world, &first).await?;
    ensure!(kills >= 8, "only {kills} kills in the first deployment");
    world.succeeded(&first).await?;
    let shift = world.begin_shift().await?;
    let kills = kill_after_each_step(&mut world, &shift).await?;
    ensure!(kills >= 16, "only {kills} kills in the shift");
    world.succeeded(&shift).await?;
    world.unharmed().await?;
    assert_eq!(world.lab.fingerprint().await?, expected.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployer_that_freezes_loses_its_lease_and_does_not_act_when_it_wakes() -> Result<()> {
    let expected = tokio::spawn(uninterrupted());
    let world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    let mut following = Following::begin(&world.server.address(), &shift).await?;
    following.steps_done(10).await?;
    world.deployer.signal("STOP").await?;
    let _second =
        brain_tests::brain::deployer(&world.agents, "deployer-2", &world.server.address(), &world.lab.endpoint())?;
    eventually("the other deployer to take it over", || async {
        let deployer = world.deployment(&shift).await?["deployer"].clone();
        ensure!(deployer == "deployer-2", "{deployer}");
        Ok(())
    })
    .await?;
    world.deployer.signal("CONT").await?;
    let deployment = world.succeeded(&shift).await?;
    let generation: u64 = text(&deployment["generation"]).parse()?;
    assert!(generation >= 2, "it was handed out anew: generation {generation}");
    world.unharmed().await?;
    assert_eq!(world.lab.fingerprint().await?, expected.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_mid_shift_completes_it() -> Result<()> {
    let expected = tokio::spawn(uninterrupted());
    let mut world = World::start().await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    for steps in [10, 15, 20] {
        let mut following = Following::begin(&world.server.address(), &shift).await?;
        if following.steps_done(steps).await?.is_some() {
            world.server.kill().await?;
            world.server.restart().await?;
        }
    }
    let deployment = world.succeeded(&shift).await?;
    let generation: u64 = text(&deployment["generation"]).parse()?;
    assert!(generation >= 3, "each server handed it out anew: generation {generation}");
    world.unharmed().await?;
    assert_eq!(world.lab.fingerprint().await?, expected.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_that_throttles_errs_and_stalls_is_waited_out_and_nothing_is_doubled() -> Result<()> {
    let expected = tokio::spawn(uninterrupted());
    let world = World::start().await?;
    let after_effect = [
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "CreateLoadBalancer",
        "ConfigureHealthCheck",
        "ModifyLoadBalancerAttributes",
        "CreateLaunchTemplate",
        "CreateAutoScalingGroup",
        "SuspendProcesses",
        "CreateCluster",
        "RegisterTaskDefinition",
        "CreateService",
        "SetDesiredCapacity",
        "UpdateService",
        "UpdateContainerInstancesState",
        "TerminateInstanceInAutoScalingGroup",
    ];
    let mut rules: Vec<Value> = Vec::new();
    for action in after_effect {
        rules.push(json!({"action": action, "fault": "error_after_effect", "count": 1}));
        rules.push(json!({"action": action, "fault": "reset_after_effect", "count": 1}));
        rules.push(json!({"action": action, "fault": "throttle", "count": 1}));
    }
    rules.push(json!({"action": "*", "fault": "error500", "probability": 0.1, "seed": 7, "count": 40}));
    rules.push(json!({"action": "*", "fault": "throttle", "probability": 0.1, "seed": 8, "count": 40}));
    rules.push(json!({"action": "*", "fault": "reset", "probability": 0.05, "seed": 9, "count": 20}));
    rules.push(json!({"action": "*", "fault": "slow", "delay_ms": 200, "probability": 0.1, "seed": 10, "count": 40}));
    world.lab.faults(Value::Array(rules)).await?;
    world.first_deployment().await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    let record = world.lab.record().await?;
    let faulted: u64 =
        record["faulted"].as_object().map(|calls| calls.values().filter_map(Value::as_u64).sum()).unwrap_or_default();
    assert!(faulted > 50, "only {faulted} calls were faulted");
    world.unharmed().await?;
    assert_eq!(world.lab.fingerprint().await?, expected.await??);
    Ok(())
}

/// Deploys a 0.0.5 that behaves badly; answers the failed deployment.
async fn bad_version(behaviour: Value) -> Result<Value> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let before = world.lab.fingerprint().await?;
    world.lab.settings(json!({"behaviours": [behaviour]})).await?;
    let name = world.begin_shift().await?;
    let deployment = world.ended(&name).await?;
    assert_eq!(deployment["phase"], "DEPLOYMENT_PHASE_FAILED", "{deployment}");
    world.unharmed().await?;
    let after = world.lab.fingerprint().await?;
    assert_eq!(after["groups"], before["groups"]);
    for (name, service) in after["services"].as_object().cloned().unwrap_or_default() {
        let expected = if name.contains("0-0-5") { 0 } else { 3 };
        assert_eq!((&service["desired"], &service["running"]), (&json!(expected), &json!(expected)), "{name}");
    }
    world.runs("0.0.4: 100%").await?;
    Ok(deployment)
}

#[tokio::test]
async fn a_version_that_crashes_is_rolled_back_with_its_exit_code() -> Result<()> {
    let deployment = bad_version(json!({"match": "0-0-5", "behaviour": "crash", "delay_ms": 50})).await?;
    assert!(text(&deployment["reason"]).contains("exit code 1"), "{}", deployment["reason"]);
    assert_eq!(deployment["taskFailures"][0]["exitCode"], 1);
    let events = deployment["serviceEvents"].as_array().cloned().unwrap_or_default();
    assert!(events.iter().any(|event| text(&event["message"]).contains("has started 1 tasks")), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_version_that_never_becomes_healthy_is_rolled_back_with_the_load_balancers_words() -> Result<()> {
    let deployment = bad_version(json!({"match": "0-0-5", "behaviour": "unhealthy"})).await?;
    assert!(text(&deployment["reason"]).contains("ELB health checks"), "{}", deployment["reason"]);
    Ok(())
}

/// A world in which tasks have so long to become healthy, with a 0.0.5 that takes 2 s until it answers. The lab ends a sick task
/// after 0.8 s, and a second of its grace period lasts 10 ms there.
async fn slow_starter(grace_period: &str) -> Result<World> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["healthCheckGracePeriod"] = json!(grace_period);
    world.first_deployment_of(project).await?;
    let slow = json!({"match": "0-0-5", "behaviour": "warms_up", "delay_ms": 2_000});
    world.lab.settings(json!({"behaviours": [slow]})).await?;
    Ok(world)
}

#[tokio::test]
async fn a_version_that_starts_slowly_arrives_within_its_grace_period() -> Result<()> {
    let world = slow_starter("300s").await?;
    let name = world.begin_shift().await?;
    let deployment = world.succeeded(&name).await?;
    assert_eq!(deployment["taskFailures"], json!([]), "none of its tasks was ended");
    world.runs("0.0.5: 100%").await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_version_that_had_no_time_to_start_arrives_once_its_project_gives_it_some() -> Result<()> {
    let world = slow_starter("0s").await?;
    let name = world.begin_shift().await?;
    let failed = world.ended(&name).await?;
    ensure!(text(&failed["reason"]).contains("ELB health checks"), "{}", failed["reason"]);
    let project = json!({"name": "projects/user", "target": {"healthCheckGracePeriod": "300s"}});
    let update = json!({"project": project, "updateMask": {"paths": ["target.health_check_grace_period"]}});
    world.caller().grpcurl("ProjectService/UpdateProject", &update).await?;
    let release = json!({"name": "projects/user/releases/0.0.5"});
    world.caller().grpcurl("ProjectService/LiftQuarantine", &release).await?;
    // Its service is still there, and is taken up again.
    let answer = planned(&world, &json!({"image": "flowcommerce/user:0.0.5"})).await?;
    ensure!(answer.to_string().contains("seconds of health check grace: 0 → 300"), "{answer}");
    let again = world.deploy("flowcommerce/user:0.0.5").await?;
    world.succeeded(&again).await?;
    world.runs("0.0.5: 100%").await?;
    world.unharmed().await
}

#[tokio::test]
async fn a_version_whose_image_cannot_be_pulled_is_rolled_back() -> Result<()> {
    let deployment = bad_version(json!({"match": "0-0-5", "behaviour": "cannot_pull"})).await?;
    assert!(text(&deployment["reason"]).contains("CannotPullContainerError"), "{}", deployment["reason"]);
    Ok(())
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_rolled_back_with_what_it_waited_for() -> Result<()> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["rolloutPolicy"] = json!({"stepTimeout": "12s"});
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    world.succeeded(&first).await?;
    let slow = json!({"match": "0-0-5", "behaviour": "slow", "delay_ms": 600_000});
    world.lab.settings(json!({"behaviours": [slow]})).await?;
    let name = world.begin_shift().await?;
    let deployment = world.ended(&name).await?;
    assert_eq!(deployment["phase"], "DEPLOYMENT_PHASE_FAILED");
    let reason = text(&deployment["reason"]);
    assert!(reason.contains("took longer than 12 s") && reason.contains("0 of 1 tasks healthy"), "{reason}");
    world.unharmed().await
}

/// The version that runs is sick from now on: its tasks end soon after they have begun, and so do those that ECS starts anew.
async fn sicken_the_running_version(world: &World, behaviours: Value) -> Result<()> {
    world.lab.settings(json!({ "behaviours": behaviours })).await?;
    let stop_all = "e = boto3.client('ecs'); c = 'user-ecs-cluster'; \
                    [e.stop_task(cluster=c, task=t) for t in e.list_tasks(cluster=c)['taskArns']]";
    world.lab.boto3(stop_all).await?;
    eventually("the running version to be sick", || async {
        let production = world.production().await?;
        ensure!(!production.contains("100%"), "{production}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_fix_takes_the_place_of_a_version_that_is_sick_by_itself() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    sicken_the_running_version(&world, json!([{"match": "0-0-4", "behaviour": "crash", "delay_ms": 50}])).await?;
    let fix = world.begin_shift().await?;
    world.succeeded(&fix).await?;
    world.runs("0.0.5: 100%").await
}

#[tokio::test]
async fn a_bad_version_is_taken_back_though_the_one_before_is_sick_too() -> Result<()> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["rolloutPolicy"] = json!({"steps": [{"percent": 33, "hold": true}], "stepTimeout": "30s"});
    world.first_deployment_of(project).await?;
    let name = world.begin_shift().await?;
    eventually("it to wait at a third", || async {
        let deployment = world.deployment(&name).await?;
        ensure!(deployment["pause"]["pausedBy"] == "rollout policy", "{deployment}");
        Ok(())
    })
    .await?;
    let behaviours = json!([
        {"match": "0-0-4", "behaviour": "unhealthy"},
        {"match": "0-0-5", "behaviour": "crash", "delay_ms": 50},
    ]);
    sicken_the_running_version(&world, behaviours).await?;
    let deployment = world.ended(&name).await?;
    assert_eq!(deployment["phase"], "DEPLOYMENT_PHASE_FAILED", "{deployment}");
    let reason = text(&deployment["reason"]);
    assert!(reason.contains("exit code 1") && reason.contains("not all of it is healthy"), "{reason}");
    for (name, service) in world.lab.fingerprint().await?["services"].as_object().cloned().unwrap_or_default() {
        assert_eq!(service["desired"], if name.contains("0-0-5") { 0 } else { 3 }, "{name}");
    }
    Ok(())
}

/// Deploys a project that differs from the story's; answers why the first deployment failed.
async fn refused(world: &World, project: Value) -> Result<String> {
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    let name = world.deploy("flowcommerce/user:0.0.4").await?;
    let deployment = world.ended(&name).await?;
    assert_eq!(deployment["phase"], "DEPLOYMENT_PHASE_FAILED");
    Ok(text(&deployment["reason"]))
}

#[tokio::test]
async fn a_task_that_fits_no_instance_is_refused_with_the_arithmetic() -> Result<()> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["memoryMib"] = json!(20_000);
    let before = world.lab.fingerprint().await?;
    let reason = refused(&world, project).await?;
    assert!(reason.contains("a task that needs 20000 MiB") && reason.contains("t3.small offers 2048 MiB"), "{reason}");
    assert_eq!(world.lab.fingerprint().await?, before, "nothing was touched");
    Ok(())
}

#[tokio::test]
async fn a_deployment_without_room_is_refused_with_every_reason_before_anything_is_touched() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    // Somebody's own service holds the port of an instance that is there for the shift, and the group may not grow.
    world
        .lab
        .boto3(
            "a = boto3.client('autoscaling'); \
             a.set_desired_capacity(AutoScalingGroupName='user-ecs-asg', DesiredCapacity=4)",
        )
        .await?;
    eventually("the fourth instance to join", || async {
        let cluster = world.lab.fingerprint().await?["clusters"]["user-ecs-cluster"].clone();
        ensure!(cluster["instances"] == 4, "{cluster}");
        Ok(())
    })
    .await?;
    world
        .lab
        .boto3(
            "e = boto3.client('ecs'); \
             e.register_task_definition(family='agent', containerDefinitions=[dict(name='agent', image='agent:1', memory=64, \
             portMappings=[dict(hostPort=6041, containerPort=6041)])]); \
             e.create_service(cluster='user-ecs-cluster', serviceName='agent', taskDefinition='agent', desiredCount=1)",
        )
        .await?;
    eventually("the agent to run", || async {
        let services = world.lab.fingerprint().await?["services"].clone();
        ensure!(services["user-ecs-cluster/agent"]["running"] == 1, "{services}");
        Ok(())
    })
    .await?;
    let before = world.lab.fingerprint().await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let words = "of the 4 of user-ecs-asg only 3 can take one: instance i-";
    let planned = eventually("a deployer's answer to the plan", || async {
        let request = json!({"image": "flowcommerce/user:0.0.5"});
        let answer = world.caller().grpcurl("DeploymentService/PlanDeployment", &request).await?;
        ensure!(answer["steps"].is_array(), "{}", answer["note"]);
        Ok(text(&answer["steps"][0]["fault"]))
    });
    let planned = planned.await?;
    ensure!(planned.contains(words), "{planned}");
    let name = world.deploy("flowcommerce/user:0.0.5").await?;
    let deployment = world.ended(&name).await?;
    let reason = text(&deployment["reason"]);
    ensure!(reason.contains(words) && reason.contains("has port 6041 in use by task"), "{reason}");
    ensure!(reason.contains("of service agent: stop that"), "{reason}");
    assert_eq!(world.lab.fingerprint().await?, before, "nothing was touched");
    let holds = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    ensure!(!holds.to_string().contains("uarantine"), "the image is not at fault: {holds}");
    world
        .lab
        .boto3("boto3.client('ecs').update_service(cluster='user-ecs-cluster', service='agent', desiredCount=0)")
        .await?;
    eventually("the agent to be gone", || async {
        let services = world.lab.fingerprint().await?["services"].clone();
        ensure!(services["user-ecs-cluster/agent"]["running"] == 0, "{services}");
        Ok(())
    })
    .await?;
    let again = world.deploy("flowcommerce/user:0.0.5").await?;
    world.succeeded(&again).await?;
    world.unharmed().await
}

#[tokio::test]
async fn an_instance_that_never_joins_its_cluster_is_replaced_and_the_shift_goes_on() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    // Somebody's growth of the group has left one whose agent never came up.
    world.lab.stillborn(1, Duration::from_mins(10)).await?;
    world
        .lab
        .boto3(
            "a = boto3.client('autoscaling'); \
             a.set_desired_capacity(AutoScalingGroupName='user-ecs-asg', DesiredCapacity=4)",
        )
        .await?;
    eventually("the fourth instance to run", || async {
        let record = world.lab.record().await?;
        let events = record["events"].as_array().cloned().unwrap_or_default();
        let launched = events.iter().filter(|event| event["kind"] == "host_launched").count();
        ensure!(launched == 4, "{launched} were launched");
        Ok(())
    })
    .await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    let calls = world.lab.record().await?["calls"].clone();
    assert_eq!(calls["TerminateInstanceInAutoScalingGroup"], 2, "one was replaced, and one given back: {calls}");
    let after = world.lab.fingerprint().await?;
    assert_eq!(after["groups"]["user-ecs-asg"], json!({"desired": 3, "actual": 3}));
    assert_eq!(after["clusters"]["user-ecs-cluster"]["instances"], 3);
    world.unharmed().await
}

#[tokio::test]
async fn a_service_that_somebody_deleted_does_not_hold_the_next_version_up() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    world
        .lab
        .boto3(
            "e, c = boto3.client('ecs'), 'user-ecs-cluster'; \
             [e.delete_service(cluster=c, service=s, force=True) for s in e.list_services(cluster=c)['serviceArns']]",
        )
        .await?;
    let next = world.begin_shift().await?;
    let deployment = world.succeeded(&next).await?;
    let told = drift(&deployment);
    let gone = |told: &String| told.starts_with("told service user-ecs-service-0-0-4-") && told.contains("deleted");
    assert!(told.iter().any(gone), "{told:?}");
    world.runs("0.0.5: 100%").await
}

#[tokio::test]
async fn a_resource_that_is_not_brains_is_left_alone_and_named() -> Result<()> {
    let world = World::start().await?;
    world
        .lab
        .boto3("boto3.client('ec2').create_security_group(GroupName='user-ecs-sg', Description='somebody else\\'s')")
        .await?;
    let before = world.lab.fingerprint().await?["security_groups"].clone();
    let reason = refused(&world, world.definition()).await?;
    assert!(reason.contains("security group user-ecs-sg exists and is not tagged brain:project=user"), "{reason}");
    assert_eq!(world.lab.fingerprint().await?["security_groups"], before);
    Ok(())
}

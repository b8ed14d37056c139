//! An application load balancer: requests are weighted exactly, whatever the number of tasks.

use anyhow::{Result, ensure};
use brain_tests::{
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// A world in which 0.0.4 runs behind an application load balancer, under a policy.
async fn world_with(policy: Value) -> Result<World> {
    let world = World::start().await?;
    let mut project = world.definition();
    project["target"]["loadBalancerKind"] = json!("LOAD_BALANCER_KIND_APPLICATION");
    project["rolloutPolicy"] = policy;
    world.first_deployment_of(project).await?;
    Ok(world)
}

/// A line of Python that finds the listener `l`.
const RULES: &str = "c = boto3.client('elbv2'); b = c.describe_load_balancers(Names=['user-ecs-lb'])['LoadBalancers'][0]; \
    l = c.describe_listeners(LoadBalancerArn=b['LoadBalancerArn'])['Listeners'][0]['ListenerArn']";

/// Waits until production shows these versions with their shares and the weights that AWS tells.
async fn shows(world: &World, expected: &[(&str, u64, u64)]) -> Result<()> {
    eventually(&format!("production to be {expected:?}"), || async {
        let request = json!({"name": "projects/user/production"});
        let shown = world.caller().buf("ProductionService/GetProduction", &request).await?["production"].clone();
        let versions = shown["versions"].as_array().cloned().unwrap_or_default();
        let figure = |version: &Value, field: &str| version[field].as_u64().unwrap_or(0);
        let now: Vec<(String, u64, u64)> = versions
            .iter()
            .map(|version| {
                let (share, weight) = (figure(version, "sharePercent"), figure(version, "targetGroupWeight"));
                (text(&version["version"]), share, weight)
            })
            .collect();
        let expected: Vec<(String, u64, u64)> =
            expected.iter().map(|(version, share, weight)| ((*version).to_owned(), *share, *weight)).collect();
        ensure!(now == expected, "{shown}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_of_ten_percent_sends_a_tenth_of_the_requests_and_the_rest_follows_when_promoted() -> Result<()> {
    let mut world = world_with(json!({"steps": [{"percent": 10, "hold": true}]})).await?;
    shows(&world, &[("0.0.4", 100, 100)]).await?;
    let shift = world.begin_shift().await?;
    eventually("the deployment to be paused", || async {
        let deployment = world.deployment(&shift).await?;
        ensure!(deployment["pause"].is_object(), "{}, {}", deployment["headline"], deployment["waiting"]);
        Ok(())
    })
    .await?;
    shows(&world, &[("0.0.4", 90, 90), ("0.0.5", 10, 10)]).await?;
    // Somebody has a rule of their own on the listener, and another process goes on.
    world.lab.boto3(&format!("{RULES}; c.create_rule(ListenerArn=l, Priority=7, Conditions=[{{'Field': 'path-pattern', 'Values': ['/admin/*']}}], Actions=[{{'Type': 'fixed-response', 'FixedResponseConfig': {{'StatusCode': '403'}}}}])")).await?;
    world.replace_deployer().await?;
    let request = json!({"name": shift, "toEnd": true, "requestedBy": "ann"});
    world.caller().grpcurl("DeploymentService/PromoteDeployment", &request).await?;
    world.succeeded(&shift).await?;
    shows(&world, &[("0.0.5", 100, 100)]).await?;
    let theirs = "r = [r for r in c.describe_rules(ListenerArn=l)['Rules'] if r['Priority'] == '7'][0]";
    let unchanged = "assert r['Actions'][0]['FixedResponseConfig']['StatusCode'] == '403', r";
    world.lab.boto3(&format!("{RULES}; {theirs}; {unchanged}")).await
}

#[tokio::test]
async fn a_version_that_crashes_is_taken_back_and_the_old_one_has_all_requests() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 10, "bake": "60s"}]})).await?;
    let settings = json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 3000}]});
    world.lab.settings(settings).await?;
    let shift = world.begin_shift().await?;
    let ended = world.ended(&shift).await?;
    ensure!(ended["phase"] == "DEPLOYMENT_PHASE_FAILED", "{}: {}", ended["phase"], ended["reason"]);
    shows(&world, &[("0.0.4", 100, 100)]).await
}

#[tokio::test]
async fn a_version_that_has_to_change_its_group_is_moved_there_before_it_gets_a_task() -> Result<()> {
    let world = world_with(json!({"preset": "ROLLOUT_PRESET_BLUE_GREEN"})).await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    world.user.tag("0.0.6").await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    world.image_known("0.0.6").await?;
    let next = world.deploy("flowcommerce/user:0.0.6").await?;
    world.succeeded(&next).await?;
    shows(&world, &[("0.0.6", 100, 100)]).await?;
    // 0.0.4 and 0.0.6 were in the same group.
    let request = json!({"parent": "projects/user", "version": "0.0.4", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    world.succeeded(&text(&back["deployment"]["name"])).await?;
    shows(&world, &[("0.0.4", 100, 100)]).await
}

#[tokio::test]
async fn weights_that_somebody_sets_are_told_and_set_again_by_the_next_deployment() -> Result<()> {
    let world = world_with(json!({})).await?;
    let groups =
        "g = {g['TargetGroupName'][-1]: g['TargetGroupArn'] for g in c.describe_target_groups()['TargetGroups']}";
    let rule = "r = [r for r in c.describe_rules(ListenerArn=l)['Rules'] if r['Priority'] != 'default'][0]['RuleArn']";
    let set = "c.modify_rule(RuleArn=r, Actions=[{'Type': 'forward', 'ForwardConfig': {'TargetGroups': [\
        {'TargetGroupArn': g['a'], 'Weight': 1}, {'TargetGroupArn': g['b'], 'Weight': 1}]}}])";
    world.lab.boto3(&format!("{RULES}; {groups}; {rule}; {set}")).await?;
    let shift = world.begin_shift().await?;
    let deployment = world.succeeded(&shift).await?;
    ensure!(deployment["drift"].to_string().contains("weights"), "{}", deployment["drift"]);
    shows(&world, &[("0.0.5", 100, 100)]).await
}

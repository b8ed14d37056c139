//! An application load balancer: requests are weighted exactly, whatever the number of tasks.

use anyhow::{Result, ensure};
use brain_tests::{
    planned::{Calls, made_calls, planned, planned_calls},
    wait::eventually,
    world::{World, drift, tells, text},
};
use serde_json::{Value, json};

/// Project `user` behind an application load balancer, under a policy.
fn behind_one(world: &World, policy: Value) -> Value {
    let mut project = world.definition();
    project["target"]["loadBalancerKind"] = json!("LOAD_BALANCER_KIND_APPLICATION");
    project["rolloutPolicy"] = policy;
    project
}

/// A world in which 0.0.4 runs behind an application load balancer, under a policy.
async fn world_with(policy: Value) -> Result<World> {
    let world = World::start().await?;
    world.first_deployment_of(behind_one(&world, policy)).await?;
    Ok(world)
}

/// A line of Python that finds the listener `l`.
const RULES: &str = "c = boto3.client('elbv2'); b = c.describe_load_balancers(Names=['user-ecs-lb'])['LoadBalancers'][0]; \
    l = c.describe_listeners(LoadBalancerArn=b['LoadBalancerArn'])['Listeners'][0]['ListenerArn']";

/// After those, the rule `r` that is brain's, by its ARN, and the target groups `g` by their letters.
const OURS: &str = "r = [r for r in c.describe_rules(ListenerArn=l)['Rules'] if r['Priority'] == '50000'][0]['RuleArn']; \
    g = {g['TargetGroupName'][-1]: g['TargetGroupArn'] for g in c.describe_target_groups()['TargetGroups']}";

/// Somebody lets brain's rule take a part of the requests only, and send them to one group.
const RULE_CHANGED: &str = "c.modify_rule(RuleArn=r, Conditions=[{'Field': 'path-pattern', 'Values': ['/only/*']}], \
    Actions=[{'Type': 'forward', 'TargetGroupArn': g['b']}])";

/// Runs lines of Python that know the rule and the groups.
async fn somebody(world: &World, lines: &str) -> Result<()> {
    world.lab.boto3(&format!("{RULES}; {OURS}; {lines}")).await
}

/// Waits until a deployment waits for a person.
async fn paused(world: &World, name: &str) -> Result<()> {
    eventually("the deployment to be paused", || async {
        let deployment = world.deployment(name).await?;
        ensure!(deployment["pause"].is_object(), "{}, {}", deployment["headline"], deployment["waiting"]);
        Ok(())
    })
    .await
}

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
    paused(&world, &shift).await?;
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
    let set = "c.modify_rule(RuleArn=r, Actions=[{'Type': 'forward', 'ForwardConfig': {'TargetGroups': [\
        {'TargetGroupArn': g['a'], 'Weight': 1}, {'TargetGroupArn': g['b'], 'Weight': 1}]}}])";
    somebody(&world, set).await?;
    let shift = world.begin_shift().await?;
    let deployment = world.succeeded(&shift).await?;
    ensure!(deployment["drift"].to_string().contains("weights"), "{}", deployment["drift"]);
    shows(&world, &[("0.0.5", 100, 100)]).await
}

#[tokio::test]
async fn other_health_checks_and_another_port_are_told_and_left_until_a_deployment_is_asked_to_repair_them()
-> Result<()> {
    let world = world_with(json!({})).await?;
    let check = "c.modify_target_group(TargetGroupArn=g['b'], HealthCheckPath='/other', Matcher={'HttpCode': '200'})";
    let port = "c.modify_listener(ListenerArn=l, Port=8081)";
    somebody(&world, &format!("{check}; {port}")).await?;
    let check = "target group user-ecs-tg-b: health check: HTTP /other answered by 200 → HTTP / answered by 200-499";
    let port = "listener of user-ecs-lb: port: 8081 → 80";

    world.lab.reset_record().await?;
    let shift = world.begin_shift().await?;
    let shift = world.succeeded(&shift).await?;
    assert_eq!(drift(&shift), [format!("told {check}"), format!("told {port}")]);
    let made = made_calls(&world).await?;
    let mending = ["ModifyTargetGroup", "ModifyListener"];
    assert!(mending.iter().all(|call| !made.contains_key(*call)), "{made:?}");

    world.lab.reset_record().await?;
    let repair = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"repairDrift": true})).await?;
    let repair = world.succeeded(&repair).await?;
    assert_eq!(drift(&repair), [format!("repaired {check}"), format!("repaired {port}")]);
    let made = made_calls(&world).await?;
    assert!(mending.iter().all(|call| made.get(*call) == Some(&1)), "{made:?}");
    shows(&world, &[("0.0.4", 100, 100)]).await
}

#[tokio::test]
async fn what_somebody_has_opened_is_told_and_closed_only_by_a_deployment_that_is_asked_to() -> Result<()> {
    let world = world_with(json!({})).await?;
    let opened = "e = boto3.client('ec2'); \
        w = e.create_security_group(GroupName='wide-open', Description='by hand', VpcId=b['VpcId'])['GroupId']; \
        c.set_security_groups(LoadBalancerArn=b['LoadBalancerArn'], SecurityGroups=[w]); \
        c.create_listener(LoadBalancerArn=b['LoadBalancerArn'], Protocol='HTTP', Port=8080, DefaultActions=[\
            {'Type': 'fixed-response', 'FixedResponseConfig': {'StatusCode': '403'}}])";
    somebody(&world, opened).await?;
    let expected = [
        "load balancer user-ecs-lb: security group: none → sg-",
        "load balancer user-ecs-lb: security group sg-",
        "load balancer user-ecs-lb: listener 8080: not in the definition",
    ];
    let closing = ["SetSecurityGroups", "DeleteListener"];

    world.lab.reset_record().await?;
    let shift = world.begin_shift().await?;
    let told = drift(&world.succeeded(&shift).await?);
    ensure!(tells(&told, "told", &expected), "{told:#?}");
    let made = made_calls(&world).await?;
    ensure!(closing.iter().all(|call| !made.contains_key(*call)), "{made:?}");

    let plan = planned(&world, &json!({"image": "flowcommerce/user:0.0.4", "repairDrift": true})).await?;
    let calls = planned_calls(&plan);
    ensure!(closing.iter().all(|call| calls.get(*call) == Some(&1)), "{calls:?}");
    world.lab.reset_record().await?;
    let repair = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"repairDrift": true})).await?;
    let repaired = drift(&world.succeeded(&repair).await?);
    ensure!(tells(&repaired, "repaired", &expected), "{repaired:#?}");
    let made = made_calls(&world).await?;
    ensure!(closing.iter().all(|call| made.get(*call) == Some(&1)), "{made:?}");
    shows(&world, &[("0.0.4", 100, 100)]).await
}

#[tokio::test]
async fn a_load_balancer_that_is_not_brains_is_adopted_on_request_with_its_group_and_its_rule() -> Result<()> {
    let world = World::start().await?;
    world.create(behind_one(&world, json!({}))).await?;
    world.image_known("0.0.4").await?;
    let make = "c = boto3.client('elbv2'); e = boto3.client('ec2'); v = e.describe_vpcs()['Vpcs'][0]['VpcId']; \
        s = [s['SubnetId'] for s in e.describe_subnets()['Subnets'][:2]]; \
        c.create_load_balancer(Name='user-ecs-lb', Subnets=s); \
        c.create_target_group(Name='user-ecs-tg-a', Protocol='HTTP', Port=6041, VpcId=v)";
    world.lab.boto3(make).await?;
    let refused = world.deploy("flowcommerce/user:0.0.4").await?;
    let reason = text(&world.ended(&refused).await?["reason"]);
    assert!(reason.contains("load balancer user-ecs-lb") && reason.contains("deploy with adopt"), "{reason}");
    world.lab.reset_record().await?;
    let adopted = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"adopt": true})).await?;
    let adopted = drift(&world.succeeded(&adopted).await?);
    for resource in ["load balancer user-ecs-lb", "target group user-ecs-tg-a"] {
        let line = format!("adopted {resource}: brain:project: none → user");
        assert!(adopted.contains(&line), "{line}: {adopted:?}");
    }
    assert_eq!(made_calls(&world).await?.get("AddTags"), Some(&2));

    somebody(&world, "c.remove_tags(ResourceArns=[r], TagKeys=['brain:project'])").await?;
    let refused = world.begin_shift().await?;
    let reason = text(&world.ended(&refused).await?["reason"]);
    assert!(reason.contains("rule of user-ecs-lb") && reason.contains("deploy with adopt"), "{reason}");
    let adopted = world.deploy_allowing("flowcommerce/user:0.0.5", json!({"adopt": true})).await?;
    let adopted = drift(&world.succeeded(&adopted).await?);
    assert_eq!(adopted, ["adopted rule of user-ecs-lb: brain:project: none → user"]);
    shows(&world, &[("0.0.5", 100, 100)]).await
}

#[tokio::test]
async fn a_dry_run_lists_the_calls_that_the_deployment_then_makes() -> Result<()> {
    let world = World::start().await?;
    world.create(behind_one(&world, json!({"steps": [{"percent": 10}, {"percent": 34}]}))).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    for (version, call) in [("0.0.4", "CreateRule"), ("0.0.5", "ModifyRule")] {
        world.image_known(version).await?;
        world.lab.reset_record().await?;
        let image = format!("flowcommerce/user:{version}");
        let answer = planned(&world, &json!({"image": image})).await?;
        assert_eq!(made_calls(&world).await?, Calls::new(), "a dry run changes nothing");
        assert!(planned_calls(&answer).contains_key(call), "{}", answer["steps"]);
        let deployment = world.deploy(&image).await?;
        world.succeeded(&deployment).await?;
        assert_eq!(planned_calls(&answer), made_calls(&world).await?, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_rule_that_somebody_changes_meanwhile_stops_a_deployment_and_not_its_way_back() -> Result<()> {
    let world = world_with(json!({"steps": [{"percent": 10, "hold": true}]})).await?;
    let shift = world.begin_shift().await?;
    paused(&world, &shift).await?;
    somebody(&world, RULE_CHANGED).await?;
    let request = json!({"name": shift, "toEnd": true, "requestedBy": "ann"});
    world.caller().grpcurl("DeploymentService/PromoteDeployment", &request).await?;
    let ended = world.ended(&shift).await?;
    let reason = text(&ended["reason"]);
    assert!(reason.contains("does not forward every request") && reason.contains("repair_drift"), "{reason}");
    let repaired =
        "repaired rule of user-ecs-lb: forwards: not every request to user-ecs-tg-b → to user-ecs-tg-a, user-ecs-tg-b";
    assert_eq!(drift(&ended), [repaired]);
    shows(&world, &[("0.0.4", 100, 100)]).await
}

#[tokio::test]
async fn a_deployment_that_goes_back_sets_a_rule_that_stops_others() -> Result<()> {
    let world = world_with(json!({"preset": "ROLLOUT_PRESET_BLUE_GREEN"})).await?;
    let shift = world.begin_shift().await?;
    world.succeeded(&shift).await?;
    somebody(&world, RULE_CHANGED).await?;
    let refused = world.deploy("flowcommerce/user:0.0.4").await?;
    let reason = text(&world.ended(&refused).await?["reason"]);
    assert!(reason.contains("not every request") && reason.contains("deploy with repair_drift"), "{reason}");
    let request = json!({"parent": "projects/user", "version": "0.0.4", "requestedBy": "ann"});
    let back = world.caller().grpcurl("DeploymentService/RollbackProject", &request).await?;
    let back = world.succeeded(&text(&back["deployment"]["name"])).await?;
    assert!(drift(&back).iter().any(|line| line.starts_with("repaired rule of user-ecs-lb")), "{:?}", drift(&back));
    shows(&world, &[("0.0.4", 100, 100)]).await
}

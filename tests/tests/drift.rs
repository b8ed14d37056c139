//! Drift and adoption: what differs is told and left until a person asks for the repair, and what is not brain's is taken
//! only when a person asks for that.

use anyhow::{Result, ensure};
use brain_tests::{
    planned::{made_calls, planned},
    wait::eventually,
    world::{World, drift, tells, text},
};
use serde_json::{Value, json};

const LB_OFF: &str = "boto3.client('elb').modify_load_balancer_attributes(LoadBalancerName='user-ecs-lb', \
    LoadBalancerAttributes=dict(CrossZoneLoadBalancing=dict(Enabled=False)))";
const MAX_LOWER: &str =
    "boto3.client('autoscaling').update_auto_scaling_group(AutoScalingGroupName='user-ecs-asg', MaxSize=4)";

async fn project(world: &World) -> Result<Value> {
    let answer = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    Ok(answer["project"].clone())
}

async fn sentences(world: &World) -> Result<Vec<String>> {
    let board = world.caller().grpcurl("BoardService/GetBoard", &json!({})).await?;
    let sentences = board["projects"][0]["sentences"].as_array().cloned().unwrap_or_default();
    Ok(sentences
        .iter()
        .map(|sentence| format!("{} | {}", text(&sentence["text"]), text(&sentence["waitsFor"])))
        .collect())
}

async fn lift_quarantine(world: &World) -> Result<()> {
    let request = json!({"name": "projects/user/releases/0.0.4", "requestedBy": "ann"});
    world.caller().grpcurl("ProjectService/LiftQuarantine", &request).await.map(drop)
}

async fn calls(world: &World, name: &str) -> Result<u64> {
    Ok(world.lab.record().await?["calls"][name].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn drift_is_told_and_left_until_a_deployment_is_asked_to_repair_it() -> Result<()> {
    let world = World::start().await?;
    let mut definition = world.definition();
    definition["target"]["maxInstances"] = json!(5);
    let first = world.first_deployment_of(definition).await?;
    assert_eq!(drift(&first), [""; 0], "a set-up that is made for the first time has no drift");
    world.lab.boto3(LB_OFF).await?;
    world.lab.boto3(MAX_LOWER).await?;

    world.lab.reset_record().await?;
    let shift = world.begin_shift().await?;
    let shift = world.succeeded(&shift).await?;
    let balancing = "load balancer user-ecs-lb: cross-zone balancing: off → on";
    let maximum = "auto-scaling group user-ecs-asg: maximum: 4 → 5";
    assert_eq!(drift(&shift), [format!("told {balancing}"), format!("told {maximum}")]);
    assert_eq!(
        (calls(&world, "ModifyLoadBalancerAttributes").await?, calls(&world, "UpdateAutoScalingGroup").await?),
        (0, 0)
    );
    let known = project(&world).await?;
    assert_eq!(drift(&known), drift(&shift));
    assert!(known["drift"][0]["findTime"].is_string(), "{known}");
    let said = sentences(&world).await?;
    let expected = format!("flowcommerce/user: drift of the {balancing} | a deployment that repairs drift");
    assert!(said.contains(&expected), "{said:?}");

    let request = json!({"image": "flowcommerce/user:0.0.4", "repairDrift": true});
    let plan = world.caller().grpcurl("DeploymentService/PlanDeployment", &request).await?;
    assert_eq!(plan["steps"][2]["calls"][0]["call"], "ModifyLoadBalancerAttributes", "{}", plan["steps"]);
    assert_eq!(drift(&plan["steps"][2]), [format!("repaired {balancing}")]);
    let repair = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"repairDrift": true})).await?;
    let repair = world.succeeded(&repair).await?;
    assert_eq!(drift(&repair), [format!("repaired {balancing}"), format!("repaired {maximum}")]);
    assert_eq!(
        (calls(&world, "ModifyLoadBalancerAttributes").await?, calls(&world, "UpdateAutoScalingGroup").await?),
        (1, 1)
    );
    assert_eq!(drift(&project(&world).await?), [""; 0]);
    Ok(())
}

/// Somebody opens what was closed, and adds a listener, in the console.
const OPENED: &str = "e = boto3.client('ec2'); l = boto3.client('elb'); \
    g = [g for g in e.describe_security_groups()['SecurityGroups'] if g['GroupName'] == 'user-ecs-sg'][0]; \
    e.authorize_security_group_ingress(GroupId=g['GroupId'], IpPermissions=[\
        dict(IpProtocol='tcp', FromPort=22, ToPort=22, IpRanges=[dict(CidrIp='0.0.0.0/0', Description='for now')]), \
        dict(IpProtocol='tcp', FromPort=22, ToPort=22, Ipv6Ranges=[dict(CidrIpv6='::/0')])]); \
    w = e.create_security_group(GroupName='wide-open', Description='by hand', VpcId=g['VpcId'])['GroupId']; \
    l.apply_security_groups_to_load_balancer(LoadBalancerName='user-ecs-lb', SecurityGroups=[g['GroupId'], w]); \
    l.create_load_balancer_listeners(LoadBalancerName='user-ecs-lb', Listeners=[\
        dict(Protocol='TCP', LoadBalancerPort=2222, InstancePort=22)]); \
    l.modify_load_balancer_attributes(LoadBalancerName='user-ecs-lb', \
        LoadBalancerAttributes=dict(ConnectionDraining=dict(Enabled=True, Timeout=300))); \
    boto3.client('autoscaling').update_auto_scaling_group(AutoScalingGroupName='user-ecs-asg', HealthCheckType='ELB')";

/// The calls that close it again, with the places of their steps in the plan.
const CLOSING: [(&str, usize); 5] = [
    ("RevokeSecurityGroupIngress", 1),
    ("ModifyLoadBalancerAttributes", 2),
    ("ApplySecurityGroupsToLoadBalancer", 2),
    ("DeleteLoadBalancerListeners", 2),
    ("UpdateAutoScalingGroup", 4),
];

#[tokio::test]
async fn what_somebody_has_opened_is_told_and_closed_only_by_a_deployment_that_is_asked_to() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let closed = world.lab.fingerprint().await?;
    world.lab.boto3(OPENED).await?;
    world.lab.reset_record().await?;
    let shift = world.begin_shift().await?;
    let told = drift(&world.succeeded(&shift).await?);
    let expected = [
        "security group user-ecs-sg: rule tcp 22 from 0.0.0.0/0: not in the definition",
        "security group user-ecs-sg: rule tcp 22 from ::/0: not in the definition",
        "load balancer user-ecs-lb: seconds of draining: 300 → 30",
        "load balancer user-ecs-lb: security group sg-",
        "load balancer user-ecs-lb: listener 2222 to 22: not in the definition",
        "auto-scaling group user-ecs-asg: health check: ELB → EC2",
    ];
    ensure!(tells(&told, "told", &expected), "{told:#?}");
    let made = made_calls(&world).await?;
    ensure!(CLOSING.iter().all(|(call, _)| !made.contains_key(*call)), "{made:?}");

    let plan = planned(&world, &json!({"image": "flowcommerce/user:0.0.4", "repairDrift": true})).await?;
    for (call, step) in CLOSING {
        let calls = plan["steps"][step]["calls"].as_array().cloned().unwrap_or_default();
        let found = calls.iter().find(|found| found["call"] == call);
        let differences = found.and_then(|found| found["differences"].as_array());
        ensure!(differences.is_some_and(|differences| !differences.is_empty()), "{call}: {calls:?}");
    }
    ensure!(plan["steps"][1]["calls"][0]["differences"].as_array().map(Vec::len) == Some(2), "{}", plan["steps"][1]);

    world.lab.reset_record().await?;
    let repair = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"repairDrift": true})).await?;
    let repaired = drift(&world.succeeded(&repair).await?);
    ensure!(tells(&repaired, "repaired", &expected), "{repaired:#?}");
    let made = made_calls(&world).await?;
    ensure!(CLOSING.iter().all(|(call, _)| made.get(*call) == Some(&1)), "{made:?}");
    let now = world.lab.fingerprint().await?;
    for (kind, name) in [("security_groups", "user-ecs-sg"), ("elbs", "user-ecs-lb")] {
        let field = if kind == "elbs" { "listeners" } else { "ingress" };
        assert_eq!(now[kind][name][field], closed[kind][name][field]);
    }
    ensure!(drift(&project(&world).await?).is_empty(), "{}", project(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_difference_that_makes_a_deployment_impossible_says_how_it_is_mended() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let lower = "boto3.client('autoscaling').update_auto_scaling_group(AutoScalingGroupName='user-ecs-asg', MaxSize=3)";
    world.lab.boto3(lower).await?;
    let shift = world.begin_shift().await?;
    let shift = world.ended(&shift).await?;
    let reason = text(&shift["reason"]);
    assert!(reason.contains("maximum of user-ecs-asg is 3: ") && reason.contains("repair_drift"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn a_resource_that_is_gone_is_made_again_by_any_deployment() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    world.lab.boto3("boto3.client('ec2').delete_launch_template(LaunchTemplateName='user-ecs-lt')").await?;
    let shift = world.begin_shift().await?;
    let shift = world.succeeded(&shift).await?;
    assert_eq!(drift(&shift).first().map(String::as_str), Some("made launch template user-ecs-lt: missing"));
    Ok(())
}

#[tokio::test]
async fn what_is_not_brains_is_adopted_on_request_and_what_is_another_projects_never() -> Result<()> {
    let world = World::start().await?;
    world.create_project().await?;
    world.image_known("0.0.4").await?;
    let make = "c = boto3.client('ec2'); vpc = c.describe_vpcs()['Vpcs'][0]['VpcId']; \
        c.create_security_group(GroupName='user-ecs-sg', Description='by hand', VpcId=vpc); \
        boto3.client('ecs').create_cluster(clusterName='user-ecs-cluster')";
    world.lab.boto3(make).await?;

    let refused = world.deploy("flowcommerce/user:0.0.4").await?;
    let refused = world.ended(&refused).await?;
    let reason = text(&refused["reason"]);
    assert!(reason.contains("security group user-ecs-sg") && reason.contains("deploy with adopt"), "{reason}");
    lift_quarantine(&world).await?;

    let another = "boto3.client('ecs').tag_resource(resourceArn=boto3.client('ecs').describe_clusters(clusters=['user-ecs-cluster'])\
        ['clusters'][0]['clusterArn'], tags=[dict(key='brain:project', value='VALUE')])";
    world.lab.boto3(&another.replace("VALUE", "auth")).await?;
    let refused = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"adopt": true})).await?;
    let refused = world.ended(&refused).await?;
    let reason = text(&refused["reason"]);
    assert!(reason.contains("brain:project=auth"), "{reason}");
    lift_quarantine(&world).await?;
    let free = "c = boto3.client('ecs'); arn = c.describe_clusters(clusters=['user-ecs-cluster'])['clusters'][0]['clusterArn']; \
        c.untag_resource(resourceArn=arn, tagKeys=['brain:project'])";
    world.lab.boto3(free).await?;

    let request = json!({"image": "flowcommerce/user:0.0.4", "adopt": true});
    let plan = world.caller().grpcurl("DeploymentService/PlanDeployment", &request).await?;
    assert_eq!(plan["steps"][5]["calls"][0]["call"], "TagResource", "{}", plan["steps"]);
    world.lab.reset_record().await?;
    let adopted = world.deploy_allowing("flowcommerce/user:0.0.4", json!({"adopt": true})).await?;
    let adopted = world.succeeded(&adopted).await?;
    let cluster = "adopted cluster user-ecs-cluster: brain:project: none → user";
    assert!(drift(&adopted).iter().any(|line| line == cluster), "{:?}", drift(&adopted));
    assert_eq!(calls(&world, "TagResource").await?, 1);
    eventually("production", || async {
        let production = world.production().await?;
        ensure!(production == "0.0.4: 100%", "{production:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_group_that_lost_its_load_balancer_gets_it_back_when_that_is_asked_for() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment().await?;
    let detach = "boto3.client('autoscaling').detach_load_balancers(AutoScalingGroupName='user-ecs-asg', \
                  LoadBalancerNames=['user-ecs-lb'])";
    world.lab.boto3(detach).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let request = json!({"image": "flowcommerce/user:0.0.5", "repairDrift": true});
    let plan = world.caller().grpcurl("DeploymentService/PlanDeployment", &request).await?;
    let steps = plan["steps"].as_array().cloned().unwrap_or_default();
    let calls: Vec<&Value> = steps.iter().flat_map(|step| step["calls"].as_array().into_iter().flatten()).collect();
    ensure!(calls.iter().any(|call| call["call"] == "AttachLoadBalancers"), "{calls:?}");
    let repair = world.deploy_allowing("flowcommerce/user:0.0.5", json!({"repairDrift": true})).await?;
    let repair = world.succeeded(&repair).await?;
    assert_eq!(drift(&repair), ["repaired auto-scaling group user-ecs-asg: load balancer: none → user-ecs-lb"]);
    eventually("all traffic on 0.0.5", || async {
        let production = world.production().await?;
        ensure!(production == "0.0.5: 100%", "{production}");
        Ok(())
    })
    .await
}

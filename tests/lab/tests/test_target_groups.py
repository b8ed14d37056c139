"""An ALB's target groups follow the tasks, and the weights of a rule are read back as they were set."""

import pytest
from conftest import wait_for


def forward(groups, *weights: int) -> list[dict]:
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": [
        {"TargetGroupArn": arn, "Weight": weight} for arn, weight in zip(groups, weights)]}}]


@pytest.fixture
def alb(lab):
    elbv2 = lab.client("elbv2")
    subnets = lab.ec2.describe_subnets()["Subnets"][:2]
    balancer = elbv2.create_load_balancer(Name="people-alb", Subnets=[s["SubnetId"] for s in subnets])["LoadBalancers"][0]
    groups = [elbv2.create_target_group(Name=f"web-tg-{letter}", Protocol="HTTP", Port=8080, VpcId=subnets[0]["VpcId"],
                                        TargetType="instance")["TargetGroups"][0]["TargetGroupArn"] for letter in "ab"]
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}])["Listeners"][0]["ListenerArn"]
    rule = elbv2.create_rule(ListenerArn=listener, Priority=10, Actions=forward(groups, 100, 0), Conditions=[
        {"Field": "path-pattern", "Values": ["/web/*"]}])["Rules"][0]["RuleArn"]
    yield elbv2, rule, groups
    elbv2.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    for arn in groups:
        elbv2.delete_target_group(TargetGroupArn=arn)


def behind(arn: str) -> list[dict]:
    return [{"targetGroupArn": arn, "containerName": "web", "containerPort": 80}]


def states(elbv2, arn: str) -> list[str]:
    found = elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return sorted(t["TargetHealth"]["State"] for t in found)


def start(lab, web, arn: str, version: str, desired: int) -> str:
    name = f"{web.name}-{version.replace('.', '-')}"
    lab.ecs.create_service(cluster=web.cluster, serviceName=name, desiredCount=desired, loadBalancers=behind(arn),
                           taskDefinition=web.define(version))
    return name


def test_targets_come_and_go_with_the_tasks(project, lab, alb):
    elbv2, _, (a, b) = alb
    web = project(hosts=2)
    web.wait_hosts(2)
    service = start(lab, web, a, "0.0.1", 2)
    wait_for(lambda: states(elbv2, a) == ["healthy"] * 2, "two healthy targets")
    assert states(elbv2, b) == []
    assert lab.call("GET", "fingerprint")["target_groups"]["web-tg-a"] == {"healthy": 2, "registered": 2}
    web.wait_event(service, f"registered 1 targets in (target-group {a})")
    web.scale(service, 0)
    wait_for(lambda: states(elbv2, a) == [], "no target")


def test_a_service_without_a_task_is_moved_to_another_group(project, lab, alb):
    elbv2, _, (a, b) = alb
    web = project(hosts=1)
    web.wait_hosts(1)
    service = start(lab, web, a, "0.0.3", 0)
    moved = lab.ecs.update_service(cluster=web.cluster, service=service, loadBalancers=behind(b))["service"]
    assert [balancer["targetGroupArn"] for balancer in moved["loadBalancers"]] == [b]
    with pytest.raises(lab.ecs.exceptions.InvalidParameterException, match="does not exist"):
        lab.ecs.update_service(cluster=web.cluster, service=service, loadBalancers=behind(b + "x"))
    web.scale(service, 1)
    wait_for(lambda: states(elbv2, b) == ["healthy"], "a healthy target in the other group")
    assert states(elbv2, a) == []
    web.scale(service, 0)


def test_a_sick_task_is_never_a_healthy_target_and_is_stopped(project, lab, alb):
    elbv2, _, (a, _) = alb
    web = project(hosts=1)
    web.wait_hosts(1)
    lab.settings(behaviours=[{"match": f"{web.name}:0.0.2", "behaviour": "unhealthy"}], elb_grace_ms=400)
    service = start(lab, web, a, "0.0.2", 1)
    wait_for(lambda: states(elbv2, a) == ["unhealthy"], "an unhealthy target")
    web.wait_event(service, f"is unhealthy in (target-group {a})")


def test_the_weights_of_a_rule_are_read_back_as_they_were_set(alb):
    elbv2, rule, (a, b) = alb
    for first, second in ((90, 10), (0, 100)):
        elbv2.modify_rule(RuleArn=rule, Actions=forward((a, b), first, second))
        read = elbv2.describe_rules(RuleArns=[rule])["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
        assert {g["TargetGroupArn"]: g["Weight"] for g in read} == {a: first, b: second}


def test_a_service_is_refused_a_target_group_that_no_rule_forwards_to(project, lab, alb):
    elbv2, _, _ = alb
    vpc = lab.ec2.describe_subnets()["Subnets"][0]["VpcId"]
    lone = elbv2.create_target_group(Name="lone-tg", Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0]["TargetGroupArn"]
    with pytest.raises(lab.ecs.exceptions.InvalidParameterException, match="does not have an associated load balancer"):
        start(lab, project(), lone, "0.0.1", 0)
    elbv2.delete_target_group(TargetGroupArn=lone)

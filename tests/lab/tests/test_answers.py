"""Answers as AWS gives them: errors, duplicates, pages, repeats."""

import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import cbor2
import pytest
from botocore.exceptions import ClientError


def code(call, **asked) -> str:
    with pytest.raises(ClientError) as caught:
        call(**asked)
    return caught.value.response["Error"]["Code"]


def test_describe_services_takes_at_most_ten(project, lab):
    web = project()
    assert code(lab.ecs.describe_services, cluster=web.cluster, services=[f"s{i}" for i in range(11)]) == "InvalidParameterException"
    failures = lab.ecs.describe_services(cluster=web.cluster, services=[f"s{i}" for i in range(10)])["failures"]
    assert {f["reason"] for f in failures} == {"MISSING"}


def test_list_services_pages_by_ten(project, lab):
    web = project()
    definition = web.define("0.0.1")
    made = {web.service(f"0.0.{i}", 0, definition) for i in range(12)}
    first = lab.ecs.list_services(cluster=web.cluster)
    assert len(first["serviceArns"]) == 10
    rest = lab.ecs.list_services(cluster=web.cluster, nextToken=first["nextToken"])
    assert "nextToken" not in rest
    assert {a.split("/")[-1] for a in first["serviceArns"] + rest["serviceArns"]} == made
    assert code(lab.ecs.list_services, cluster=web.cluster, maxResults=101) == "InvalidParameterException"


def test_list_tasks_is_by_service_and_by_desired_status_and_pages(project, lab):
    web = project(hosts=3)
    web.wait_hosts(3)
    one, two = web.service("0.0.1", 1), web.service("0.0.2", 2)
    web.wait_in_service(3)
    assert len(web.tasks(one)) == 1 and len(web.tasks(two)) == 2
    assert len(lab.ecs.list_tasks(cluster=web.cluster)["taskArns"]) == 3
    page = lab.ecs.list_tasks(cluster=web.cluster, serviceName=two, maxResults=1)
    assert len(page["taskArns"]) == 1 and page["nextToken"]
    host = web.tasks(one)[0]["containerInstanceArn"]
    assert lab.ecs.list_tasks(cluster=web.cluster, containerInstance=host)["taskArns"] == [web.tasks(one)[0]["taskArn"]]
    assert len(lab.ecs.list_tasks(cluster=web.cluster, family=f"{web.name}-task")["taskArns"]) == 3
    assert code(lab.ecs.list_tasks, cluster=web.cluster, serviceName="nobody") == "ServiceNotFoundException"


def test_creating_a_service_twice_is_idempotent_only_with_the_same_parameters(project, lab):
    web = project()
    definition = web.define("0.0.1")
    name = web.service("0.0.1", 0, definition, clientToken="t1")
    web.service("0.0.1", 0, definition, clientToken="t1")
    web.service("0.0.1", 0, definition, clientToken="t2")
    with pytest.raises(lab.ecs.exceptions.InvalidParameterException, match="Creation of service was not idempotent."):
        web.service("0.0.1", 2, definition, clientToken="t1")
    web.scale(name, 3)
    assert web.service("0.0.1", 0, definition, clientToken="t1") == name
    with pytest.raises(lab.ecs.exceptions.InvalidParameterException, match="not idempotent"):
        web.service("0.0.1", 0, definition, clientToken="t2")
    assert web.describe(name)["desiredCount"] == 3


def test_what_is_not_there_is_named_by_its_code(project, lab):
    web, ecs = project(), lab.ecs
    assert code(ecs.update_service, cluster=web.cluster, service="nobody", desiredCount=1) == "ServiceNotFoundException"
    assert code(ecs.delete_service, cluster=web.cluster, service="nobody") == "ServiceNotFoundException"
    assert code(ecs.describe_services, cluster="nobody", services=["x"]) == "ClusterNotFoundException"
    assert code(ecs.describe_task_definition, taskDefinition="nobody:1") == "ClientException"
    assert code(lab.elb.describe_instance_health, LoadBalancerName="nobody") == "LoadBalancerNotFound"
    assert code(lab.elb.describe_load_balancers, LoadBalancerNames=["nobody"]) == "LoadBalancerNotFound"
    assert code(lab.asg.set_desired_capacity, AutoScalingGroupName="nobody", DesiredCapacity=1) == "ValidationError"
    assert code(lab.asg.terminate_instance_in_auto_scaling_group, InstanceId="i-0", ShouldDecrementDesiredCapacity=True) == "ValidationError"
    assert code(ecs.create_service, cluster=web.cluster, serviceName="x", desiredCount=0, taskDefinition=web.define("1"), loadBalancers=[
        {"loadBalancerName": "nobody", "containerName": "web", "containerPort": 80}]) == "InvalidParameterException"
    missing = ecs.describe_tasks(cluster=web.cluster, tasks=["0" * 32])
    assert (missing["tasks"], missing["failures"][0]["reason"]) == ([], "MISSING")


def test_duplicates_are_refused_with_aws_codes(project, lab):
    web = project()
    lab.ec2.create_security_group(GroupName=f"{web.name}-sg", Description="x")
    assert code(lab.ec2.create_security_group, GroupName=f"{web.name}-sg", Description="x") == "InvalidGroup.Duplicate"
    balancer = {"LoadBalancerName": web.balancer, "AvailabilityZones": ["us-east-1a", "us-east-1b"]}
    lab.elb.create_load_balancer(**balancer, Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 8080}])
    assert code(lab.elb.create_load_balancer, **balancer, Listeners=[
        {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 9090}]) == "DuplicateLoadBalancerName"
    template = {"LaunchTemplateName": f"{web.name}-lt", "LaunchTemplateData": {"InstanceType": "t3.small"}}
    assert code(lab.ec2.create_launch_template, **template) == "InvalidLaunchTemplateName.AlreadyExistsException"
    assert code(lab.asg.create_auto_scaling_group, AutoScalingGroupName=web.group, MinSize=0, MaxSize=1, AvailabilityZones=["us-east-1a"],
                LaunchTemplate={"LaunchTemplateName": f"{web.name}-lt"}) == "AlreadyExists"
    configuration = {"LaunchConfigurationName": f"{web.name}-lc", "ImageId": "ami-12c6146b", "InstanceType": "t3.small"}
    lab.asg.create_launch_configuration(**configuration)
    assert code(lab.asg.create_launch_configuration, **configuration) == "AlreadyExists"


def test_a_listener_keeps_its_protocol_on_either_side(project, lab):
    name = f"{project().name}-tls"
    lab.elb.create_load_balancer(LoadBalancerName=name, AvailabilityZones=["us-east-1a"], Listeners=[
        {"Protocol": "HTTPS", "InstanceProtocol": "HTTP", "LoadBalancerPort": 443, "InstancePort": 8080,
         "SSLCertificateId": "arn:aws:iam::123456789012:server-certificate/lab"}])
    listener = lab.elb.describe_load_balancers(LoadBalancerNames=[name])["LoadBalancerDescriptions"][0]["ListenerDescriptions"][0]["Listener"]
    assert (listener["Protocol"], listener["InstanceProtocol"]) == ("HTTPS", "HTTP")


def test_several_listeners_go_at_once_and_the_others_stay(project, lab):
    web = project()
    for port in (8081, 8082, 8083):
        lab.elb.create_load_balancer_listeners(LoadBalancerName=web.balancer, Listeners=[
            {"Protocol": "HTTP", "LoadBalancerPort": port, "InstancePort": port}])
    lab.elb.delete_load_balancer_listeners(LoadBalancerName=web.balancer, LoadBalancerPorts=[8081, 8083])
    described = lab.elb.describe_load_balancers(LoadBalancerNames=[web.balancer])["LoadBalancerDescriptions"][0]
    assert [d["Listener"]["LoadBalancerPort"] for d in described["ListenerDescriptions"]] == [80, 8082]


def test_a_launch_template_made_twice_with_one_token_is_one_template(project, lab):
    web = project()
    asked = {"LaunchTemplateName": f"{web.name}-again", "ClientToken": web.name, "LaunchTemplateData": {"InstanceType": "t3.small"}}
    first, second = lab.ec2.create_launch_template(**asked), lab.ec2.create_launch_template(**asked)
    assert first["LaunchTemplate"]["LaunchTemplateId"] == second["LaunchTemplate"]["LaunchTemplateId"]
    asked["LaunchTemplateData"] = {"InstanceType": "t3.large"}
    assert code(lab.ec2.create_launch_template, **asked) == "IdempotentParameterMismatch"


def test_every_registered_task_definition_is_a_new_revision_and_the_cluster_only_one(project, lab):
    web = project()
    assert web.define("0.0.1").endswith(":1") and web.define("0.0.1").endswith(":2")
    lab.ecs.create_cluster(clusterName=web.cluster)
    service = web.service("0.0.1", 0)
    lab.ecs.create_cluster(clusterName=web.cluster)
    assert web.describe(service)["status"] == "ACTIVE"
    assert code(lab.ecs.delete_cluster, cluster=web.cluster) == "ClusterContainsServicesException"


@pytest.mark.parametrize("linux", ["amazon-linux-2", "amazon-linux-2023"])
def test_the_public_parameter_names_an_image_that_exists(lab, linux):
    image = lab.ssm.get_parameter(Name=f"/aws/service/ecs/optimized-ami/{linux}/recommended/image_id")["Parameter"]["Value"]
    assert image.startswith("ami-")


def test_hosts_of_a_cluster_without_hosts_are_an_empty_list_and_not_a_crash(project, lab):
    web = project()
    assert lab.ecs.list_container_instances(cluster=web.cluster)["containerInstanceArns"] == []
    answer = lab.ecs.describe_container_instances(cluster=web.cluster, containerInstances=["nobody"])
    assert answer["failures"][0]["reason"] == "MISSING"


def test_two_groups_on_one_load_balancer_keep_each_others_hosts(project, lab):
    web, other = project(hosts=1), project(hosts=1)
    lab.asg.attach_load_balancers(AutoScalingGroupName=other.group, LoadBalancerNames=[web.balancer])
    lab.asg.set_desired_capacity(AutoScalingGroupName=web.group, DesiredCapacity=2)
    assert len(web.health()) == 3


def cloudwatch(lab, call: str, **asked) -> tuple[int, dict]:
    """As an SDK that speaks CBOR does; boto3 would choose another protocol."""
    request = urllib.request.Request(
        f"{lab.url}/service/GraniteServiceVersion20100801/operation/{call}", method="POST",
        data=cbor2.dumps(asked, datetime_as_timestamp=True), headers={
            "Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor",
            "Authorization": "AWS4-HMAC-SHA256 Credential=lab/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=x, Signature=y"})
    try:
        answer = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as e:
        answer = e
    assert (answer.headers["Content-Type"], answer.headers["Smithy-Protocol"]) == ("application/cbor", "rpc-v2-cbor")
    return answer.status, cbor2.loads(answer.read())


def test_metrics_are_written_and_read_in_cbor(lab):
    now = datetime.now(timezone.utc)
    datum = {"MetricName": "errors", "Value": 3.0, "Timestamp": now}
    assert cloudwatch(lab, "PutMetricData", Namespace="lab", MetricData=[datum])[0] == 200
    asked = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5), "MetricDataQueries": [
        {"Id": "e", "MetricStat": {"Metric": {"Namespace": "lab", "MetricName": "errors"}, "Period": 60, "Stat": "Sum"}}]}
    result = cloudwatch(lab, "GetMetricData", **asked)[1]["MetricDataResults"][0]
    assert result["Values"] == [3.0] and isinstance(result["Values"][0], float)
    assert abs(result["Timestamps"][0] - now) < timedelta(minutes=2)
    lab.call("POST", "faults", {"action": "GetMetricData", "fault": "throttle"})
    status, error = cloudwatch(lab, "GetMetricData", **asked)
    assert (status, error["__type"]) == (400, "ThrottlingException")
    assert lab.record()["calls"] == {"PutMetricData": 1, "GetMetricData": 2}

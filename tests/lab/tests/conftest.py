"""One lab process for all tests; each test builds its own project under its own names and takes it away again."""

import base64
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).parent.parent
DEFAULTS = {"boot_delay_ms": 60, "pull_delay_ms": 60, "health_delay_ms": 80, "drain_delay_ms": 150, "tick_ms": 20,
            "elb_grace_ms": 200, "grace_second_ms": 10, "crash_delay_ms": 60, "restart_delay_ms": 50, "replace_delay_ms": 150, "throttle": False,
            "throttle_scale": 1.0, "behaviours": [], "event_repeat_ms": 5000, "host_cpu": 4096, "host_memory": 7482,
            "stopped_task_ttl_ms": 3_600_000}
names = itertools.count(1)


def wait_for(condition, what: str, seconds: float = 15):
    """The first true answer of the condition; the last answer is shown when none came in time."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Lab:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.ecs, self.ec2, self.elb, self.asg, self.ssm = (
            self.client(n) for n in ("ecs", "ec2", "elb", "autoscaling", "ssm"))

    def client(self, name: str):
        return boto3.client(name, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="lab",
                            aws_secret_access_key="lab", config=Config(retries={"total_max_attempts": 1}, read_timeout=20))

    def call(self, method: str, path: str, body=None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_lab/{path}", data=data, method=method)
        try:
            return json.load(urllib.request.urlopen(request, timeout=20))
        except urllib.error.HTTPError as e:
            raise ValueError(json.load(e)["error"]) from None

    def settings(self, **wanted) -> dict:
        return self.call("POST", "settings", wanted)

    def record(self) -> dict:
        return self.call("GET", "record")


class Project:
    """A builder: group, load balancer, cluster and services under one name, made as a deployer makes them."""

    def __init__(self, lab: Lab, hosts: int = 0, max_hosts: int = 8, user_data: str | None = None) -> None:
        self.lab, self.name, self.port = lab, f"app{next(names)}", 8080
        self.cluster, self.balancer, self.group = f"{self.name}-cluster", f"{self.name}-lb", f"{self.name}-asg"
        lab.ecs.create_cluster(clusterName=self.cluster)
        lab.elb.create_load_balancer(LoadBalancerName=self.balancer, AvailabilityZones=["us-east-1a", "us-east-1b"], Listeners=[
            {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": self.port}])
        user_data = user_data or f"#!/bin/bash\necho 'ECS_CLUSTER={self.cluster}' >> /etc/ecs/ecs.config\n"
        user_data = user_data.replace("CLUSTER_NAME", self.cluster)
        image = lab.ssm.get_parameter(Name="/aws/service/ecs/optimized-ami/amazon-linux-2/recommended/image_id")["Parameter"]["Value"]
        lab.ec2.create_launch_template(LaunchTemplateName=f"{self.name}-lt", LaunchTemplateData={
            "ImageId": image, "InstanceType": "t3.small", "UserData": base64.b64encode(user_data.encode()).decode()})
        lab.asg.create_auto_scaling_group(
            AutoScalingGroupName=self.group, MinSize=0, MaxSize=max_hosts, DesiredCapacity=hosts, LoadBalancerNames=[self.balancer],
            LaunchTemplate={"LaunchTemplateName": f"{self.name}-lt", "Version": "$Latest"},
            AvailabilityZones=["us-east-1a", "us-east-1b"])

    def define(self, version: str, cpu: int = 100) -> str:
        return self.lab.ecs.register_task_definition(family=f"{self.name}-task", containerDefinitions=[
            {"name": "web", "image": f"acme/{self.name}:{version}", "cpu": cpu, "memory": 128,
             "portMappings": [{"containerPort": 80, "hostPort": self.port}]}])["taskDefinition"]["taskDefinitionArn"]

    def service(self, version: str, desired: int, definition: str | None = None, balanced: bool = True, **more) -> str:
        name = f"{self.name}-{version.replace('.', '-')}"
        balancers = [{"loadBalancerName": self.balancer, "containerName": "web", "containerPort": 80}] if balanced else []
        self.lab.ecs.create_service(cluster=self.cluster, serviceName=name, desiredCount=desired, loadBalancers=balancers,
                                    taskDefinition=definition or self.define(version), **more)
        return name

    def scale(self, service: str, desired: int) -> None:
        self.lab.ecs.update_service(cluster=self.cluster, service=service, desiredCount=desired)

    def describe(self, service: str) -> dict:
        return self.lab.ecs.describe_services(cluster=self.cluster, services=[service])["services"][0]

    def events(self, service: str) -> str:
        return "\n".join(e["message"] for e in self.describe(service)["events"])

    def hosts(self) -> list[dict]:
        arns = self.lab.ecs.list_container_instances(cluster=self.cluster)["containerInstanceArns"]
        return self.lab.ecs.describe_container_instances(
            cluster=self.cluster, containerInstances=arns)["containerInstances"] if arns else []

    def tasks(self, service: str, status: str = "RUNNING") -> list[dict]:
        arns = self.lab.ecs.list_tasks(cluster=self.cluster, serviceName=service, desiredStatus=status)["taskArns"]
        return self.lab.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"] if arns else []

    def health(self) -> dict:
        states = self.lab.elb.describe_instance_health(LoadBalancerName=self.balancer)["InstanceStates"]
        return {s["InstanceId"]: s for s in states}

    def in_service(self) -> list[str]:
        return [i for i, s in self.health().items() if s["State"] == "InService"]

    def wait_hosts(self, count: int) -> list[dict]:
        return wait_for(lambda: len(h := self.hosts()) == count and h, f"{count} hosts in {self.cluster}")

    def wait_running(self, service: str, count: int) -> None:
        def settled():
            now = self.describe(service)
            return (now["runningCount"], now["pendingCount"]) == (count, 0)
        wait_for(settled, f"{count} running of {service}")

    def wait_in_service(self, count: int) -> list[str]:
        return wait_for(lambda: len(s := self.in_service()) == count and (s or True), f"{count} in service behind {self.balancer}")

    def wait_event(self, service: str, text: str) -> str:
        return wait_for(lambda: text in (e := self.events(service)) and e, f"event of {service}: {text}")

    def remove(self) -> None:
        for service in self.lab.ecs.list_services(cluster=self.cluster, maxResults=100)["serviceArns"]:
            self.lab.ecs.delete_service(cluster=self.cluster, service=service, force=True)
        self.lab.asg.delete_auto_scaling_group(AutoScalingGroupName=self.group, ForceDelete=True)


@pytest.fixture(scope="session")
def process(tmp_path_factory):
    ready = tmp_path_factory.mktemp("lab") / "ready.json"
    with subprocess.Popen([sys.executable, "-m", "brain_lab", "--port", "0", "--ready-file", str(ready), "--exit-with-parent"],
                          cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        wait_for(lambda: ready.exists() or process.poll() is not None, "the lab's ready file", 60)
        assert process.poll() is None, "the lab ended before it was ready"
        yield json.loads(ready.read_text())["port"]
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(scope="session")
def shared_lab(process):
    return Lab(process)


@pytest.fixture
def lab(shared_lab):
    shared_lab.settings(**DEFAULTS)
    shared_lab.call("DELETE", "faults")
    shared_lab.call("POST", "reset-record")
    return shared_lab


@pytest.fixture
def project(lab):
    made = []

    def build(**options) -> Project:
        made.append(Project(lab, **options))
        return made[-1]

    yield build
    lab.settings(throttle=False)
    lab.call("DELETE", "faults")
    for one in made:
        one.remove()

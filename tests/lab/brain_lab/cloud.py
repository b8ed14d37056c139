"""The lab's one shared state: moto's backends, the tasks and hosts that moto does not have, one lock. It decides nothing."""

import os
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.autoscaling import autoscaling_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2 import ec2_backends
from moto.ecs import ecs_backends
from moto.elb import elb_backends
from moto.elbv2 import elbv2_backends

from brain_lab.faults import Faults
from brain_lab.record import Record
from brain_lab.settings import Settings
from brain_lab.throttle import Throttle

REGION = "us-east-1"


@dataclass
class Host:
    """An EC2 instance as the lab follows it; `member` is moto's container instance once it joined."""

    instance: object
    seen_ms: float
    member: object = None
    killed_ms: float | None = None
    # It runs and never joins: a bad image, user data or role.
    stillborn: bool = False

    @property
    def alive(self) -> bool:
        return self.killed_ms is None and self.instance.state == "running"

    @property
    def schedulable(self) -> bool:
        return self.alive and self.member is not None and self.member.status == "ACTIVE"


@dataclass
class Task:
    service: object
    definition: object
    host: Host
    deployment_id: str
    rule: dict
    created_ms: float
    cpu: int
    memory: int
    # (container name, container port, host port)
    ports: list
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    last_status: str = "PENDING"
    desired_status: str = "RUNNING"
    started_ms: float = 0
    stopping_ms: float = 0
    stopped_ms: float = 0
    stop_code: str | None = None
    stopped_reason: str | None = None
    exit_code: int | None = None
    # wall-clock times for the wire: createdAt, startedAt, stoppingAt, stoppedAt
    at: dict = field(default_factory=lambda: {"createdAt": utcnow()})

    @property
    def arn(self) -> str:
        return f"{self.service.cluster_arn.replace(':cluster/', ':task/')}/{self.id}"

    @property
    def images(self) -> list[str]:
        return [c.get("image", "") for c in self.definition.container_definitions]

    @property
    def staying(self) -> bool:
        return self.desired_status == "RUNNING" and self.last_status != "STOPPED"


class Cloud:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.settings, self.record = Settings(), Record()
        self.faults, self.throttle = Faults(), Throttle()
        self.ecs = ecs_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.elb = elb_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.elbv2 = elbv2_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.groups = autoscaling_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.hosts: dict[str, Host] = {}
        # Of instances that are launched next and never join: how long ago they say that they were launched.
        self.stillborn_ms: list[float] = []
        self.tasks: dict[str, Task] = {}
        # (load balancer's name or target group's ARN, instance) -> when it was registered
        self.registered_ms: dict[tuple[str, str], float] = {}
        # What is acting now: an API call's name, or "kill-host".
        self.cause = "lab"

    @staticmethod
    def now() -> float:
        return time.monotonic() * 1000

    def live_tasks(self) -> list[Task]:
        return [t for t in self.tasks.values() if t.last_status != "STOPPED"]

    def tasks_of(self, service) -> list[Task]:
        return [t for t in self.live_tasks() if t.service is service]

    def tasks_on(self, instance_id: str) -> list[Task]:
        return [t for t in self.live_tasks() if t.host.instance.id == instance_id]

    def host_of(self, member) -> Host:
        return self.hosts[member.ec2_instance_id]

    def task_event(self, kind: str, task: Task) -> None:
        more = {}
        if kind in ("task_stopping", "task_stopped"):
            more = {"reason": task.stopped_reason, "stop_code": task.stop_code}
        if kind == "task_stopped":
            more["exit_code"] = task.exit_code
        self.record.event(kind, service=task.service.name, task=task.id, image=task.images[0],
                          instance_id=task.host.instance.id, **more)


def utcnow() -> datetime:
    return datetime.now(timezone.utc)


def load_balancer_names(service) -> list[str]:
    return [lb["loadBalancerName"] for lb in service.load_balancers if lb.get("loadBalancerName")]


def target_group_arns(service) -> list[str]:
    return [lb["targetGroupArn"] for lb in service.load_balancers if lb.get("targetGroupArn")]


def sick(cloud: Cloud, task: Task) -> bool:
    behaviour, age = task.rule.get("behaviour"), cloud.now() - task.started_ms
    if behaviour == "warms_up":
        return age < task.rule.get("delay_ms", 2000)
    return behaviour == "unhealthy" and age >= task.rule.get("delay_ms", 0)

"""ECS's service scheduler and agent: places, starts, drains and stops tasks. It answers no call; it only moves state."""

import uuid

from brain_lab import health, placement, target_groups
from brain_lab.cloud import Cloud, Task, load_balancer_names, target_group_arns, utcnow

UNABLE_TO_START = "is unable to consistently start tasks successfully. For more information, see the Troubleshooting " \
                  "section of the Amazon ECS Developer Guide."
# ECS keeps the 100 latest events of a service.
MOST_EVENTS = 100


def say(service, text: str) -> None:
    service.events.insert(0, {"id": str(uuid.uuid4()), "createdAt": utcnow(), "message": f"(service {service.name}) {text}"})
    del service.events[MOST_EVENTS:]


def tick(cloud: Cloud) -> None:
    now = cloud.now()
    for task in list(cloud.tasks.values()):
        if task.last_status != "STOPPED" and task.host.alive:
            advance(cloud, task, now)
        elif task.last_status == "STOPPED" and now - task.stopped_ms > cloud.settings.stopped_task_ttl_ms:
            del cloud.tasks[task.arn]
    for service in list(cloud.ecs.services.values()):
        if service.status != "INACTIVE":
            schedule(cloud, service, now)
            count(cloud, service)


def advance(cloud: Cloud, task: Task, now: float) -> None:
    behaviour, delay_ms = task.rule.get("behaviour"), task.rule.get("delay_ms")
    if task.last_status == "PENDING":
        pull_ms = cloud.settings.pull_delay_ms + ((delay_ms or 2000) if behaviour == "slow" else 0)
        if task.desired_status == "STOPPED":
            stopped(cloud, task)
        elif now - task.created_ms >= pull_ms and behaviour == "cannot_pull":
            stopped(cloud, task, "TaskFailedToStart",
                    f"CannotPullContainerError: Error response from daemon: pull access denied for {task.images[0]}, "
                    "repository does not exist or may require 'docker login'")
            failed(cloud, task.service)
        elif now - task.created_ms >= pull_ms:
            run(cloud, task, now)
    elif task.last_status == "DEACTIVATING":
        if now - task.stopping_ms >= cloud.settings.drain_delay_ms:
            stopped(cloud, task, exit_code=143)
    elif behaviour == "crash" and now - task.started_ms >= (cloud.settings.crash_delay_ms if delay_ms is None else delay_ms):
        leave_load_balancers(cloud, task)
        stopped(cloud, task, "EssentialContainerExited", "Essential container in task exited", exit_code=1)
        failed(cloud, task.service)
    else:
        check(cloud, task, now)


def check(cloud: Cloud, task: Task, now: float) -> None:
    """Stops a task that its load balancer has found sick for longer than the grace, once its service's grace period is over."""
    if health.good(cloud, task):
        task.at["healthy_ms"] = now
        return
    since = task.at.get("healthy_ms", task.started_ms + cloud.settings.health_delay_ms)
    behind = [f"elb {n}" for n in load_balancer_names(task.service)]
    behind += [f"target-group {a}" for a in target_group_arns(task.service)]
    period_ms = (task.service.health_check_grace_period_seconds or 0) * cloud.settings.grace_second_ms
    if now - since < cloud.settings.elb_grace_ms or now - task.started_ms < period_ms or not behind:
        return
    ports = ",".join(str(host_port) for _, _, host_port in task.ports)
    say(task.service, f"(instance {task.host.instance.id}) (port {ports}) is unhealthy in ({behind[0]}) due to (reason "
                      f"{health.FAILED_CHECKS[2]})")
    stop(cloud, task, f"Task failed ELB health checks in ({behind[0]})")
    failed(cloud, task.service)


def run(cloud: Cloud, task: Task, now: float) -> None:
    task.last_status, task.started_ms, task.at["startedAt"] = "RUNNING", now, utcnow()
    cloud.task_event("task_running", task)
    for name in load_balancer_names(task.service):
        health.register(cloud, name, task.host.instance.id)
        say(task.service, f"registered 1 instances in (elb {name})")
    for arn in target_group_arns(task.service):
        target_groups.register(cloud, arn, task)
        say(task.service, f"registered 1 targets in (target-group {arn})")


def stop(cloud: Cloud, task: Task, reason: str | None = None, code: str = "ServiceSchedulerInitiated") -> None:
    """Asks a task to stop. A running one first leaves its load balancers and drains; its port stays taken meanwhile."""
    if task.desired_status == "STOPPED":
        return
    task.desired_status, task.stopping_ms, task.at["stoppingAt"] = "STOPPED", cloud.now(), utcnow()
    task.stop_code, task.stopped_reason = code, reason or f"Scaling activity initiated by (deployment {task.deployment_id})"
    say(task.service, f"has stopped 1 running tasks: (task {task.id}).")
    cloud.task_event("task_stopping", task)
    if task.last_status == "RUNNING":
        task.last_status = "DEACTIVATING"
        if load_balancer_names(task.service) or target_group_arns(task.service):
            say(task.service, "has begun draining connections on 1 tasks.")
        leave_load_balancers(cloud, task)


def leave_load_balancers(cloud: Cloud, task: Task) -> None:
    for name in load_balancer_names(task.service):
        health.deregister(cloud, name, task.host.instance.id)
        say(task.service, f"deregistered 1 instances in (elb {name})")
    for arn in target_group_arns(task.service):
        target_groups.deregister(cloud, arn, task.host.instance.id)
        say(task.service, f"deregistered 1 targets in (target-group {arn})")


def stopped(cloud: Cloud, task: Task, code: str | None = None, reason: str | None = None, exit_code: int | None = None) -> None:
    task.last_status = task.desired_status = "STOPPED"
    task.stopped_ms, task.at["stoppedAt"] = cloud.now(), utcnow()
    task.stop_code, task.stopped_reason = code or task.stop_code, reason or task.stopped_reason
    task.exit_code = exit_code
    cloud.task_event("task_stopped", task)


def failed(cloud: Cloud, service) -> None:
    """Counts a failure of the service; each one delays the next start, up to eight times the restart delay."""
    service.lab_failures += 1
    service.deployments[0]["failedTasks"] += 1
    service.lab_not_before = cloud.now() + cloud.settings.restart_delay_ms * min(2 ** (service.lab_failures - 1), 8)
    if service.lab_failures % 3 == 0:
        say(service, UNABLE_TO_START)


def schedule(cloud: Cloud, service, now: float) -> None:
    wanted = service.desired_count if service.status == "ACTIVE" else 0
    mine = cloud.tasks_of(service)
    staying = [t for t in mine if t.staying]
    current = [t for t in staying if t.definition.arn == service.task_definition and not draining(t)]
    leaving = [t for t in staying if t not in current]
    healthy = [t for t in staying if health.good(cloud, t)]
    for task in surplus(current, healthy)[: max(0, len(current) - wanted)]:
        stop(cloud, task)
    limits = getattr(service, "deployment_configuration", None) or {}
    ceiling = max(wanted * limits.get("maximumPercent", 200) // 100, 1)
    floor = -(-wanted * limits.get("minimumHealthyPercent", 100) // 100)
    spare = len(healthy) - floor
    for task in leaving:
        if task in healthy and spare <= 0:
            continue
        spare -= task in healthy
        stop(cloud, task)
    for _ in range(min(wanted - len(current), ceiling - len(staying))):
        if now < service.lab_not_before or not start(cloud, service, now):
            break
    steady = len(mine) == len(healthy) == len(current) == wanted and service.status == "ACTIVE"
    if steady and not service.lab_steady:
        say(service, "has reached a steady state.")
        service.lab_failures = 0
    service.lab_steady = steady
    if service.status == "DRAINING" and not mine:
        service.status = "INACTIVE"


def draining(task: Task) -> bool:
    return task.host.member is not None and task.host.member.status == "DRAINING"


def surplus(tasks: list[Task], healthy: list[Task]) -> list[Task]:
    """In the order in which to stop: not running, sick, from the fullest zone, newest."""
    zones = [t.host.instance.availability_zone for t in tasks]
    return sorted(tasks, key=lambda t: (t.last_status == "RUNNING", t in healthy, -zones.count(t.host.instance.availability_zone),
                                        -t.created_ms))


def start(cloud: Cloud, service, now: float) -> bool:
    definition = cloud.ecs.describe_task_definition(service.task_definition)
    needs = placement.needs_of(definition)
    host, why_not = placement.choose(cloud, service, needs)
    if host is None:
        text = f"was unable to place a task because no container instance met all of its requirements. {why_not} " \
               "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        if service.lab_unplaced != why_not or now - service.lab_unplaced_ms > cloud.settings.event_repeat_ms:
            service.lab_unplaced, service.lab_unplaced_ms = why_not, now
            say(service, text)
        return False
    service.lab_unplaced = None
    rule = cloud.settings.behaviour_of(service.name, definition.arn, *[c["image"] for c in definition.container_definitions])
    task = Task(service, definition, host, service.deployments[0]["id"], rule, now, needs.cpu, needs.memory,
                placement.bind(cloud, host, needs))
    cloud.tasks[task.arn] = task
    say(service, f"has started 1 tasks: (task {task.id}).")
    cloud.task_event("task_started", task)
    return True


def count(cloud: Cloud, service) -> None:
    """Writes the counts that DescribeServices shows, from the tasks that exist; ends deployments that have none left."""
    mine = cloud.tasks_of(service)
    service.running_count = sum(t.last_status == "RUNNING" for t in mine)
    service.pending_count = sum(t.last_status == "PENDING" for t in mine)
    for deployment in service.deployments:
        own = [t for t in mine if t.deployment_id == deployment["id"]]
        deployment["runningCount"] = sum(t.last_status == "RUNNING" for t in own)
        deployment["pendingCount"] = sum(t.last_status == "PENDING" for t in own)
    service.deployments[:] = [d for i, d in enumerate(service.deployments)
                              if i == 0 or any(t.deployment_id == d["id"] for t in mine)]
    service.deployments[0]["desiredCount"] = service.desired_count

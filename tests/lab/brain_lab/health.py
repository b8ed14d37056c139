"""Classic ELB: who is registered and who is in service. A host is in service only by a healthy task on the checked port."""

import re
from collections import defaultdict

from moto.elb.exceptions import ELBClientError, LoadBalancerNotFoundError

from brain_lab import target_groups
from brain_lab.cloud import Cloud, Task, load_balancer_names, sick, target_group_arns

STILL_REGISTERING = ("OutOfService", "ELB", "Instance registration is still in progress.")
FAILED_CHECKS = ("OutOfService", "Instance",
                 "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.")
STOPPED = ("OutOfService", "Instance", "Instance is in stopped state.")


def register(cloud: Cloud, name: str, instance_id: str) -> None:
    balancer = cloud.elb.load_balancers.get(name)
    if balancer and instance_id not in balancer.instance_ids:
        balancer.instance_sparse_ids.append(instance_id)
        cloud.registered_ms[name, instance_id] = cloud.now()


def deregister(cloud: Cloud, name: str, instance_id: str) -> None:
    balancer = cloud.elb.load_balancers.get(name)
    if balancer:
        balancer.instance_sparse_ids = [i for i in balancer.instance_sparse_ids if i != instance_id]
    cloud.registered_ms.pop((name, instance_id), None)


def checked_ports(balancer) -> set[int]:
    """The health check's port where there is one, else the listeners' instance ports."""
    target = balancer.health_check.target if balancer.health_check else ""
    found = re.match(r"[A-Z]+:(\d+)", target)
    return {int(found[1])} if found else {int(listener.instance_port) for listener in balancer.listeners}


def passes(cloud: Cloud, task: Task, name: str) -> bool:
    """Whether this task keeps its host in service behind this load balancer."""
    balancer = cloud.elb.load_balancers.get(name)
    return (
        balancer is not None
        and task.last_status == "RUNNING"
        and task.host.alive
        and name in load_balancer_names(task.service)
        and task.host.instance.id in balancer.instance_ids
        and not sick(cloud, task)
        and cloud.now() - task.started_ms >= cloud.settings.health_delay_ms
        and any(host_port in checked_ports(balancer) for _, _, host_port in task.ports)
    )


def good(cloud: Cloud, task: Task) -> bool:
    """RUNNING, and in service behind every load balancer and target group of its service."""
    return task.last_status == "RUNNING" and task.host.alive and all(
        passes(cloud, task, name) for name in load_balancer_names(task.service)) and all(
        target_groups.passes(cloud, task, arn) for arn in target_group_arns(task.service))


def state_of(cloud: Cloud, name: str, instance_id: str) -> tuple[str, str, str]:
    """(state, reason code, description) as DescribeInstanceHealth gives them."""
    host = cloud.hosts.get(instance_id)
    if host is not None and not host.alive:
        return STOPPED
    if host is not None and any(passes(cloud, task, name) for task in cloud.tasks_on(instance_id)):
        return "InService", "N/A", "N/A"
    if cloud.now() - cloud.registered_ms.get((name, instance_id), 0) < cloud.settings.health_delay_ms:
        return STILL_REGISTERING
    return FAILED_CHECKS


def describe(cloud: Cloud, name: str, wanted: list[str]) -> list[dict]:
    balancer = cloud.elb.load_balancers.get(name)
    if balancer is None:
        raise LoadBalancerNotFoundError(name)
    registered = list(dict.fromkeys(balancer.instance_ids))
    for instance_id in wanted:
        if instance_id not in registered:
            raise ELBClientError("InvalidInstance", f"Could not find EC2 instance {instance_id}.")
    states = []
    for instance_id in wanted or registered:
        state, code, text = state_of(cloud, name, instance_id)
        states.append({"InstanceId": instance_id, "State": state, "ReasonCode": code, "Description": text})
    return states


def sample(cloud: Cloud) -> None:
    """Offers the present health to the record, which keeps it when it changed."""
    services, tasks = defaultdict(list), defaultdict(list)
    for service in cloud.ecs.services.values():
        for name in load_balancer_names(service) if service.status != "INACTIVE" else ():
            services[name].append(service.name)
    for task in cloud.live_tasks():
        tasks[task.host.instance.id].append(task)
    elbs = {}
    for name, balancer in cloud.elb.load_balancers.items():
        by_service = dict.fromkeys(services[name], 0)
        there = [t for i in dict.fromkeys(balancer.instance_ids) for t in tasks[i]]
        serving = {t.host.instance.id: t for t in there if passes(cloud, t, name)}
        for task in serving.values():
            by_service[task.service.name] = by_service.get(task.service.name, 0) + 1
        elbs[name] = {"in_service_total": len(serving), "by_service": by_service}
    cloud.record.sample(elbs)
    cloud.record.moves(moving(cloud))


def moving(cloud: Cloud) -> bool:
    """Whether something is on its way that no caller can hurry: an instance that boots, or a task that is to start, starts, is
    not found healthy yet, or drains."""
    for instance in cloud.ec2.all_instances():
        host = cloud.hosts.get(instance.id)
        boots = host is None or (host.member is None and not host.stillborn)
        if instance.state == "running" and getattr(instance, "autoscaling_group", None) and boots:
            return True
    wanted = {s.arn: s.desired_count for s in cloud.ecs.services.values() if s.status == "ACTIVE"}
    for task in cloud.live_tasks():
        if not good(cloud, task):
            return True
        if task.service.arn in wanted:
            wanted[task.service.arn] -= 1
    return any(wanted.values())

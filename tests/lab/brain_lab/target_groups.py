"""Target groups of an ALB: hosts of a service's running tasks are targets, and a target's health follows the task on its
port. Rules and their weights are moto's own; nothing here reads them."""

from moto.elbv2.models import FakeHealthStatus, FakeTargetGroup

from brain_lab.cloud import Cloud, Task, sick, target_group_arns


def register(cloud: Cloud, arn: str, task: Task) -> None:
    group = cloud.elbv2.target_groups.get(arn)
    if group and task.ports:
        instance_id = task.host.instance.id
        group.targets[instance_id] = {"Id": instance_id, "Port": task.ports[0][2]}
        group.deregistered_targets.pop(instance_id, None)
        cloud.registered_ms[arn, instance_id] = cloud.now()


def deregister(cloud: Cloud, arn: str, instance_id: str) -> None:
    group = cloud.elbv2.target_groups.get(arn)
    if group and instance_id in group.targets:
        group.deregistered_targets[instance_id] = group.targets.pop(instance_id)
    cloud.registered_ms.pop((arn, instance_id), None)


def passes(cloud: Cloud, task: Task, arn: str) -> bool:
    """Whether this task keeps its host healthy in this target group."""
    group = cloud.elbv2.target_groups.get(arn)
    target = group.targets.get(task.host.instance.id) if group else None
    return (
        target is not None
        and task.last_status == "RUNNING"
        and task.host.alive
        and arn in target_group_arns(task.service)
        and not sick(cloud, task)
        and cloud.now() - task.started_ms >= cloud.settings.health_delay_ms
        and any(host_port == int(target["Port"]) for _, _, host_port in task.ports)
    )


def patch(cloud: Cloud) -> None:
    def health_for(self, target, ec2_backend, original=FakeTargetGroup.health_for):
        found, host = self.targets.get(target["Id"]), cloud.hosts.get(target["Id"])
        if found is None or host is None or not host.alive:
            return original(self, target, ec2_backend)
        if any(passes(cloud, task, self.arn) for task in cloud.tasks_on(target["Id"])):
            answer = ("healthy", None, None)
        elif cloud.now() - cloud.registered_ms.get((self.arn, target["Id"]), 0) < cloud.settings.health_delay_ms:
            answer = ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
        else:
            answer = ("unhealthy", "Target.FailedHealthChecks", "Health checks failed")
        return FakeHealthStatus(found["Id"], found["Port"], self.health_check_port, *answer)

    FakeTargetGroup.health_for = health_for

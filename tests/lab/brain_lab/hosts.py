"""Hosts: they boot, join their cluster, die and are replaced. It moves no task; it only ends those of a host that is gone."""

import re
from datetime import timedelta

from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
from moto.ec2.models.instances import Instance

from brain_lab import control_loop, health, target_groups
from brain_lab.cloud import Cloud, Host


def cluster_in(user_data) -> str | None:
    """The cluster that a cloud-init script writes to ecs.config, plain or quoted; the last one wins, as in a shell."""
    text = user_data.decode() if user_data else ""
    if not text.startswith("#!") or "/etc/ecs/ecs.config" not in text:
        return None
    found = re.findall(r"ECS_CLUSTER=['\"]?([A-Za-z0-9_-]+)", text)
    return found[-1] if found else None


def tick(cloud: Cloud) -> None:
    now = cloud.now()
    for instance in cloud.ec2.all_instances():
        if instance.state != "running":
            continue
        host = cloud.hosts.get(instance.id)
        if host is None:
            host = cloud.hosts[instance.id] = Host(instance, now)
            if cloud.stillborn_ms:
                host.stillborn = True
                instance.launch_time -= timedelta(milliseconds=cloud.stillborn_ms.pop(0))
            group = getattr(instance, "autoscaling_group", None)
            cloud.record.event("host_launched", instance_id=instance.id, group=group.name if group else None)
        if host.member is None and host.alive and not host.stillborn and now - host.seen_ms >= cloud.settings.boot_delay_ms:
            join(cloud, host)
    for host in list(cloud.hosts.values()):
        if host.killed_ms is not None and host.instance.state == "running" \
                and now - host.killed_ms >= cloud.settings.replace_delay_ms:
            cloud.cause = "kill-host"
            cloud.ec2.terminate_instances([host.instance.id])
            cloud.groups.notify_terminate_instances([host.instance.id])
            cloud.cause = "lab"


def join(cloud: Cloud, host: Host) -> None:
    name = cluster_in(host.instance.user_data)
    cluster = cloud.ecs.clusters.get(name)
    if cluster is None or cluster.status != "ACTIVE":
        return
    host.member = cloud.ecs.register_container_instance(name, host.instance.id)
    cloud.record.event("host_joined", instance_id=host.instance.id, cluster=name)


def stillborn(cloud: Cloud, count: int, age_ms: float) -> None:
    """The next instances that are launched never join their cluster, and were launched so long ago."""
    if not isinstance(count, int) or count < 1 or age_ms < 0:
        raise ValueError("count must be a positive number, and age_ms must not be negative")
    cloud.stillborn_ms += [age_ms] * count


def kill(cloud: Cloud, instance_id: str | None, service: str | None) -> str:
    """The host dies at once; its group notices later. LookupError when there is no such host."""
    for host in cloud.hosts.values():
        on_it = [t.service.name for t in cloud.tasks_on(host.instance.id)]
        if host.alive and (instance_id in (None, host.instance.id)) and (service is None or service in on_it):
            host.killed_ms = cloud.now()
            if host.member is not None:
                host.member.agent_connected = False
            return host.instance.id
    raise LookupError(f"no live host with instance_id {instance_id} and service {service}")


def gone(cloud: Cloud, instance: Instance) -> None:
    """The instance is terminated: its tasks end with it, it leaves its cluster and its load balancers."""
    for task in cloud.tasks_on(instance.id):
        live = task.last_status in ("PENDING", "RUNNING")
        cloud.record.event("live_task_killed" if live else "draining_task_killed", service=task.service.name, task=task.id,
                           instance_id=instance.id, last_status=task.last_status, desired_status=task.desired_status,
                           cause=cloud.cause)
        control_loop.stopped(cloud, task, "TerminationNotice", f"Host EC2 (instance {instance.id}) terminated.")
    host = cloud.hosts.get(instance.id)
    if host is not None and host.member is not None:
        cloud.ecs.container_instances[host.member.cluster_name].pop(host.member.id, None)
    for name, balancer in cloud.elb.load_balancers.items():
        if instance.id in balancer.instance_ids:
            health.deregister(cloud, name, instance.id)
    for arn in cloud.elbv2.target_groups:
        target_groups.deregister(cloud, arn, instance.id)
    group = getattr(instance, "autoscaling_group", None)
    cloud.record.event("host_terminated", instance_id=instance.id, group=group.name if group else None, cause=cloud.cause)


def patch(cloud: Cloud) -> None:
    """Makes moto tell the lab of every termination, spread groups over subnets, and share load balancers among groups."""
    terminate, replace = Instance.terminate, FakeAutoScalingGroup.replace_autoscaling_group_instances
    attached: set[tuple[str, str, str]] = set()

    def terminate_and_tell(self):
        was_running = self.state == "running"
        previous = terminate(self)
        if was_running:
            gone(cloud, self)
        return previous

    def replace_over_zones(self, count_needed, propagated_tags):
        subnets, zones = self.vpc_zone_identifier, self.availability_zones
        for _ in range(count_needed):
            used = [s.instance.availability_zone for s in self.instance_states]
            choices = subnets.split(",") if subnets else zones
            zone_of = {s.id: s.availability_zone for s in cloud.ec2.get_default_subnets().values()}
            if subnets:
                zone_of = {s.id: s.availability_zone for s in cloud.ec2.describe_subnets(subnet_ids=choices)}
            chosen = min(choices, key=lambda c: used.count(zone_of.get(c, c)))
            if subnets:
                self.vpc_zone_identifier = chosen
            else:
                self.availability_zones = [chosen]
            try:
                replace(self, 1, propagated_tags)
            finally:
                self.vpc_zone_identifier, self.availability_zones = subnets, zones

    def update_attached_elbs(self, group_name):
        # As AWS: a group registers an instance once, when it joins; what others register or take out stays so.
        group = self.autoscaling_groups[group_name]
        for name in group.load_balancer_names:
            for state in group.active_instances():
                key = (group_name, name, state.instance.id)
                if key not in attached and name in cloud.elb.load_balancers:
                    attached.add(key)
                    health.register(cloud, name, state.instance.id)

    def detach_load_balancers(self, group_name, load_balancer_names):
        # As AWS: its instances are deregistered, and registered again when it is attached again.
        group = self.autoscaling_groups[group_name]
        for key in [key for key in attached if key[0] == group_name and key[1] in load_balancer_names]:
            attached.discard(key)
            health.deregister(cloud, key[1], key[2])
        group.load_balancer_names = [name for name in group.load_balancer_names if name not in load_balancer_names]

    Instance.terminate = terminate_and_tell
    FakeAutoScalingGroup.replace_autoscaling_group_instances = replace_over_zones
    AutoScalingBackend.update_attached_elbs = update_attached_elbs
    AutoScalingBackend.detach_load_balancers = detach_load_balancers

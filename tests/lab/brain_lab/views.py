"""What exists, for people and for comparing two runs. It reads and never changes anything."""

from brain_lab import control_loop, health, placement
from brain_lab.cloud import Cloud


def ingress(group) -> list[str]:
    def source(rule) -> str:
        return rule.ip_range.get("CidrIp") or rule.source_group.get("GroupName") or "group"

    return sorted(f"{rule.ip_protocol} {rule.from_port}-{rule.to_port} {source(rule)}" for rule in group.ingress_rules)


def security_groups(cloud: Cloud) -> list:
    # The VPC's default group and the ones that moto makes for load balancers are nobody's work.
    every = [g for by_id in cloud.ec2.groups.values() for g in by_id.values()]
    return [g for g in every if g.name != "default" and not g.name.startswith("default_elb_")]


def listeners(balancer) -> list[str]:
    return sorted(f"{x.load_balancer_port}:{x.instance_port} {x.protocol}" for x in balancer.listeners)


def image_of(cloud: Cloud, service) -> str:
    return cloud.ecs.describe_task_definition(service.task_definition).container_definitions[0]["image"]


def state(cloud: Cloud) -> dict:
    for service in cloud.ecs.services.values():
        control_loop.count(cloud, service)
    members = {c: list(cloud.ecs.container_instances.get(c, {}).values()) for c in cloud.ecs.clusters}
    return {
        "security_groups": [{"id": g.id, "name": g.name, "ingress": ingress(g)} for g in security_groups(cloud)],
        "elbs": [{"name": name, "listeners": listeners(b),
                  "instances": {i: health.state_of(cloud, name, i)[0] for i in b.instance_ids}}
                 for name, b in cloud.elb.load_balancers.items()],
        "target_groups": [{"name": g.name, "targets": {i: g.health_for({"Id": i}, cloud.ec2).status for i in g.targets}}
                          for g in cloud.elbv2.target_groups.values()],
        "launch_templates": [{"id": t.id, "name": t.name, "versions": len(t.versions)}
                             for t in cloud.ec2.launch_templates.values()],
        "launch_configurations": sorted(cloud.groups.launch_configurations),
        "groups": [{"name": g.name, "desired": g.desired_capacity, "min": g.min_size, "max": g.max_size,
                    "instances": [s.instance.id for s in g.instance_states]} for g in cloud.groups.autoscaling_groups.values()],
        "clusters": [{"name": c.name, "status": c.status, "container_instances": [
            {"id": m.id, "instance_id": m.ec2_instance_id, "status": m.status, "agent_connected": m.agent_connected,
             "zone": cloud.host_of(m).instance.availability_zone,
             "running": sum(t.last_status == "RUNNING" for t in cloud.tasks_on(m.ec2_instance_id)),
             "pending": sum(t.last_status == "PENDING" for t in cloud.tasks_on(m.ec2_instance_id)),
             "ports": placement.taken_ports(cloud, cloud.host_of(m))} for m in members[c.name]]}
            for c in cloud.ecs.clusters.values()],
        "services": [{"name": s.name, "cluster": s.cluster_name, "status": s.status, "desired": s.desired_count,
                      "running": s.running_count, "pending": s.pending_count, "image": image_of(cloud, s),
                      "task_definition": s.task_definition, "events": [e["message"] for e in s.events[:20]]}
                     for s in cloud.ecs.services.values()],
        "tasks": [{"id": t.id, "service": t.service.name, "instance_id": t.host.instance.id, "last_status": t.last_status,
                   "desired_status": t.desired_status, "healthy": health.good(cloud, t), "image": t.images[0]}
                  for t in cloud.live_tasks()],
    }


def fingerprint(cloud: Cloud) -> dict:
    now = state(cloud)
    groups, templates = {}, {}
    for g in now["security_groups"]:
        same = groups.setdefault(g["name"], {"count": 0, "ingress": []})
        same["count"] += 1
        same["ingress"] = sorted(same["ingress"] + g["ingress"])
    for t in now["launch_templates"]:
        same = templates.setdefault(t["name"], {"count": 0, "versions": 0})
        same["count"] += 1
        same["versions"] += t["versions"]
    return {
        "security_groups": groups,
        "elbs": {e["name"]: {"in_service": sum(s == "InService" for s in e["instances"].values()),
                             "registered": len(e["instances"]), "listeners": e["listeners"]} for e in now["elbs"]},
        "target_groups": {g["name"]: {"healthy": sum(s == "healthy" for s in g["targets"].values()),
                                      "registered": len(g["targets"])} for g in now["target_groups"]},
        "launch_templates": templates,
        "launch_configurations": now["launch_configurations"],
        "groups": {g["name"]: {"desired": g["desired"], "actual": len(g["instances"])} for g in now["groups"]},
        "clusters": {c["name"]: {"status": c["status"], "instances": len(c["container_instances"]),
                                 "draining": sum(m["status"] == "DRAINING" for m in c["container_instances"])}
                     for c in now["clusters"]},
        "services": {f"{s['cluster']}/{s['name']}": {k: s[k] for k in ("status", "desired", "running", "pending", "image")}
                     for s in now["services"]},
        "task_definitions": {family: {"active": sum(d.status == "ACTIVE" for d in by_revision.values())}
                             for family, by_revision in cloud.ecs.task_definitions.items()},
        "instances_running": sum(i.state == "running" for i in cloud.ec2.all_instances()),
        "tasks_live": len(now["tasks"]),
    }

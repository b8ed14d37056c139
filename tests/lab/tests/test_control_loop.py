"""Hosts join, services place, drain and stop, and the load balancer's health follows."""

import pytest
from conftest import wait_for


@pytest.mark.parametrize("script", [
    "#!/bin/bash\necho ECS_CLUSTER=CLUSTER_NAME >> /etc/ecs/ecs.config\n",
    "#!/bin/bash\nprintf '%s\\n' 'ECS_CLUSTER=CLUSTER_NAME' 'ECS_ENGINE_AUTH_TYPE=dockercfg' > /etc/ecs/ecs.config\n",
    "#!/bin/sh\ncat > /etc/ecs/ecs.config <<'EOF'\nECS_CLUSTER='CLUSTER_NAME'\nEOF\n",
])
def test_hosts_join_the_cluster_that_their_user_data_names(project, script):
    web = project(hosts=2, user_data=script)
    hosts = web.wait_hosts(2)
    assert {h["status"] for h in hosts} == {"ACTIVE"} and all(h["agentConnected"] for h in hosts)
    zones = {a["value"] for h in hosts for a in h["attributes"] if a["name"] == "ecs.availability-zone"}
    assert zones == {"us-east-1a", "us-east-1b"}


def test_a_host_whose_user_data_is_no_script_never_joins(project):
    other = project(hosts=1, user_data="ECS_CLUSTER=CLUSTER_NAME > /etc/ecs/ecs.config")
    web = project(hosts=1)
    web.wait_hosts(1)
    assert other.hosts() == []


def test_tasks_are_pending_then_running_then_in_service(project, lab):
    lab.settings(pull_delay_ms=400, health_delay_ms=400)
    web = project(hosts=2)
    web.wait_hosts(2)
    service = web.service("0.0.1", 2)
    assert (web.describe(service)["runningCount"], web.in_service()) == (0, [])
    wait_for(lambda: web.describe(service)["pendingCount"] == 2, "two pending tasks")
    wait_for(lambda: web.describe(service)["runningCount"] == 2, "two running tasks")
    assert web.in_service() == []
    assert len(web.wait_in_service(2)) == 2
    text = web.wait_event(service, "has reached a steady state.")
    assert text.count("has started 1 tasks: (task ") == 2 and text.count(f"registered 1 instances in (elb {web.balancer})") == 2
    tasks = web.tasks(service)
    assert len({t["containerInstanceArn"] for t in tasks}) == 2
    assert {t["group"] for t in tasks} == {f"service:{service}"}
    assert {t["startedBy"] for t in tasks} == {web.describe(service)["deployments"][0]["id"]}
    assert "rolloutState" not in web.describe(service)["deployments"][0]


def test_a_host_shows_what_its_tasks_take(project):
    web = project(hosts=1)
    web.wait_running(web.service("0.0.1", 1), 1)
    host = web.hosts()[0]
    left = {r["name"]: r.get("stringSetValue") or r["integerValue"] for r in host["remainingResources"]}
    all_of_it = {r["name"]: r.get("stringSetValue") or r["integerValue"] for r in host["registeredResources"]}
    assert (host["runningTasksCount"], host["pendingTasksCount"]) == (1, 0)
    assert "8080" in left["PORTS"] and "8080" not in all_of_it["PORTS"]
    assert (left["CPU"], left["MEMORY"]) == (all_of_it["CPU"] - 100, all_of_it["MEMORY"] - 128)


def test_a_task_waits_for_a_free_port_and_says_so(project, lab):
    web = project(hosts=1)
    old = web.service("0.0.1", 1)
    web.wait_in_service(1)
    new = web.service("0.0.2", 1)
    host = web.hosts()[0]["containerInstanceArn"].split("/")[-1]
    web.wait_event(new, f"(service {new}) was unable to place a task because no container instance met all of its requirements. "
                        f"The closest matching (container-instance {host}) is already using a port required by your task.")
    assert (web.describe(new)["runningCount"], web.describe(new)["pendingCount"]) == (0, 0)
    lab.settings(drain_delay_ms=400)
    web.scale(old, 0)
    wait_for(lambda: web.tasks(old, "STOPPED"), "the old task stops")
    # It drains: out of the load balancer, its port still taken.
    assert web.tasks(old, "STOPPED")[0]["lastStatus"] == "DEACTIVATING" and web.health() == {}
    assert "8080" in next(r for r in web.hosts()[0]["remainingResources"] if r["name"] == "PORTS")["stringSetValue"]
    assert web.tasks(new) == []
    web.wait_in_service(1)
    assert "has begun draining connections on 1 tasks." in web.events(old)


def test_a_service_without_hosts_says_that_there_are_none(project):
    web = project(hosts=0)
    web.wait_event(web.service("0.0.1", 1), "Reason: No Container Instances were found in your cluster.")


def test_a_task_too_big_for_the_host_says_so(project):
    web = project(hosts=1)
    web.wait_hosts(1)
    web.wait_event(web.service("0.0.1", 1, definition=web.define("0.0.1", cpu=5000)), "has insufficient CPU units available.")


def test_scaling_up_and_down_moves_the_counts_through_the_loop(project):
    web = project(hosts=3)
    web.wait_hosts(3)
    service = web.service("0.0.1", 1)
    web.wait_running(service, 1)
    web.scale(service, 3)
    assert web.describe(service)["runningCount"] == 1
    web.wait_in_service(3)
    web.scale(service, 0)
    web.wait_running(service, 0)
    wait_for(lambda: all(t["lastStatus"] == "STOPPED" for t in web.tasks(service, "STOPPED")), "all stopped")
    gone = web.tasks(service, "STOPPED")
    assert len(gone) == 3
    assert {(t["stopCode"], t["stoppedReason"].partition(" (")[0]) for t in gone} == {
        ("ServiceSchedulerInitiated", "Scaling activity initiated by")}
    assert "has stopped 1 running tasks: (task " in web.events(service)


def test_a_host_without_a_task_is_out_of_service(project):
    web = project(hosts=2)
    web.wait_running(web.service("0.0.1", 1), 1)
    web.wait_in_service(1)
    text = "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."
    empty = wait_for(lambda: [s for s in web.health().values() if s["Description"] == text], "the empty host fails its checks")
    assert [(s["State"], s["ReasonCode"]) for s in empty] == [("OutOfService", "Instance")]


def test_a_health_check_on_another_port_keeps_every_host_out(project, lab):
    lab.settings(elb_grace_ms=60000)
    web = project(hosts=1)
    lab.elb.configure_health_check(LoadBalancerName=web.balancer, HealthCheck={
        "Target": "HTTP:9999/", "Interval": 10, "Timeout": 5, "UnhealthyThreshold": 2, "HealthyThreshold": 2})
    web.wait_running(web.service("0.0.1", 1), 1)
    wait_for(lambda: [s for s in web.health().values() if s["ReasonCode"] == "Instance"], "the host fails its checks")
    lab.elb.configure_health_check(LoadBalancerName=web.balancer, HealthCheck={
        "Target": "TCP:8080", "Interval": 10, "Timeout": 5, "UnhealthyThreshold": 2, "HealthyThreshold": 2})
    web.wait_in_service(1)


def test_a_new_task_definition_replaces_tasks_without_a_gap(project, lab):
    web = project(hosts=3)
    web.wait_hosts(3)
    service = web.service("0.0.1", 2)
    web.wait_in_service(2)
    lab.call("POST", "reset-record")
    new = web.define("0.0.2")
    lab.ecs.update_service(cluster=web.cluster, service=service, taskDefinition=new)
    assert [d["status"] for d in web.describe(service)["deployments"]] == ["PRIMARY", "ACTIVE"]
    wait_for(lambda: {t["taskDefinitionArn"] for t in web.tasks(service)} == {new} and len(web.tasks(service)) == 2, "only new tasks")
    wait_for(lambda: len(web.describe(service)["deployments"]) == 1, "one deployment")
    samples = lab.record()["samples"]
    assert min(s["elbs"][web.balancer]["by_service"][service] for s in samples) == 2


def test_draining_a_host_moves_its_task_first(project, lab):
    web = project(hosts=2)
    web.wait_hosts(2)
    service = web.service("0.0.1", 1)
    web.wait_in_service(1)
    busy = web.tasks(service)[0]["containerInstanceArn"]
    lab.call("POST", "reset-record")
    lab.ecs.update_container_instances_state(cluster=web.cluster, containerInstances=[busy], status="DRAINING")
    wait_for(lambda: [t["containerInstanceArn"] for t in web.tasks(service)] not in ([], [busy]), "the task moved")
    web.wait_in_service(1)
    samples = lab.record()["samples"]
    assert min(s["elbs"][web.balancer]["in_service_total"] for s in samples) == 1
    assert lab.ecs.list_container_instances(cluster=web.cluster, status="DRAINING")["containerInstanceArns"] == [busy]


def test_a_draining_host_takes_no_new_task(project, lab):
    web = project(hosts=1)
    host = web.wait_hosts(1)[0]["containerInstanceArn"]
    lab.ecs.update_container_instances_state(cluster=web.cluster, containerInstances=[host], status="DRAINING")
    service = web.service("0.0.1", 1)
    web.wait_event(service, "was unable to place a task")
    lab.ecs.update_container_instances_state(cluster=web.cluster, containerInstances=[host], status="ACTIVE")
    web.wait_running(service, 1)


def test_a_deleted_service_drains_and_its_name_is_free_again_only_then(project, lab):
    web = project(hosts=1)
    service = web.service("0.0.1", 1)
    web.wait_in_service(1)
    lab.ecs.delete_service(cluster=web.cluster, service=service, force=True)
    assert web.describe(service)["status"] == "DRAINING"
    with pytest.raises(lab.ecs.exceptions.InvalidParameterException, match="still Draining"):
        web.service("0.0.1", 1)
    with pytest.raises(lab.ecs.exceptions.ServiceNotActiveException):
        web.scale(service, 2)
    wait_for(lambda: web.describe(service)["status"] == "INACTIVE", "the service is gone")
    with pytest.raises(lab.ecs.exceptions.ServiceNotActiveException):
        web.scale(service, 2)
    assert lab.ecs.list_services(cluster=web.cluster)["serviceArns"] == []
    web.wait_running(web.service("0.0.1", 1), 1)

"""Images that fail, hosts that die, capacity that is given back."""

import pytest
from botocore.exceptions import ClientError
from conftest import wait_for


def test_an_image_that_crashes_is_restarted_for_ever(project, lab):
    lab.settings(behaviours=[{"match": "0.0.5", "behaviour": "crash"}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    wait_for(lambda: len(web.tasks(service, "STOPPED")) >= 3, "three crashes")
    dead = web.tasks(service, "STOPPED")[0]
    assert (dead["lastStatus"], dead["stopCode"], dead["stoppedReason"]) == (
        "STOPPED", "EssentialContainerExited", "Essential container in task exited")
    assert dead["containers"][0]["exitCode"] == 1
    web.wait_event(service, "is unable to consistently start tasks successfully")
    assert web.describe(service)["deployments"][0]["failedTasks"] >= 3


def test_a_crash_can_come_late(project, lab):
    lab.settings(behaviours=[{"match": "0.0.5", "behaviour": "crash", "delay_ms": 600}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    web.wait_in_service(1)
    wait_for(lambda: web.tasks(service, "STOPPED"), "it crashes after it was in service")


def test_an_image_that_never_becomes_healthy_is_stopped_and_tried_again(project, lab):
    lab.settings(behaviours=[{"match": "0-0-5", "behaviour": "unhealthy"}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    wait_for(lambda: [t for t in web.tasks(service) if t["lastStatus"] == "RUNNING"], "it runs")
    dead = wait_for(lambda: [t for t in web.tasks(service, "STOPPED") if t["lastStatus"] == "STOPPED"], "it is stopped")[0]
    assert dead["stoppedReason"] == f"Task failed ELB health checks in (elb {web.balancer})"
    assert f"is unhealthy in (elb {web.balancer}) due to (reason Instance has failed" in web.events(service)
    wait_for(lambda: len(web.tasks(service, "STOPPED")) > 1, "it is tried again")
    assert all(s["elbs"].get(web.balancer, {}).get("in_service_total", 0) == 0 for s in lab.record()["samples"])


def test_a_sick_task_is_spared_until_its_services_grace_period_is_over(project, lab):
    lab.settings(behaviours=[{"match": "0-0-5", "behaviour": "unhealthy"}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1, healthCheckGracePeriodSeconds=60)
    assert web.describe(service)["healthCheckGracePeriodSeconds"] == 60
    wait_for(lambda: web.tasks(service, "STOPPED"), "it is stopped all the same")
    when = {}
    for event in lab.record()["events"]:
        when.setdefault((event["kind"], event.get("service")), event["t_ms"])
    assert when["task_stopping", service] - when["task_running", service] >= 590


def test_a_task_that_warms_up_longer_than_its_load_balancer_waits_needs_a_grace_period(project, lab):
    lab.settings(behaviours=[{"match": "0-0-5", "behaviour": "warms_up", "delay_ms": 600}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    wait_for(lambda: len(web.tasks(service, "STOPPED")) > 1, "it is stopped again and again")
    assert web.describe(service)["healthCheckGracePeriodSeconds"] == 0
    before = web.describe(service)["deployments"]
    lab.ecs.update_service(cluster=web.cluster, service=service, healthCheckGracePeriodSeconds=100)
    web.wait_in_service(1)
    after = web.describe(service)
    assert after["healthCheckGracePeriodSeconds"] == 100
    assert [d["id"] for d in after["deployments"]] == [d["id"] for d in before], "no task is replaced for it"


def test_an_image_that_cannot_be_pulled_never_runs(project, lab):
    lab.settings(behaviours=[{"match": "task:1", "behaviour": "cannot_pull"}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    dead = wait_for(lambda: web.tasks(service, "STOPPED"), "the pull fails")[0]
    assert dead["stopCode"] == "TaskFailedToStart" and dead["stoppedReason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in dead["containers"][0] and dead["containers"][0]["reason"].startswith("CannotPullContainerError")
    assert not [e for e in lab.record()["events"] if e["kind"] == "task_running" and e["service"] == service]


def test_stopped_tasks_are_forgotten_after_a_while(project, lab):
    lab.settings(behaviours=[{"match": "0.0.5", "behaviour": "crash"}])
    web = project(hosts=1)
    service = web.service("0.0.5", 1)
    arn = wait_for(lambda: web.tasks(service, "STOPPED"), "a crash")[0]["taskArn"]
    lab.settings(stopped_task_ttl_ms=100)
    wait_for(lambda: lab.ecs.describe_tasks(cluster=web.cluster, tasks=[arn])["failures"], "the task is forgotten")


def test_a_slow_image_stays_pending_longer(project, lab):
    lab.settings(behaviours=[{"match": "0.0.5", "behaviour": "slow", "delay_ms": 700}])
    web = project(hosts=2)
    quick, slow = web.service("0.0.4", 1), web.service("0.0.5", 1)
    web.wait_running(quick, 1)
    web.wait_running(slow, 1)
    when = {(e["kind"], e.get("service")): e["t_ms"] for e in lab.record()["events"]}
    assert when["task_running", slow] - when["task_started", slow] >= 700 > when["task_running", quick] - when["task_started", quick]


def test_a_dead_host_is_replaced_and_its_task_placed_again(project, lab):
    web = project(hosts=2)
    web.wait_hosts(2)
    service = web.service("0.0.1", 2)
    web.wait_in_service(2)
    dead = lab.call("POST", "kill-host", {"service": service})["instance_id"]
    assert dead not in web.in_service()
    assert not next(h for h in web.hosts() if h["ec2InstanceId"] == dead)["agentConnected"]
    wait_for(lambda: dead not in {h["ec2InstanceId"] for h in web.hosts()}, "the dead host left the cluster")
    web.wait_in_service(2)
    assert len(web.wait_hosts(2)) == 2
    assert [(e["cause"], e["instance_id"]) for e in lab.record()["live_tasks_killed"]] == [("kill-host", dead)]
    assert web.tasks(service, "STOPPED")[0]["stoppedReason"] == f"Host EC2 (instance {dead}) terminated."


def test_terminating_an_empty_host_kills_nothing(project, lab):
    web = project(hosts=2)
    hosts = web.wait_hosts(2)
    service = web.service("0.0.1", 1)
    web.wait_in_service(1)
    busy = web.tasks(service)[0]["containerInstanceArn"]
    empty = next(h["ec2InstanceId"] for h in hosts if h["containerInstanceArn"] != busy)
    lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=empty, ShouldDecrementDesiredCapacity=True)
    assert lab.record()["live_tasks_killed"] == []
    assert [h["containerInstanceArn"] for h in web.wait_hosts(1)] == [busy]
    group = lab.asg.describe_auto_scaling_groups(AutoScalingGroupNames=[web.group])["AutoScalingGroups"][0]
    assert (group["DesiredCapacity"], len(group["Instances"])) == (1, 1)
    assert empty not in web.health() and len(web.in_service()) == 1


def test_an_instance_that_never_joins_runs_and_is_replaced_when_it_is_ended(project, lab):
    assert lab.call("POST", "stillborn", {"count": 1, "age_ms": 600_000}) == {"stillborn": 1}
    web = project(hosts=2)
    joined = {h["ec2InstanceId"] for h in web.wait_hosts(1)}

    def instances() -> dict:
        group = lab.asg.describe_auto_scaling_groups(AutoScalingGroupNames=[web.group])["AutoScalingGroups"][0]
        ids = [i["InstanceId"] for i in group["Instances"] if i["LifecycleState"] == "InService"]
        named = [{"Name": "instance-id", "Values": ids}, {"Name": "instance-state-name", "Values": ["running"]}]
        found = lab.ec2.describe_instances(Filters=named)["Reservations"]
        return {i["InstanceId"]: i["LaunchTime"] for r in found for i in r["Instances"]}

    before = instances()
    [stillborn] = before.keys() - joined
    assert (before[joined.pop()] - before[stillborn]).total_seconds() > 590
    lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=stillborn, ShouldDecrementDesiredCapacity=False)
    web.wait_hosts(2)
    assert len(instances()) == 2 and stillborn not in instances()
    with pytest.raises(ValueError, match="count must be"):
        lab.call("POST", "stillborn", {"count": 0})


def test_terminating_a_busy_host_is_recorded(project, lab):
    web = project(hosts=1)
    service = web.service("0.0.1", 1)
    busy = web.wait_in_service(1)[0]
    lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=busy, ShouldDecrementDesiredCapacity=True)
    killed = lab.record()["live_tasks_killed"]
    assert [(e["service"], e["instance_id"], e["last_status"], e["cause"]) for e in killed] == [
        (service, busy, "RUNNING", "TerminateInstanceInAutoScalingGroup")]


def test_lowering_the_desired_capacity_kills_tasks_and_is_recorded(project, lab):
    web = project(hosts=2)
    web.wait_hosts(2)
    web.service("0.0.1", 2)
    web.wait_in_service(2)
    lab.asg.set_desired_capacity(AutoScalingGroupName=web.group, DesiredCapacity=1)
    assert [e["cause"] for e in lab.record()["live_tasks_killed"]] == ["SetDesiredCapacity"]


def test_a_task_killed_while_it_drains_is_told_apart(project, lab):
    lab.settings(drain_delay_ms=5000)
    web = project(hosts=1)
    service = web.service("0.0.1", 1)
    busy = web.wait_in_service(1)[0]
    web.scale(service, 0)
    wait_for(lambda: web.tasks(service, "STOPPED"), "it drains")
    lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=busy, ShouldDecrementDesiredCapacity=True)
    record = lab.record()
    assert record["live_tasks_killed"] == [] and [e["kind"] for e in record["events"]].count("draining_task_killed") == 1


def test_a_group_keeps_within_its_sizes(project, lab):
    web = project(hosts=1, max_hosts=2)
    with pytest.raises(ClientError, match="above max value 2"):
        lab.asg.set_desired_capacity(AutoScalingGroupName=web.group, DesiredCapacity=3)
    lab.asg.update_auto_scaling_group(AutoScalingGroupName=web.group, MinSize=1)
    host = web.wait_hosts(1)[0]["ec2InstanceId"]
    with pytest.raises(ClientError, match="desiredSize equals minSize"):
        lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=host, ShouldDecrementDesiredCapacity=True)
    lab.asg.update_auto_scaling_group(AutoScalingGroupName=web.group, MinSize=0)

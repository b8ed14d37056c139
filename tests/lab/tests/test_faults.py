"""Throttling, faults before and after the effect, and the record."""

import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from conftest import wait_for


def throttling(call, **asked) -> tuple[int, str]:
    for _ in range(500):
        try:
            call(**asked)
        except ClientError as e:
            return e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Code"]
    raise AssertionError("500 calls and none was throttled")


def test_each_service_throttles_in_its_own_words(project, lab):
    web = project()
    lab.settings(throttle=True, throttle_scale=0.05)
    assert throttling(lab.ecs.describe_services, cluster=web.cluster, services=["x"]) == (400, "ThrottlingException")
    assert throttling(lab.elb.describe_load_balancers) == (400, "Throttling")
    assert throttling(lab.ec2.describe_instances) == (503, "RequestLimitExceeded")
    record = lab.record()
    assert record["throttled"] == {"DescribeServices": 1, "DescribeLoadBalancers": 1, "DescribeInstances": 1}
    assert record["calls"]["DescribeServices"] > 1


def test_a_bucket_fills_again(project, lab):
    web = project()
    lab.settings(throttle=True)
    start = time.monotonic()
    allowed = 0
    while time.monotonic() - start < 20:
        try:
            lab.ecs.register_task_definition(family=web.name, containerDefinitions=[{"name": "a", "image": "b", "memory": 1}])
            allowed += 1
        except ClientError:
            break
    # Burst 20, one more a second.
    assert 20 <= allowed <= 21 + (time.monotonic() - start)
    wait_for(lambda: not fails(lab, web.name), "a token after about a second", 5)


def fails(lab, family) -> bool:
    try:
        lab.ecs.register_task_definition(family=family, containerDefinitions=[{"name": "a", "image": "b", "memory": 1}])
        return False
    except ClientError:
        return True


def test_an_error_before_the_effect_leaves_things_as_they_were(project, lab):
    web = project()
    service = web.service("0.0.1", 0)
    lab.call("POST", "faults", {"action": "UpdateService", "fault": "error500", "count": 1})
    with pytest.raises(ClientError) as caught:
        web.scale(service, 2)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert caught.value.response["Error"]["Code"] == "ServerException"
    assert web.describe(service)["desiredCount"] == 0
    web.scale(service, 2)
    assert web.describe(service)["desiredCount"] == 2
    assert lab.record()["faulted"] == {"UpdateService": 1}


def test_an_error_after_the_effect_comes_too_late(project, lab):
    web = project()
    service = web.service("0.0.1", 0)
    lab.call("POST", "faults", {"action": "UpdateService", "fault": "error_after_effect", "count": 1})
    with pytest.raises(ClientError):
        web.scale(service, 2)
    assert web.describe(service)["desiredCount"] == 2


@pytest.mark.parametrize("fault, desired", [("reset", 0), ("reset_after_effect", 2)])
def test_a_reset_breaks_the_connection_before_or_after_the_effect(project, lab, fault, desired):
    web = project()
    service = web.service("0.0.1", 0)
    lab.call("POST", "faults", {"action": "UpdateService", "fault": fault, "count": 1})
    with pytest.raises(ConnectionClosedError):
        web.scale(service, 2)
    assert web.describe(service)["desiredCount"] == desired


@pytest.mark.parametrize("client, call, code", [
    ("elb", "describe_load_balancers", "Throttling"), ("asg", "describe_auto_scaling_groups", "Throttling"),
    ("ec2", "describe_instances", "RequestLimitExceeded"), ("ecs", "list_clusters", "ThrottlingException"),
    ("ssm", "describe_parameters", "ThrottlingException")])
def test_a_throttle_fault_speaks_each_protocol(lab, client, call, code):
    lab.call("POST", "faults", {"action": "*", "fault": "throttle", "count": 1})
    with pytest.raises(ClientError) as caught:
        getattr(getattr(lab, client), call)()
    assert caught.value.response["Error"]["Code"] == code
    getattr(getattr(lab, client), call)()


def test_a_slow_answer_is_slow_and_holds_up_nobody_else(lab):
    import threading

    lab.call("POST", "faults", {"action": "ListClusters", "fault": "slow", "delay_ms": 1500, "count": 1})
    start, done = time.monotonic(), []
    thread = threading.Thread(target=lambda: done.append((lab.client("ecs").list_clusters(), time.monotonic() - start)))
    thread.start()
    wait_for(lambda: lab.record()["faulted"], "the slow call is under way")
    lab.ecs.list_clusters()
    assert not done
    thread.join()
    assert done[0][1] >= 1.5


def test_a_seed_repeats_the_same_faults(lab):
    def run() -> str:
        lab.call("DELETE", "faults")
        lab.call("POST", "faults", {"action": "ListClusters", "fault": "throttle", "probability": 0.5, "seed": 7})
        return "".join("x" if fails_once(lab) else "." for _ in range(20))

    first = run()
    assert first == run() and set(first) == {"x", "."}


def fails_once(lab) -> bool:
    try:
        lab.ecs.list_clusters()
        return False
    except ClientError:
        return True


def test_a_fault_can_wait_for_its_turn(lab):
    lab.call("POST", "faults", {"action": "ListClusters", "fault": "throttle", "after": 2, "count": 1})
    assert [fails_once(lab) for _ in range(4)] == [False, False, True, False]


def test_mistaken_settings_and_faults_are_refused_whole(lab):
    before = lab.call("GET", "settings")
    for wrong in ({"boot_delay_ms": 1, "bot_delay_ms": 1}, {"boot_delay_ms": "1"}, {"tick_ms": -1},
                  {"behaviours": [{"match": "x", "behaviour": "explode"}]}):
        with pytest.raises(ValueError):
            lab.settings(**wrong)
    assert lab.call("GET", "settings") == before
    with pytest.raises(ValueError):
        lab.call("POST", "faults", {"action": "*", "fault": "explode"})
    with pytest.raises(ValueError):
        lab.call("GET", "nothing")


def test_a_call_that_the_lab_cannot_do_is_an_error_of_the_protocol(lab):
    with pytest.raises(ClientError) as caught:
        lab.asg.start_instance_refresh(AutoScalingGroupName="x")
    assert caught.value.response["Error"]["Code"] == "InvalidAction"


def test_the_fingerprint_has_no_ids_and_is_the_same_for_the_same_work(project, lab):
    def shape(web) -> str:
        whole = lab.call("GET", "fingerprint")
        assert "i-" not in str(whole["groups"]) and "arn:" not in str(whole)
        mine = {kind: {k: v for k, v in value.items() if k.startswith(f"{web.name}-")} for kind, value in whole.items()
                if isinstance(value, dict)}
        return str(mine).replace(web.name, "app")

    shapes = []
    for _ in range(2):
        web = project(hosts=2)
        web.wait_hosts(2)
        web.service("0.0.1", 2)
        web.wait_in_service(2)
        shapes.append(shape(web))
    assert shapes[0] == shapes[1]
    assert "'desired': 2, 'running': 2, 'pending': 0, 'image': 'acme/app:0.0.1'" in shapes[0]
    state = lab.call("GET", "state")
    assert len([t for t in state["tasks"] if t["service"] == f"{web.name}-0-0-1" and t["healthy"]]) == 2


def test_a_shift_by_free_hosts_never_drops_below_the_floor(project, lab):
    web = project(hosts=3)
    web.wait_hosts(3)
    old = web.service("0.0.4", 3)
    web.wait_in_service(3)
    lab.call("POST", "reset-record")
    new = web.service("0.0.5", 0)
    lab.asg.set_desired_capacity(AutoScalingGroupName=web.group, DesiredCapacity=4)
    web.wait_hosts(4)
    for step in (1, 2, 3):
        web.scale(new, step)
        web.wait_in_service(4)
        web.scale(old, 3 - step)
        wait_for(lambda: all(t["lastStatus"] == "STOPPED" for t in web.tasks(old, "STOPPED")) and len(web.tasks(old)) == 3 - step,
                 "the old task stopped")
    empty = next(h["ec2InstanceId"] for h in web.hosts() if h["runningTasksCount"] == 0)
    lab.asg.terminate_instance_in_auto_scaling_group(InstanceId=empty, ShouldDecrementDesiredCapacity=True)
    record = lab.record()
    assert min(s["elbs"][web.balancer]["in_service_total"] for s in record["samples"]) == 3
    assert record["live_tasks_killed"] == []
    assert record["samples"][-1]["elbs"][web.balancer]["by_service"] == {old: 0, new: 3}

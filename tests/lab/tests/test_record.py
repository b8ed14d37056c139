"""The record of what happened."""

from conftest import wait_for


def test_time_counts_in_which_something_is_on_its_way(project, lab):
    web = project(hosts=1)
    service = web.service("0.0.1", 1)
    web.wait_in_service(1)

    def still(ticks=10):
        before, end = lab.record(), lab.record()["t_ms"] + ticks * lab.settings()["tick_ms"]
        wait_for(lambda: lab.record()["t_ms"] >= end, "some ticks")
        return lab.record()["moving_ms"] == before["moving_ms"]

    wait_for(still, "everything to stand still")
    lab.settings(drain_delay_ms=700)
    before = lab.record()
    lab.ecs.update_service(cluster=web.cluster, service=service, desiredCount=0)
    gone = lambda: not [t for t in lab.call("GET", "state")["tasks"] if t["service"] == service]
    wait_for(gone, "the task to be gone")
    wait_for(still, "everything to stand still again")
    after = lab.record()
    assert 700 <= after["moving_ms"] - before["moving_ms"] < after["t_ms"] - before["t_ms"]

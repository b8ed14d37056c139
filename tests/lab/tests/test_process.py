"""The process itself: where it listens and when it ends."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, wait_for

# A parent that starts the lab, says its pid and waits.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "brain_lab", "--ready-file", sys.argv[1], "--exit-with-parent"])
print(child.pid, flush=True)
time.sleep(60)
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_lab_ends_when_its_parent_is_killed(tmp_path):
    ready = tmp_path / "ready.json"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(ready)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        lab = int(parent.stdout.readline())
        wait_for(ready.exists, "the lab is ready", 60)
        parent.kill()
    wait_for(lambda: not running(lab), "the lab ends after its parent", 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_lab_ends_in_order_on_a_signal(tmp_path, number):
    ready = tmp_path / "ready.json"
    with subprocess.Popen([sys.executable, "-m", "brain_lab", "--ready-file", str(ready)], cwd=ROOT, stdout=subprocess.PIPE,
                          text=True, env=os.environ) as lab:
        wait_for(ready.exists, "the lab is ready", 60)
        assert lab.stdout.readline() == ready.read_text() + "\n"
        lab.send_signal(number)
        assert lab.wait(10) == 0


def test_the_lab_listens_on_loopback_only(process):
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert [a.split(":")[0] for a in listening if int(a.split(":")[1], 16) == process] == ["0100007F"]


def test_connections_are_kept_open(process):
    connection = http.client.HTTPConnection("127.0.0.1", process, timeout=10)
    used = set()
    for _ in range(3):
        connection.request("GET", "/_lab/settings")
        connection.getresponse().read()
        used.add(connection.sock.getsockname())
    assert len(used) == 1

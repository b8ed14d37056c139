"""The /_lab endpoints. They read and change the lab itself, and never stand in for an AWS call."""

import json
from urllib.parse import parse_qs

from brain_lab import hosts, views
from brain_lab.cloud import Cloud


def answer(cloud: Cloud, environ, body: bytes) -> tuple[str, bytes]:
    call = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO'].removeprefix('/_lab/')}"
    query = {k: v[0] for k, v in parse_qs(environ.get("QUERY_STRING", "")).items()}
    try:
        with cloud.lock:
            result = act(cloud, call, json.loads(body or b"{}"), query)
        status = "200 OK"
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        status, result = "400 Bad Request", {"error": str(e)}
    return status, json.dumps(result).encode()


def act(cloud: Cloud, call: str, asked, query: dict):
    match call:
        case "GET settings":
            return cloud.settings.as_dict()
        case "POST settings":
            cloud.settings.change(asked)
            if "throttle" in asked or "throttle_scale" in asked:
                cloud.throttle.reset()
            return cloud.settings.as_dict()
        case "POST faults":
            cloud.faults.add(asked)
            return {"faults": cloud.faults.rules}
        case "GET faults":
            return {"faults": cloud.faults.rules}
        case "DELETE faults":
            cloud.faults.clear()
            return {"faults": []}
        case "POST kill-host":
            return {"instance_id": hosts.kill(cloud, asked.get("instance_id"), asked.get("service"))}
        case "POST stillborn":
            hosts.stillborn(cloud, asked.get("count", 1), asked.get("age_ms", 0))
            return {"stillborn": len(cloud.stillborn_ms)}
        case "POST reset-record":
            cloud.record.reset()
            return {}
        case "GET record":
            return cloud.record.as_dict(int(query.get("since_ms", 0)))
        case "GET state":
            return views.state(cloud)
        case "GET fingerprint":
            return views.fingerprint(cloud)
    raise LookupError(f"no such endpoint: {call}")

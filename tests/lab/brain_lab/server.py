"""The process: one port for AWS calls and for /_lab, one ticking thread. It passes calls to moto and keeps no state."""

import argparse
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import brain_lab.quick_start  # noqa: F401, before moto
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from brain_lab import aws_answers, cbor, control, control_loop, health, hosts, other_answers, target_groups
from brain_lab.cloud import REGION, Cloud
from brain_lab.http import ConnectionBroken, Server

# What each service says when it throttles and when it fails: code and status.
THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "elasticloadbalancing": ("Throttling", 400), "autoscaling": ("Throttling", 400)}
DENIED = {"ec2": ("UnauthorizedOperation", 403), "elasticloadbalancing": ("AccessDenied", 403), "autoscaling": ("AccessDenied", 403), "sts": ("AccessDenied", 403)}
BROKEN = {"ec2": "InternalError", "ecs": "ServerException", "ssm": "InternalServerError"}
READS = ("Describe", "List", "Get")
# Calls that AWS makes idempotent by token and moto does not.
BY_TOKEN = ("CreateLaunchTemplate", "CreateLaunchTemplateVersion")


class Application:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.moto = cloud, DomainDispatcherApplication(create_backend_app)
        self.answered: dict[tuple, tuple] = {}

    def __call__(self, environ, body: bytes):
        if environ["PATH_INFO"].startswith("/_lab/"):
            status, content = control.answer(self.cloud, environ, body)
            return status, [("Content-Type", "application/json")], content
        if not environ["PATH_INFO"].startswith(cbor.PREFIX):
            return self.call(environ, body, *name_call(environ, body))
        body = cbor.to_json(environ, body)
        return cbor.from_json(self.call(environ, body, *name_call(environ, body)))

    def call(self, environ, body: bytes, service: str, action: str):
        cloud = self.cloud
        with cloud.lock:
            cloud.record.calls[action] += 1
            if cloud.settings.throttle and not cloud.throttle.allows(service, action, cloud.settings.throttle_scale):
                cloud.record.throttled[action] += 1
                return throttled(service)
            rule = cloud.faults.choose(action)
            cloud.record.faulted.update([action] if rule else [])
        fault = rule["fault"] if rule else None
        if fault == "throttle":
            return throttled(service)
        if fault == "error500":
            return broken(service)
        if fault == "denied":
            return denied(service, action)
        if fault == "reset":
            raise ConnectionBroken
        if fault == "slow":
            time.sleep(rule["delay_ms"] / 1000)
        with cloud.lock:
            cloud.cause = action
            answer = self.perform(environ, body, service, action)
            cloud.cause = "lab"
            if not action.startswith(READS):
                health.sample(cloud)
        if fault == "error_after_effect":
            return broken(service)
        if fault == "reset_after_effect":
            raise ConnectionBroken
        return answer

    def perform(self, environ, body: bytes, service: str, action: str):
        form = parse_qs(body.decode()) if action in BY_TOKEN else {}
        key = (action, form["ClientToken"][0]) if "ClientToken" in form else None
        if key in self.answered:
            asked, answer = self.answered[key]
            return answer if asked == body else error(service, 400, "IdempotentParameterMismatch", "the token was used with other parameters")
        try:
            answer = self.ask_moto(environ, body)
        except NotImplementedError as e:
            return error(service, 400, "InvalidAction", f"the lab cannot do {action}: {e}")
        except Exception as e:
            traceback.print_exc()
            return error(service, 500, "InternalFailure", f"the lab failed in {action}: {e!r}")
        if not answer[0].startswith("2"):
            self.cloud.record.errors[f"{action} {code_in(answer)}"] += 1
        elif key:
            self.answered[key] = (body, answer)
        return answer

    def ask_moto(self, environ, body: bytes):
        environ["wsgi.input"], got = io.BytesIO(body), []
        chunks = self.moto(environ, lambda status, headers, exc_info=None: got.append((status, headers)))
        answer = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        return *got[0], answer

    def warm_up(self) -> None:
        """Loads moto's services now, so that the first calls are as quick as the rest."""
        for service in ("ecs", "ec2", "elasticloadbalancing", "autoscaling", "ssm", "sts", "iam", "monitoring"):
            self.moto.get_application({
                "HTTP_AUTHORIZATION": f"AWS4 Credential=x/20200101/{REGION}/{service}/aws4_request, x", "HTTP_HOST": "lab"})


def name_call(environ, body: bytes) -> tuple[str, str]:
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
    service = scope[3] if len(scope) > 3 else "unknown"
    if environ.get("HTTP_X_AMZ_TARGET"):
        return service, environ["HTTP_X_AMZ_TARGET"].split(".")[-1]
    action = parse_qs(body.decode(errors="replace")).get("Action") or parse_qs(environ.get("QUERY_STRING", "")).get("Action")
    return service, action[0] if action else environ["PATH_INFO"].rsplit("/", 1)[-1] or "unknown"


def throttled(service: str):
    code, status = THROTTLED.get(service, ("ThrottlingException", 400))
    return error(service, status, code, "Rate exceeded" if status == 400 else "Request limit exceeded.")


def denied(service: str, action: str):
    code, status = DENIED.get(service, ("AccessDeniedException", 400))
    return error(service, status, code, f"User: arn:aws:iam::123456789012:user/brain is not authorized to perform: {service}:{action}")


def broken(service: str):
    return error(service, 500, BROKEN.get(service, "InternalFailure"), "Service Unavailable. Please try again later.")


def error(service: str, status: int, code: str, message: str):
    """An error in the service's own protocol: JSON, EC2's XML or the query protocol's XML."""
    kind, text = "text/xml", escape(message)
    headers = [("x-amzn-RequestId", "lab")]
    if service == "ec2":
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors><RequestID>lab</RequestID></Response>"
    elif service in ("elasticloadbalancing", "autoscaling", "sts", "iam"):
        who = "Sender" if status < 500 else "Receiver"
        body = f"<ErrorResponse><Error><Type>{who}</Type><Code>{code}</Code><Message>{text}</Message></Error><RequestId>lab</RequestId></ErrorResponse>"
    else:
        kind, body = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
        headers.append(("x-amzn-ErrorType", code))
    return f"{status} {code}", [("Content-Type", kind), *headers], body.encode()


def code_in(answer) -> str:
    text = answer[2].decode(errors="replace")
    if text.startswith("{"):
        return json.loads(text).get("__type", "?").split("#")[-1]
    return text.partition("<Code>")[2].partition("</Code>")[0] or answer[0]


def tick_for_ever(cloud: Cloud, parent: int | None, stop: threading.Event) -> None:
    while not stop.wait(cloud.settings.tick_ms / 1000):
        with cloud.lock:
            try:
                hosts.tick(cloud)
                control_loop.tick(cloud)
                health.sample(cloud)
            except Exception:
                traceback.print_exc()
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(prog="brain_lab")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--exit-with-parent", action="store_true")
    options = parser.parse_args()
    cloud, stop = Cloud(), threading.Event()
    hosts.patch(cloud)
    aws_answers.patch(cloud)
    other_answers.patch(cloud)
    target_groups.patch(cloud)
    application = Application(cloud)
    application.warm_up()
    server = Server(options.port, application)
    # shutdown() waits for serve_forever, which runs in this very thread: call it from another.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    parent = os.getppid() if options.exit_with_parent else None
    threading.Thread(target=tick_for_ever, args=(cloud, parent, stop), daemon=True).start()
    ready = json.dumps({"port": server.server_port})
    if options.ready_file:
        unfinished = options.ready_file.with_suffix(".unfinished")
        unfinished.write_text(ready)
        unfinished.replace(options.ready_file)
    print(ready, flush=True)
    server.serve_forever()
    stop.set()
    sys.stdout.flush()
    os._exit(0)

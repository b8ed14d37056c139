"""A collector of spans, by OpenTelemetry's own messages: OTLP over HTTP, binary protobuf.

Usage: span_collector.py FOLDER

Serves /v1/traces on a free port of 127.0.0.1, writes the port to FOLDER/port, and appends each span that it is sent to
FOLDER/spans.jsonl.
"""

import http.server
import json
import pathlib
import sys
import threading

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

FOLDER = pathlib.Path(sys.argv[1])
LOCK = threading.Lock()


def values(attributes):
    """Attributes as a plain dictionary."""
    return {attribute.key: attribute.value.string_value for attribute in attributes}


def spans(request):
    """Every span with its service, in one line each."""
    for group in request.resource_spans:
        resource = values(group.resource.attributes)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield {
                    "service": resource.get("service.name", ""),
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "from": span.start_time_unix_nano,
                    "to": span.end_time_unix_nano,
                    "attributes": values(span.attributes),
                    "status": MessageToDict(span.status),
                }


class Handler(http.server.BaseHTTPRequestHandler):
    """The one path."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            self.send_error(404)
            return
        lines = "".join(json.dumps(span) + "\n" for span in spans(ExportTraceServiceRequest.FromString(body)))
        with LOCK, (FOLDER / "spans.jsonl").open("a") as file:
            file.write(lines)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready = FOLDER / "port.new"
    ready.write_text(str(server.server_port))
    ready.rename(FOLDER / "port")
    server.serve_forever()


main()

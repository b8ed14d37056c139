"""A small HTTP/1.1 server with keep-alive: reads each request whole, hands it to one application, writes the answer whole.

werkzeug's own server closes after every answer and drains the socket for 10 ms, which loses requests once it is kept open.
"""

import socket
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO


class ConnectionBroken(Exception):
    """Raised by the application to break the connection with a TCP reset and no answer."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it the end of an answer can wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, headers, content = self.server.application(self.environ(body), body)
        except ConnectionBroken:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self._headers_buffer.append(b"\r\n" + (b"" if self.command == "HEAD" else content))
        self.flush_headers()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def environ(self, body: bytes) -> dict:
        path, _, query = self.path.partition("?")
        environ = {
            "REQUEST_METHOD": self.command, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_URI": self.path,
            "RAW_URI": self.path, "SERVER_PROTOCOL": self.request_version, "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.server_port), "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": BytesIO(body), "wsgi.errors": sys.stderr,
            "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", value)
        return environ

    def log_message(self, *args) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many agents connect at once; the default queue of 5 refuses some of them.
    request_queue_size = 128

    def __init__(self, port: int, application) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.application = application

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no news."""

    def shutdown_request(self, request) -> None:
        # Not the polite shutdown of the base class: close() alone sends a reset where a fault asked for one.
        self.close_request(request)

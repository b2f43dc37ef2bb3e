"""A tiny web page that names its server and its version, and leaves without losing a request.

`hello.py` serves on port 8080; `hello.py check` asks that server for its health (exit 0 or 1).
"""

from __future__ import annotations

import html
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

PORT = 8080
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:1.2rem/1.6 system-ui,sans-serif;max-width:30em;margin:15vh auto;padding:0 1em}}
</style>
<h1>{title}</h1>
<p>Served by <b id="server">{server}</b>, version <b id="version">{version}</b>.</p>
</html>
"""


class Server(ThreadingHTTPServer):
    """One thread a connection; knows its page, whether it is leaving, and who is being served."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, title: str, server: str, version: str) -> None:
        super().__init__(("", PORT), Handler)
        fields = {"title": title, "server": server, "version": version}
        self.page = PAGE.format(**{name: html.escape(text) for name, text in fields.items()})
        self.broken = version == "broken"
        self.leaving = threading.Event()
        self.requests = 0
        self.quiet = threading.Condition()

    def leave(self, drain: float) -> None:
        """Answer for `drain` more seconds, until no proxy sends anything, then stop."""
        if self.leaving.is_set():
            return
        self.leaving.set()
        threading.Timer(drain, self.shutdown).start()


class Handler(BaseHTTPRequestHandler):
    """Answers `/health`, and every other path with the page."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 65

    def do_GET(self) -> None:
        """Answer one request."""
        with self.server.quiet:
            self.server.requests += 1
        try:
            if self.path != "/health":
                self._answer(200, "text/html; charset=utf-8", self.server.page)
            elif self.server.leaving.is_set():
                self._answer(503, "text/plain", "leaving\n")
            elif self.server.broken:
                self._answer(500, "text/plain", "broken on purpose\n")
            else:
                self._answer(200, "text/plain", "ok\n")
        finally:
            with self.server.quiet:
                self.server.requests -= 1
                self.server.quiet.notify_all()

    do_HEAD = do_GET

    def handle(self) -> None:
        """Answer a connection's requests; that the other side is gone is no news."""
        with suppress(ConnectionError):
            super().handle()

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.server.leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return what the `Server` header says."""
        return "hello"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the proxy has the access log."""


def serve() -> int:
    """Serve until SIGTERM or SIGINT, and return 0."""
    environment = os.environ
    server = Server(
        environment.get("TITLE") or "Hello",
        environment.get("SERVER") or socket.gethostname(),
        environment.get("VERSION") or "1",
    )
    drain = float(environment.get("DRAIN_SECONDS") or 6)

    def stop(number: int, frame: FrameType | None) -> None:
        server.leave(drain)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.1)
    with server.quiet:
        server.quiet.wait_for(lambda: server.requests == 0, timeout=5)
    return 0


def check() -> int:
    """Return 0 when the server on this machine says that it is healthy."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=2)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        response.read()
        return 0 if response.status == 200 else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["check"] else serve())

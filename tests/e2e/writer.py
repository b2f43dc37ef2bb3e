"""The app of `test_shared_storage.py`: `GET /add/TEXT` is answered when TEXT is a line on disk."""

from __future__ import annotations

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG = Path("/data/log")


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's name; 200 says that the line is there for good."""

    def do_GET(self) -> None:
        """Answer one request."""
        status = 200
        try:
            if self.path.startswith("/add/"):
                with LOG.open("ab", buffering=0) as file:
                    file.write(self.path.removeprefix("/add/").encode() + b"\n")
                    os.fsync(file.fileno())
            else:
                LOG.parent.stat()
        except OSError:
            status = 503
        body = os.environ.get("SERVER", socket.gethostname()).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", 8080), Handler).serve_forever()

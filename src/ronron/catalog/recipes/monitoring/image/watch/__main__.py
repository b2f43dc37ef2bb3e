"""The program: answers Prometheus and Alertmanager over HTTP, or sends a test message.

`/metrics` and `/targets/…` are for Prometheus; Alertmanager posts to `/alerts` and `/alive`.
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import engine, swarm
from .certificates import Certificates
from .channels import Send, channels, secret, settings, tell_alive
from .messages import Message, compose
from .swarm import Memory, Sample, Swarm

PORT = 8000
FRESH = 4.0
"""Seconds for which one look at the swarm serves all who ask."""

RETRIED = 600.0
"""Seconds for which Alertmanager may try a notice again; later it is a repeat, for all channels."""

EXPORTERS = {"/targets/node": ("node", 9100), "/targets/server": ("server", 8001)}


def message_key(notice: Mapping[str, Any]) -> str:
    """What tells a notice that is tried again from another of the same alerts at another time."""
    alerts = [(one["fingerprint"], one["startsAt"], one["status"]) for one in notice["alerts"]]
    return json.dumps([notice.get("groupKey"), sorted(alerts)])


class Watch:
    """The swarm as it was seen last, and what has to be remembered of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory = Memory()
        self._seen: Swarm | None = None
        self._at = -FRESH
        self._certificates = Certificates(Path("/etc/watch/authority.pem"))

    def look(self) -> tuple[Swarm, Memory]:
        """The swarm, at most FRESH seconds old. Raises OSError when no manager answers."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._at >= FRESH:
                self._seen = engine.read()
                self._memory.learn(self._seen)
                self._at = time.monotonic()
            return self._seen, self._memory

    def metrics(self) -> str:
        """Everything for Prometheus; without an answer of the manager, just that."""
        try:
            seen, memory = self.look()
        except OSError:
            return swarm.text([Sample("ronron_swarm_up", {}, 0)])
        found = list(swarm.samples(seen, memory))
        found += self._certificates.samples(swarm.domains(seen))
        return swarm.text(found)

    def targets(self, path: str) -> str:
        """Targets in Prometheus' HTTP service discovery format. Raises KeyError, OSError."""
        if path == "/targets/pages":
            return json.dumps(swarm.pages(*self.look()))
        return json.dumps(self.exporters(path))

    def exporters(self, path: str) -> list[dict[str, Any]]:
        """As `targets`, of those that run on every server."""
        service, port = EXPORTERS[path]
        seen, _ = self.look()
        return swarm.exporters(seen, f"{os.environ['APP']}_{service}", port)

    def errors(self, server: str) -> list[str]:
        """The last errors of a server's journal, empty when there are none to be had."""
        try:
            for one in self.exporters("/targets/server"):
                if one["labels"]["server"] == server:
                    return engine.lines(f"http://{one['targets'][0]}/journal")
        except OSError:
            pass
        return []


def deliver(message: Message, found: dict[str, Send]) -> dict[str, str]:
    """Send a message through all channels at once; why each failed, empty if it did not."""
    with ThreadPoolExecutor(8) as threads:
        failures = threads.map(partial(_failure, message), found.values())
        return dict(zip(found, failures, strict=True))


def _failure(message: Message, send: Send) -> str:
    try:
        send(message)
    except http.client.HTTPException as error:
        # Its text may be the URL, which is a secret.
        return f"{type(error).__name__}: no answer in HTTP, or no URL"
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


class Handler(BaseHTTPRequestHandler):
    """Requests of Prometheus and Alertmanager."""

    watch: Watch
    delivered: dict[str, tuple[float, frozenset[str]]] = {}  # noqa: RUF012 - of the whole program

    def do_GET(self) -> None:
        """Figures and targets."""
        try:
            if self.path == "/health":
                self._answer(200, "ok\n")
            elif self.path == "/metrics":
                self._answer(200, self.watch.metrics())
            else:
                self._answer(200, self.watch.targets(self.path), "application/json")
        except KeyError:
            self._answer(404, "not found\n")
        except OSError as error:
            self._answer(503, f"the manager does not answer: {error}\n")

    def do_POST(self) -> None:
        """What Alertmanager sends. An answer of 500 makes it try again."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/alive":
            url = secret("deadman_url")
            failed = deliver(
                Message("", "", True), {"deadman": lambda _: tell_alive(url)} if url else {}
            )
        elif self.path == "/alerts":
            failed = self._alerts(json.loads(body))
        else:
            self._answer(404, "not found\n")
            return
        wrong = {name: why for name, why in failed.items() if why}
        for name, why in wrong.items():
            print(f"{name}: {why}", file=sys.stderr, flush=True)
        self._answer(500 if wrong else 200, json.dumps(wrong))

    def _alerts(self, notice: dict[str, Any]) -> dict[str, str]:
        """Send a notice; one that is repeated after a failure goes to the channels that failed."""
        site = os.environ.get("SITE", "")
        message = compose(notice, site, engine.last_lines, self.watch.errors)
        key = message_key(notice)
        now = time.monotonic()
        for old in [one for one, (at, _) in self.delivered.items() if now - at > RETRIED]:
            del self.delivered[old]
        _, done = self.delivered.pop(key, (now, frozenset()))
        found = channels(settings(), os.environ)
        result = deliver(message, {k: send for k, send in found.items() if k not in done})
        if any(result.values()):
            arrived = frozenset(name for name, why in result.items() if not why)
            self.delivered[key] = (now, done | arrived)
        return result

    def _answer(self, status: int, text: str, kind: str = "text/plain; version=0.0.4") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged: there is one every few seconds."""


def main(arguments: Sequence[str]) -> int:
    """Serve; `test` sends a message through every channel, `check` asks whether all is well."""
    if arguments == ["check"]:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=3):
            return 0
    if arguments == ["test"]:
        site = os.environ.get("SITE", "")
        text = "This is a test: nothing is wrong.\nnext: ronron alerts list\n"
        message = Message(f"[{site}] TEST: alerts of {site} arrive here", text, True)
        print(json.dumps(deliver(message, channels(settings(), os.environ))))
        return 0
    Handler.watch = Watch()
    with ThreadingHTTPServer(("", PORT), Handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which alerts are one message, and which none: an Alertmanager with the recipe's settings."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ronron.catalog.recipe import find
from serving import serving

PROGRAM = "prometheus-alertmanager"
SECONDS = 30
pytestmark = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason=f"needs {PROGRAM}: scripts/interpreters"
)


class Watch(ThreadingHTTPServer):
    """Where Alertmanager sends what people are told: each notice is kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.notices: list[dict[str, Any]] = []

    def told(self) -> list[list[str]]:
        """The names of the alerts of each notice to people."""
        return [
            sorted(alert["labels"]["alertname"] for alert in notice["alerts"])
            for notice in list(self.notices)
        ]


class _Keep(BaseHTTPRequestHandler):
    server: Watch

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/alerts":
            self.server.notices.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """The notices are kept."""


def within(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


@pytest.fixture
def watch() -> Iterator[Watch]:
    with serving(Watch()) as server:
        yield server


@pytest.fixture
def port(tmp_path: Path, watch: Watch) -> Iterator[int]:
    """The port of an Alertmanager that waits for seconds where a site's waits for half a minute."""
    text = (find("monitoring").folder / "alertmanager.yml").read_text()
    for old, new in (
        ("//watch:8000/", f"//127.0.0.1:{watch.server_port}/"),
        ("group_wait: 15s", "group_wait: 1s"),
        ("group_interval: 30s", "group_interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "alertmanager.yml"
    config.write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    argv = (
        PROGRAM, f"--config.file={config}", f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{number}", "--cluster.listen-address=",
    )  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        within(lambda: ready(number))
        yield number
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    try:
        return asked(port, "GET", "/-/ready") == 200
    except OSError:
        return False


def asked(port: int, method: str, path: str, body: object = None) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        kind = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, kind)
        return connection.getresponse().status


def alert(name: str, **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, **labels}}


def test_what_follows_from_a_dead_server_is_not_told(port: int, watch: Watch) -> None:
    found = [
        alert("ServerGone", server="w2"),
        alert("ExporterGone", server="w2", job="node"),
        alert("ReplicasMissing", server="w2", app="wiki", service="web"),
        alert("DiskFull", server="w1", mountpoint="/"),
        alert("ReplicasMissing", server="w1", app="blog", service="web"),
        alert("AppNotAnswering", server="w1", app="blog"),
        alert("AppNotAnswering", server="w3", app="shop"),
    ]
    assert asked(port, "POST", "/api/v2/alerts", found) == 200
    within(lambda: len(watch.notices) >= 3)
    # A later alert makes its group be told once more, and the others could have been by then.
    assert asked(port, "POST", "/api/v2/alerts", [alert("CpuHigh", server="w3")]) == 200
    within(lambda: len(watch.notices) >= 4)
    assert sorted(watch.told()) == [
        ["AppNotAnswering"],
        ["AppNotAnswering", "CpuHigh"],
        ["DiskFull", "ReplicasMissing"],
        ["ServerGone"],
    ]


def test_while_the_swarm_does_not_answer_apps_and_exporters_are_not_told(
    port: int, watch: Watch
) -> None:
    found = [
        alert("SwarmUnreachable"),
        alert("ExporterGone", instance="watch:8000"),
        alert("AppNotAnswering", app="blog"),
    ]
    assert asked(port, "POST", "/api/v2/alerts", found) == 200
    within(lambda: bool(watch.notices))
    assert asked(port, "POST", "/api/v2/alerts", [alert("ClockWrong")]) == 200
    within(lambda: len(watch.notices) >= 2)
    assert watch.told() == [["SwarmUnreachable"], ["ClockWrong", "SwarmUnreachable"]]

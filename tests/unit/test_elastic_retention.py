"""What the recipe `elastic` deletes: its program against what answers as OpenSearch would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ronron.catalog.recipe import find
from serving import serving

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash"
)
KEPT = {"access": 14, "app": 30, "system": 365}
"""Days, by class."""


def index(kind: str, age: int) -> str:
    return f"ronron-{kind}-{datetime.now(UTC) - timedelta(days=age):%Y.%m.%d}"


class PretendedOpenSearch(ThreadingHTTPServer):
    """Lists and deletes indices by the two requests of OpenSearch's documentation."""

    def __init__(self, indices: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.indices = indices
        self.looks = 0


class _Answer(BaseHTTPRequestHandler):
    server: PretendedOpenSearch

    def do_GET(self) -> None:
        start = self.path.removeprefix("/_cat/indices/").removesuffix("*?h=index")
        found = sorted(name for name in self.server.indices if name.startswith(start))
        self._send("\n".join(found).encode())
        self.server.looks += 1

    def do_DELETE(self) -> None:
        self.server.indices.remove(self.path.removeprefix("/"))
        self._send(b"{}")

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """What is left tells it."""


@pytest.fixture
def search() -> Iterator[PretendedOpenSearch]:
    old = {index(kind, days + 2) for kind, days in KEPT.items()}
    young = {index(kind, days - 1) for kind, days in KEPT.items()}
    others = {".kibana_1", "ronron-access-of-mine", "ronron-access-2001.01.01-kept"}
    with serving(PretendedOpenSearch(old | young | others)) as server:
        yield server


def test_each_class_is_deleted_after_its_own_time(
    search: PretendedOpenSearch, tmp_path: Path
) -> None:
    text = (find("elastic").folder / "retention.sh").read_text()
    assert text.count("http://search:9200/") == 2
    program = tmp_path / "retention.sh"
    program.write_text(text.replace("//search:9200/", f"//127.0.0.1:{search.server_port}/"))
    periods = "access=2w app=30d system=1y"
    before = set(search.indices)
    environment = {"RETENTION": periods, "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(["bash", program], env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while len(search.indices) > len(before) - len(KEPT) or search.looks < len(KEPT):
            assert time.monotonic() < deadline, search.indices
            threading.Event().wait(0.02)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # what it sleeps by, too
        process.wait(10)
    assert before - search.indices == {index(kind, days + 2) for kind, days in KEPT.items()}

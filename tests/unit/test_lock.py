"""The site's lock, taken on this machine as on a manager."""

from __future__ import annotations

import getpass
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ronron.errors import RonronError, ServerError
from ronron.events import Event
from ronron.plan.lock import lock
from ronron.servers.local import LocalRunner

HOLDER = """
import sys
from ronron.plan.lock import lock
from ronron.servers.local import LocalRunner
with lock(LocalRunner(), "ronron apply", sys.argv[1]):
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ronron.lock")


def holder(path: str) -> subprocess.Popen[str]:
    """Another ronron that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_the_second_is_told_who_holds_it_and_since_when(path: str) -> None:
    with (
        lock(LocalRunner(), "ronron deploy blog", path),
        pytest.raises(RonronError) as caught,
        lock(LocalRunner(), "ronron apply", path),
    ):
        pytest.fail("both hold it")
    who = re.escape(f"{getpass.getuser()}@{socket.gethostname()}")
    said = rf"{who} has been doing ronron deploy blog since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.search(said, str(caught.value))
    assert caught.value.exit_code == 1


def test_who_waits_gets_it_when_the_other_is_done_and_is_told_whom_it_waits_for(path: str) -> None:
    process = holder(path)
    told: list[str] = []

    def report(event: Event) -> None:
        told.append(event.detail)
        process.communicate("")

    with lock(LocalRunner(), "second", path, wait=120, report=report):
        assert json.loads(Path(path).read_text())["doing"] == "second"
    assert process.returncode == 0
    assert "has been doing ronron apply since" in told[0]


def test_waiting_has_an_end(path: str) -> None:
    with (
        lock(LocalRunner(), "first", path),
        pytest.raises(RonronError, match="is locked"),
        lock(LocalRunner(), "second", path, wait=0.1),
    ):
        pytest.fail("both hold it")


def test_it_can_be_taken_again_after_it_was_given_back(path: str) -> None:
    for _ in range(2):
        with lock(LocalRunner(), "ronron apply", path):
            held = json.loads(Path(path).read_text())
        assert held["doing"] == "ronron apply"
        assert Path(path).read_text() == ""


def test_a_failure_gives_it_back(path: str) -> None:
    with pytest.raises(ValueError, match="oops"), lock(LocalRunner(), "ronron apply", path):
        raise ValueError("oops")
    with lock(LocalRunner(), "ronron apply", path):
        pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_is_killed_holds_it_no_longer(path: str, how: signal.Signals) -> None:
    process = holder(path)
    try:
        with pytest.raises(RonronError, match="is locked"), lock(LocalRunner(), "mine", path):
            pytest.fail("both hold it")
        process.send_signal(how)
        # Its end of the pipe is closed with it; the program that holds the lock ends after that.
        process.wait(10)
        subprocess.run(["flock", "--wait", "10", path, "true"], check=True)
        with lock(LocalRunner(), "mine", path):
            assert json.loads(Path(path).read_text())["doing"] == "mine"
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_holder_left_is_no_lock(path: str) -> None:
    Path(path).write_text("a longer line than the next holder writes" * 50)
    with lock(LocalRunner(), "ronron apply", path):
        assert json.loads(Path(path).read_text())["doing"] == "ronron apply"


def test_a_holder_that_does_not_say_who_it_is(path: str) -> None:
    with lock(LocalRunner(), "ronron apply", path):
        Path(path).write_text("")
        with (
            pytest.raises(RonronError, match="another ronron is changing it"),
            lock(LocalRunner(), "mine", path),
        ):
            pytest.fail("both hold it")


def test_where_it_cannot_be_made_the_reason_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match="this computer: the lock could not be taken") as caught,
        lock(LocalRunner(), "mine", str(tmp_path / "nowhere" / "lock")),
    ):
        pytest.fail("nobody holds it")
    assert "No such file or directory" in caught.value.details[-1]

"""What is printed while work runs, and how a person is asked."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ronron.cli import output
from ronron.errors import OperatorError
from ronron.events import Event, State, step

WORK = """
import threading
from ronron.cli.output import reporter
from ronron.events import Event, step

def work(server):
    for number in range(50):
        with step(report, f"step {number}", server):
            report(Event(f"step {number}", server, detail="on the way"))

with reporter() as report:
    report(Event("a note", "master", detail="[red]not markup"))
    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    try:
        with step(report, "burn", "master"):
            raise ValueError("on fire")
    except ValueError:
        pass
"""


def in_terminal(code: str, answer: bytes = b"", **environment: str) -> tuple[int, str]:
    """Exit status and output of Python code that runs on a terminal and is answered."""
    primary, secondary = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(secondary)
    os.write(primary, answer)
    text = b""
    try:
        while chunk := os.read(primary, 65536):
            text += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(primary)
    return running.wait(30), text.decode()


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.reporter() as report:
        with step(report, "install packages", "worker-1"):
            report(Event("install packages", "worker-1", detail="docker.io"))
        report(Event("apply", detail="nothing to do"))
        report(Event("join", "worker-1", State.FAILED, "worker-1: no answer", 2.04))
        report(Event("wait", "", State.DONE, seconds=61.25))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "worker-1: install packages: docker.io",
        "worker-1: install packages … done (0.0 s)",
        "apply: nothing to do",
        "worker-1: join … failed (2.0 s): no answer",
        "wait … done (61.2 s)",
    ]


def test_a_long_step_is_mentioned_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "STILL_RUNNING", 0.05)
    said = ""
    with output.reporter() as report, step(report, "build", "master"):
        for _ in range(100):
            threading.Event().wait(0.05)
            said += capsys.readouterr().err
            if "still running" in said:
                break
    assert "master: build … still running (0 s)\n" in said


def test_events_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with output.reporter(json=True) as report:
        report(Event("join", "worker-1", State.DONE, seconds=1.5))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err) == {
        "step": "join",
        "where": "worker-1",
        "state": "done",
        "detail": "",
        "seconds": 1.5,
    }


def test_live_lines_on_a_terminal_from_several_threads() -> None:
    status, text = in_terminal(WORK)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert status == 0
    assert len(re.findall(r"✓ worker-[0-5]: step \d+ done \(0\.\d s\)", plain)) == 300
    assert "✗ master: burn failed (0.0 s): on fire" in plain
    assert "master: a note: [red]not markup" in plain
    assert "\x1b[32m" in text
    assert text.endswith("\x1b[?25h") or "\x1b[?25h" in text.split("✗")[-1], "the cursor is back"


def test_no_colour_where_none_is_wanted() -> None:
    _, text = in_terminal(WORK, NO_COLOR="1")
    assert "\x1b[32m" not in text
    assert "✓" in text


def test_a_dumb_terminal_gets_plain_lines() -> None:
    _, text = in_terminal(WORK, TERM="dumb")
    assert "\x1b" not in text
    assert "worker-1: step 3 … done (0.0 s)" in text


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "port"), [("master", 22), ("w", None), ("x", "")])
    assert capsys.readouterr().out == "NAME    PORT\nmaster  22\nw       -\nx       -\n"


def test_json_of_dataclasses_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    output.result_json({"event": Event("é", seconds=1.0), "path": Path("/a")})
    data = json.loads(capsys.readouterr().out)
    assert data["path"] == "/a"
    assert data["event"]["step"] == "é"


def test_without_a_terminal_nobody_is_asked() -> None:
    output.confirm("Really?", yes=True)
    with pytest.raises(OperatorError, match=r"Really\? Nobody can be asked here \(add --yes\)"):
        output.confirm("Really?", yes=False)


ASK = """
import sys
from ronron.cli.main import print_error
from ronron.cli.output import confirm
from ronron.errors import RonronError
try:
    confirm("Really?", False)
except RonronError as error:
    print_error(str(error))
    sys.exit(error.exit_code)
print("it is done")
"""


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"y\n", 0, "it is done"),
        (b"n\n", 1, "not confirmed: nothing was changed"),
        (b"\n", 1, "not confirmed: nothing was changed"),
    ],
)
def test_the_answer_counts(answer: bytes, status: int, said: str) -> None:
    ended, text = in_terminal(ASK, answer)
    assert "Really? [y/N]" in text
    assert said in text
    assert ended == status

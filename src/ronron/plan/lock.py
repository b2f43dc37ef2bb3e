"""One change of the site at a time: a lock on the manager, held as long as the connection lasts."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO

from ronron.errors import RonronError, ServerError
from ronron.events import Event, Report, ignore
from ronron.servers.runner import Runner

PATH = "/run/ronron.lock"

BEAT_SECONDS = 15.0
SILENCE_SECONDS = 90.0
"""How often the holder says that it is still there, and after which silence it is not."""

# Runs on the manager. The kernel releases the lock when the process ends, and it ends when its
# standard input does, or when nothing is heard any more of the computer at the other end.
_HOLD = """
import fcntl, os, select, sys, time
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
until, told = time.monotonic() + float(sys.argv[4]), False
while True:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        over = time.monotonic() >= until
        if over or not told:
            said = "held " if over else "waits "
            print(said + os.pread(lock, 4096, 0).decode(), flush=True)
            told = True
        if over:
            sys.exit(0)
    if select.select([0], [], [], 1)[0] and not os.read(0, 4096):
        sys.exit(0)
os.ftruncate(lock, 0)
os.pwrite(lock, sys.argv[2].encode(), 0)
print("taken", flush=True)
while select.select([0], [], [], float(sys.argv[3]))[0] and os.read(0, 4096):
    pass
os.ftruncate(lock, 0)
"""


class Locked(RonronError):
    """Somebody else changes the site."""


@contextmanager
def lock(
    manager: Runner, doing: str, path: str = PATH, *, wait: float = 0, report: Report = ignore
) -> Iterator[None]:
    """Hold the site's lock while the context lasts; `doing` is told to who comes second.

    Another that holds it is waited for, for `wait` seconds. Raises RonronError that says who holds
    it and since when.
    """
    holder = {
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "doing": doing,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    process = manager.start(
        ["python3", "-c", _HOLD, path, json.dumps(holder), str(SILENCE_SECONDS), str(wait)]
    )
    assert process.stdin  # noqa: S101 - as `start` says
    assert process.stdout  # noqa: S101
    assert process.stderr  # noqa: S101
    try:
        with _beating(process.stdin):
            answer = process.stdout.readline().decode().strip()
            if answer.startswith("waits"):
                detail = _held(answer.removeprefix("waits").strip())
                report(Event(doing, manager.name, detail=f"waits: {detail}"))
                answer = process.stdout.readline().decode().strip()
            if answer.startswith("held"):
                raise Locked(_held(answer.removeprefix("held").strip()))
            if answer != "taken":
                lines = process.stderr.read().decode(errors="replace").splitlines()[-5:]
                raise ServerError(manager.name, "the lock could not be taken", details=lines)
            yield
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


@contextmanager
def _beating(stream: IO[bytes]) -> Iterator[None]:
    """Write to `stream` now and then, while the context lasts."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            try:
                stream.write(b"\n")
                stream.flush()
            except OSError:
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _held(answer: str) -> str:
    try:
        other = json.loads(answer)
        who = f"{other['who']} has been doing {other['doing']} since {other['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another ronron is changing it"
    return f"the site is locked: {who}; wait until that is done"

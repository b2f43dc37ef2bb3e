"""Running a program on a server with secrets that are neither arguments nor files that stay.

What the program must know of secrets goes by standard input to a small Python program there. It
writes them into a folder in memory that only root can read, runs the program, and removes the
folder when that ends. When its standard input ends, it ends the program too: nothing goes on by
itself after ronron, or the connection, is gone.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from ronron.errors import ServerError
from ronron.servers.process import LAST_LINES
from ronron.servers.runner import Runner

FOLDER = "@FOLDER@"
"""In an argument or a variable: the folder in which the files are."""

# SIGINT lets restic remove its lock. Python's tempfile would take longer to import than all else.
_PROGRAM = """
import json, os, shutil, signal, subprocess, sys, threading
order = json.loads(sys.stdin.buffer.readline())
folder = "/run/ronron-" + os.urandom(8).hex()
os.mkdir(folder, 0o700)
def end(*_):
    raise SystemExit(130)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, end)
def here(text):
    return text.replace("@FOLDER@", folder)
process = None
def watch():
    while os.read(0, 4096):
        pass
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
try:
    for name, content in order["files"].items():
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
    more = {key: here(value) for key, value in order["environment"].items()}
    try:
        process = subprocess.Popen(
            [here(word) for word in order["argv"]],
            env={**os.environ, **more}, stdin=subprocess.DEVNULL, start_new_session=True,
        )
    except FileNotFoundError as error:
        print(f"{error.filename} is not installed", file=sys.stderr)
        sys.exit(127)
    threading.Thread(target=watch, daemon=True).start()
    sys.exit(process.wait())
finally:
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
"""


@dataclass(frozen=True)
class Order:
    """What to run: `argv` and `environment` may name `files` as `@FOLDER@/NAME`.

    The files and the environment may hold secrets.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Ended:
    """A program that ended: its exit status, and its last lines of standard error."""

    status: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """A program that runs: `output` is its standard output, `ended` waits for its end."""

    output: IO[bytes]
    ended: Callable[[], Ended]


def run(runner: Runner, order: Order, line: Callable[[str], None]) -> Ended:
    """Carry out `order`; `line` gets each line of its standard output as it comes.

    Raises ServerError when the connection is lost. When this is interrupted, the program is ended.
    """
    with start(runner, order) as running:
        for raw in running.output:
            line(raw.decode(errors="replace").rstrip("\n"))
        return running.ended()


@contextmanager
def start(runner: Runner, order: Order) -> Iterator[Running]:
    """Carry out `order` while the context lasts; it is ended if it runs still when that ends.

    Its end is to be waited for once its output has been read. Raises ServerError then when the
    connection is lost.
    """
    process = runner.start(["python3", "-c", _PROGRAM])
    assert process.stdin  # noqa: S101 - as `start` says
    assert process.stdout  # noqa: S101
    assert process.stderr  # noqa: S101
    errors: deque[str] = deque(maxlen=LAST_LINES)

    def collect() -> None:
        assert process.stderr  # noqa: S101
        for raw in process.stderr:
            if text := raw.decode(errors="replace").strip():
                errors.append(text)

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()

    def ended() -> Ended:
        status = process.wait()
        collecting.join()
        if status == 255:
            said = f"{order.argv[0]}: the connection was lost"
            raise ServerError(runner.name, said, details=errors)
        return Ended(status, tuple(errors))

    try:
        parts = {"argv": order.argv, "environment": order.environment, "files": order.files}
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(parts).encode() + b"\n")
            process.stdin.flush()
        yield Running(process.stdout, ended)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        collecting.join(timeout=10)
        process.stderr.close()

"""Local processes, as the runners need them: run within a time, or streamed line by line."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ronron.errors import ServerError
from ronron.servers.runner import Completed

LAST_LINES = 10
"""How many of a failed command's last lines are shown."""


def run(
    server: str,
    local: Sequence[str],
    argv: Sequence[str],
    *,
    stdin: bytes | None,
    timeout: float,
) -> Completed:
    """Run the process `local`, which carries out `argv` on `server`, for at most `timeout` seconds.

    Raises ServerError when the time is over (the process is killed) or there is no such program.
    """
    feed: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            list(local), capture_output=True, timeout=timeout, check=False, **feed
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            server,
            f"{argv[0]} was not done after {timeout:.0f} s",
            details=last_lines(error.stderr or b""),
        ) from error
    except FileNotFoundError as error:
        raise ServerError(server, f"{error.filename} is not installed on this computer") from error
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


def checked(server: str, done: Completed) -> Completed:
    """`done` again; raises ServerError with its last lines when its exit status is not 0."""
    if done.status:
        raise failed(server, done.argv, done.status, last_lines(done.stderr or done.stdout))
    return done


def failed(server: str, argv: Sequence[str], status: int, lines: Sequence[str]) -> ServerError:
    """The error of a command that ended with `status`."""
    return ServerError(server, f"{argv[0]} ended with status {status}", details=lines)


def last_lines(output: bytes) -> list[str]:
    """The last lines of `output` that are not empty."""
    lines = output.decode(errors="replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-LAST_LINES:]


def stream(
    server: str,
    local: Sequence[str],
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield the lines of `local`, standard error included; the process ends with the iterator.

    It runs in `folder` (default: here), with `environment` added to this process's own.
    Raises ServerError, with the last lines, when the exit status is not 0.
    """
    process = subprocess.Popen(
        list(local),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    recent: deque[str] = deque(maxlen=LAST_LINES)
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        with process.stdout as output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\r\n")
                recent.append(line)
                yield line
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
    if status:
        raise failed(server, argv, status, list(recent))

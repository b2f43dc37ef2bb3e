"""A folder copied to another place, there or on another server, and compared entry by entry.

Between two servers the data goes from one SSH connection into the other, through the computer that
ronron runs on: no server listens for it, and none needs to log in to the other.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib import resources
from typing import IO

from ronron.errors import RonronError, ServerError
from ronron.servers.process import LAST_LINES, last_lines
from ronron.servers.runner import Runner

CHUNK = 1 << 20
TOLD_SECONDS = 5.0
"""How often progress is told."""

LONGEST = 24 * 3600.0
"""Seconds that a copy, or reading it again, may take."""

_METADATA = ("--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*")


def pack_command(path: str) -> list[str]:
    """The command that writes the folder `path` to standard output, holes in files kept."""
    options = ("--create", "--file=-", "--format=posix", "--sparse", "--one-file-system")
    return ["tar", *options, *_METADATA, f"--directory={path}", "."]


def unpack_command(path: str) -> list[str]:
    """The command that writes standard input, as of `pack_command`, into the folder `path`."""
    options = ("--extract", "--file=-", "--same-owner", "--same-permissions")
    return ["tar", *options, *_METADATA, "--delay-directory-restore", f"--directory={path}"]


def copy_command(path: str, to: str) -> list[str]:
    """The command that copies the content of the folder `path` into `to` on the same server."""
    return ["cp", "--archive", "--one-file-system", f"{path}/.", to]


def size(runner: Runner, path: str) -> int:
    """Bytes that a folder takes on its disk. Raises ServerError when it is not there."""
    return int(runner.run(["du", "-s", "-B1", "--", path], timeout=LONGEST).text.split()[0])


def free(runner: Runner, path: str) -> int:
    """Bytes that are free where `path` is, or would be."""
    script = 'while [ ! -e "$1" ]; do set -- "$(dirname -- "$1")"; done; df -B1 --output=avail "$1"'
    return int(runner.run(["sh", "-c", script, "sh", path]).text.split()[-1])


def copy(
    source: Runner, path: str, target: Runner, to: str, progress: Callable[[int], None]
) -> int:
    """Copy the folder `path` of `source` into the new folder `to` of `target`; how many entries.

    Nothing may write to it meanwhile. `progress` is told now and then how many bytes have gone.
    Raises RonronError when it does not arrive whole: content, owners, modes, times, extended
    attributes and hard links are compared. What there is of `to` is then left for the caller.
    """
    target.run(["install", "-d", "-m", "0700", to])
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(digests, source, path)
        if source.name == target.name:
            source.run(copy_command(path, to), timeout=LONGEST)
        else:
            _stream(source, pack_command(path), target, unpack_command(to), progress)
        target.run(["sync", "--file-system", to], timeout=LONGEST)
        there = digests(target, to)
        here = reading.result()
    if here != there:
        wrong = sorted(
            name for name in here.keys() | there.keys() if here.get(name) != there.get(name)
        )
        raise RonronError(
            f"{path} of {source.name} did not arrive whole on {target.name}: {len(wrong)} of "
            f"{len(here)} entries differ",
            details=[name.decode(errors="replace") for name in wrong[:LAST_LINES]],
        )
    return len(here)


def digests(runner: Runner, path: str) -> dict[bytes, bytes]:
    """The digest of each entry below a folder, by its path in it; see `tree.py`."""
    program = resources.files("ronron.servers.copying").joinpath("tree.py").read_bytes()
    done = runner.run(["python3", "-", path], stdin=program, timeout=LONGEST)
    pairs = (entry.split(b" ", 1) for entry in done.stdout.split(b"\0") if entry)
    return {name: digest for digest, name in pairs}


def _stream(
    source: Runner,
    reading: list[str],
    target: Runner,
    writing: list[str],
    progress: Callable[[int], None],
) -> None:
    """Let one server's command write what the other's reads. Raises ServerError if one fails."""
    with ExitStack() as ending:
        giver, giver_said = _started(source, reading, ending)
        taker, taker_said = _started(target, writing, ending)
        assert giver.stdin  # noqa: S101 - as `Runner.start` says
        assert giver.stdout  # noqa: S101
        assert taker.stdin  # noqa: S101
        giver.stdin.close()
        # A taker that ended says itself what is wrong.
        with suppress(BrokenPipeError):
            _pump(giver.stdout, taker.stdin, progress)
        giver.stdout.close()
        with suppress(BrokenPipeError):
            taker.stdin.close()
        for runner, process, said in (
            (target, taker, taker_said),
            (source, giver, giver_said),
        ):
            status = process.wait()
            if status:
                raise ServerError(
                    runner.name, f"tar ended with status {status}", details=last_lines(said())
                )


def _pump(giving: IO[bytes], taking: IO[bytes], progress: Callable[[int], None]) -> None:
    gone, told = 0, time.monotonic()
    while chunk := giving.read(CHUNK):
        taking.write(chunk)
        gone += len(chunk)
        if time.monotonic() - told >= TOLD_SECONDS:
            told = time.monotonic()
            progress(gone)


def _started(
    runner: Runner, argv: list[str], ending: ExitStack
) -> tuple[subprocess.Popen[bytes], Callable[[], bytes]]:
    """A command that is ended with the context, and what it has written of errors."""
    process = runner.start(argv)
    said: list[bytes] = []

    def collect() -> None:
        assert process.stderr  # noqa: S101 - as `Runner.start` says
        said.append(process.stderr.read())

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()

    def end() -> None:
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                if stream:
                    stream.close()
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        collecting.join(10)

    def errors() -> bytes:
        collecting.join(10)
        return b"".join(said)

    ending.callback(end)
    return process, errors

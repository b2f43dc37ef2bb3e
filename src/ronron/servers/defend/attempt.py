"""Trying what could lock the operator out: kept when a second connection works, undone if not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from importlib import resources

from ronron.errors import RonronError, ServerError
from ronron.servers.connections import connections_to
from ronron.servers.process import last_lines
from ronron.servers.ssh import SshRunner

GUARD = "/usr/local/lib/ronron/guard.py"
SECONDS = 60
"""After so long without a word a server undoes what was tried."""

LISTENS_SECONDS = 15.0
"""So long a slow server's SSH may refuse, which starts anew when it reads its settings."""


def guard() -> str:
    """The program that tries and undoes, as it stands on every server."""
    return resources.files("ronron.servers.defend").joinpath("guard.py").read_text()


def connects(runner: SshRunner) -> None:
    """Log in to the server anew, past the connection that is open. Raises RonronError."""
    with connections_to(
        [runner.server], runner.known_hosts, resolver=runner.resolver, key=runner.key
    ) as opened:
        opened[runner.name].run(["true"], timeout=30)


def attempt(
    runner: SshRunner,
    files: Mapping[str, str | None],
    *,
    seconds: int = SECONDS,
    proof: Callable[[SshRunner], None] = connects,
) -> None:
    """Write `files` (None: remove) on the server and load them; keep them when `proof` passes.

    Raises ServerError, and everything is as before, when the server refuses a file or `proof`
    fails. Where even the open connection is cut, the server does it by itself after `seconds`.
    """
    done = runner.run(
        ["python3", GUARD, "try", str(seconds)], stdin=json.dumps(files).encode(), check=False
    )
    if done.status:
        raise ServerError(
            runner.name,
            "refused its new firewall or SSH settings; they were not taken",
            details=last_lines(done.stderr),
        )
    try:
        _prove(runner, proof)
    except RonronError as error:
        undone = "they were undone"
        try:
            runner.run(["python3", GUARD, "undo"], timeout=20)
        except ServerError:
            undone = f"the server undoes them within {seconds} s"
        raise ServerError(
            runner.name,
            f"the new firewall or SSH settings would have locked you out; {undone}",
            details=[str(error), *error.details],
        ) from error
    runner.run(["python3", GUARD, "confirm"])


def _prove(runner: SshRunner, proof: Callable[[SshRunner], None]) -> None:
    """Try `proof` until it passes; what it raises when the time is over is raised."""
    deadline = time.monotonic() + LISTENS_SECONDS
    while True:
        try:
            return proof(runner)
        except RonronError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)

"""What is known of a server: gathered by one Python program, in one round trip."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any

from ronron.errors import ServerError
from ronron.servers.process import last_lines
from ronron.servers.refusals import CannotConnect
from ronron.servers.runner import Runner
from ronron.servers.storage import seen
from ronron.servers.storage.seen import StorageFacts

PROGRAM = ("storage/look.py", "observe.py")
"""The files that are sent as one: the second imports of ronron only the first."""


@dataclass(frozen=True)
class Query:
    """What to look at on a server; of `secrets` only digests leave it."""

    packages: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    disks: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def json(self) -> str:
        """The query as the program on the server wants it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Disk:
    """A file system's size and what is free of it, in bytes."""

    free: int
    total: int


@dataclass(frozen=True)
class Service:
    """A systemd service, started at `since` (seconds of the server's clock, as in `Facts.clock`).

    `unsuited` is when a condition of its unit keeps it from starting here.
    """

    enabled: bool
    active: bool
    since: float = 0.0
    unsuited: bool = False


@dataclass(frozen=True)
class Entry:
    """A file or folder: permission bits, numeric owner, and a file's digest and text.

    `changed` is when its content was, in seconds of the server's clock.
    """

    mode: int
    owner: int = 0
    group: int = 0
    changed: float = 0.0
    sha256: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Facts:
    """A server as it is. Memory is in bytes; what was asked for and is absent is not listed."""

    python: str
    system: str
    version: str
    codename: str
    machine: str
    memory: int
    cpus: int
    disks: Mapping[str, Disk]
    clock: float
    host_name: str
    apparmor: bool
    packages: Mapping[str, str]
    services: Mapping[str, Service]
    entries: Mapping[str, Entry]
    listeners: Mapping[int, str]
    """Who listens on the TCP ports asked for: port to program."""

    modules: frozenset[str] = frozenset()
    """Which of the kernel modules asked for are there."""

    storage: StorageFacts | None = None
    """Disks and pool, where disks were asked for."""

    advertised: Mapping[str, int] = field(default_factory=dict)
    """`accept_ra` of the network cards on which the kernel takes its routes from IPv6 routers."""


def program() -> str:
    """The Python program that is run on the server; its one argument is a Query's JSON."""
    first, second = (
        resources.files("ronron.servers").joinpath(name).read_text() for name in PROGRAM
    )
    return first + re.sub(r"^from (__future__|ronron).*\n", "", second, flags=re.M)


def parse(text: str) -> Facts:
    """The facts that `program` printed. Raises ValueError when it is something else."""
    data: dict[str, Any] = json.loads(text)
    return Facts(
        **{
            **data,
            "disks": {path: Disk(**disk) for path, disk in data["disks"].items()},
            "services": {name: Service(**one) for name, one in data["services"].items()},
            "entries": {path: Entry(**one) for path, one in data["entries"].items()},
            "listeners": {int(port): who for port, who in data["listeners"].items()},
            "modules": frozenset(data["modules"]),
            "storage": seen.parse(data["storage"]) if data["storage"] else None,
        }
    )


def facts(runner: Runner, query: Query) -> Facts:
    """Look at the server behind `runner`.

    Raises CannotConnect (exit code 2: nothing was changed) when it cannot be reached, its user
    cannot become root, or it has no Python 3.
    """
    done = runner.run(["python3", "-", query.json()], stdin=program().encode(), check=False)
    if done.status:
        raise why_not(runner, done.status, done.stderr)
    return parse(done.text)


def why_not(runner: Runner, status: int, stderr: bytes) -> ServerError:
    """The error for a program that ended with `status` instead of telling the facts."""
    if runner.run(["true"], check=False).status:
        return CannotConnect(
            runner.name,
            "its user cannot become root without a password",
            remedy="let sudo do so (NOPASSWD: ALL), or set `user: root` in ronron.yml",
            details=last_lines(stderr),
        )
    if status == 127:
        return CannotConnect(
            runner.name,
            "there is no Python 3 on the server",
            remedy="run apt-get install python3 there",
        )
    return ServerError(runner.name, "its facts could not be gathered", details=last_lines(stderr))

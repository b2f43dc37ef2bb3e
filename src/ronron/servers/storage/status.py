"""How the space for volumes is used on each server, and how its disks are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from ronron.errors import ServerError
from ronron.events import Report, step
from ronron.servers import gluster
from ronron.servers.facts import Query, facts
from ronron.servers.gluster import Copy
from ronron.servers.runner import Runner
from ronron.servers.storage.seen import PoolFacts

if TYPE_CHECKING:
    from ronron.servers.connections import Connections
    from ronron.site.load import LoadedSite


@dataclass(frozen=True)
class Use:
    """What takes space: a `volume`, `dumps`, what was `replaced` by a restore and others.

    `name` is a volume's; of an old copy (`moved`, `fenced`, `moving`) the time in its folder's
    name. `size` is in bytes on disk.
    """

    kind: str
    app: str
    name: str
    path: str
    size: int


@dataclass(frozen=True)
class DiskHealth:
    """A disk of the pool: its size in bytes, and its health as far as that is known.

    `smart` is what it says of itself, None where it cannot be asked; `errors` is what btrfs
    counted; `state` is the kernel's word, which not all disks have.
    """

    path: str
    device: str
    size: int
    smart: bool | None
    state: str
    errors: int

    @property
    def health(self) -> str:
        """In words."""
        if self.smart is False:
            return "FAILING, says the disk itself"
        if self.errors:
            return f"{self.errors} ERRORS counted by btrfs"
        if self.state not in ("", "running", "live"):
            return f"{self.state.upper()}, says the kernel"
        return "good, says the disk itself" if self.smart else "no error known"


@dataclass(frozen=True)
class ServerStorage:
    """The space at `/srv/ronron` of one server, in bytes; `pool` is None on its own disk."""

    server: str
    total: int
    free: int
    uses: tuple[Use, ...]
    pool: PoolFacts | None = None
    disks: tuple[DiskHealth, ...] = ()
    gone: tuple[str, ...] = ()
    """Disks that ronron.yml names and the server does not have."""


def look(
    loaded: LoadedSite, connections: Connections, report: Report
) -> tuple[list[ServerStorage], Mapping[str, ServerError]]:
    """Look at all servers at once; those that could not be looked at, with the reason."""
    site = loaded.site
    wanted = site.storage.pool
    holder = site.storage_server.name

    def one(runner: Runner) -> ServerStorage:
        with step(report, "look at the storage", runner.name):
            if runner.name != holder:  # shared files are the same on each: counted once
                return _server(runner, (), ("volumes",))
            return _server(runner, wanted.disks if wanted else (), ("volumes", "shared"))

    found, failures = connections.on_each(one, list(site.servers))
    return [found[name] for name in site.servers if name in found], failures


def copies(
    loaded: LoadedSite, connections: Connections, failures: Mapping[str, ServerError]
) -> tuple[Copy, ...]:
    """The copies of the shared files, as the first server tells that holds one and answers.

    Nothing where the site's files are not copied. `failures` has the servers that do not answer.
    Raises ServerError when none of the three tells.
    """
    if loaded.site.storage.shared != "glusterfs":
        return ()
    failed: ServerError | None = None
    for name in gluster.bricks(loaded.site):
        try:
            if name not in failures:
                return gluster.copies(connections[name])
        except ServerError as error:
            failed = error
    if failed is None:
        return ()
    raise failed


def _server(runner: Runner, disks: tuple[str, ...], volumes: tuple[str, ...]) -> ServerStorage:
    storage = facts(runner, Query(disks=disks)).storage if disks else None
    pool = storage.pool if storage and storage.pool.kind else None
    members = pool.members if pool else ()
    btrfs = bool(pool and pool.kind == "btrfs")
    query = json.dumps({"disks": members, "btrfs": btrfs, "volumes": volumes})
    program = resources.files("ronron.servers.storage").joinpath("usage.py").read_bytes()
    data: dict[str, Any] = json.loads(runner.run(["python3", "-", query], stdin=program).text)
    paths = {disk.device: path for path, disk in storage.disks.items()} if storage else {}
    return ServerStorage(
        server=runner.name,
        total=data["total"],
        free=data["free"],
        uses=tuple(Use(**use) for use in data["uses"]),
        pool=pool,
        disks=tuple(
            DiskHealth(path=paths.get(one["device"], one["device"]), **one) for one in data["disks"]
        ),
        gone=tuple(path for path in disks if storage and path not in storage.disks),
    )

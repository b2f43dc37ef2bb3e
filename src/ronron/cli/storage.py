"""`ronron storage`: the space for volumes, what uses it, and more of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.errors import OperatorError

if TYPE_CHECKING:
    from ronron.servers.gluster import Copy
    from ronron.servers.storage.status import ServerStorage
    from ronron.site.load import LoadedSite


@click.group()
def storage() -> None:
    """Show and extend the space for volumes.

    \b
      ronron storage status         space, disks, and what uses how much, on each server
      ronron storage extend DISK    one more disk for the pool, while apps run
    """


@storage.command()
@context.json_option
@context.with_site
def status(loaded: LoadedSite, as_json: bool) -> int:
    """Show the space at /srv/ronron of each server, its disks, and what uses it.

    Old copies of data are shown too, and where files are shared by GlusterFS, its three copies.
    Sizes are counted on the servers' disks, which takes a while where there are many files. The
    exit status is 1 when a server could not be looked at.
    """
    from ronron.errors import ServerError
    from ronron.servers.connections import connections
    from ronron.servers.storage.status import copies, look

    shared: tuple[Copy, ...] = ()
    with output.reporter() as report, connections(loaded) as opened:
        found, failures = look(loaded, opened, report)
        try:
            shared = copies(loaded, opened, failures)
        except ServerError as untold:
            failures = {**failures, "the copies of the shared files": untold}
    if as_json:
        output.result_json(
            {
                "servers": [_as_json(one) for one in found],
                "copies": [dataclasses.asdict(one) for one in shared],
                "failures": {name: str(error) for name, error in failures.items()},
            }
        )
    else:
        rows = [
            (s.server, _made_of(s), _size(s.total), _size(s.total - s.free), _size(s.free))
            for s in found
        ]
        output.table(("server", "on", "size", "used", "free"), rows)
        _disks(found)
        _copies(shared)
        _uses(found)
    for error in failures.values():
        output.note(f"could not be looked at: {error}")
    return 1 if failures else 0


def _as_json(one: ServerStorage) -> object:
    data = dataclasses.asdict(one)
    healths = (disk.health for disk in one.disks)
    data["disks"] = [
        {**disk, "health": health} for disk, health in zip(data["disks"], healths, strict=True)
    ]
    return data


def _made_of(one: ServerStorage) -> str:
    if one.pool is None:
        return "its own disk"
    kind = one.pool.kind if one.pool.kind == one.pool.filesystem else f"{one.pool.kind}, "
    filesystem = "" if kind == one.pool.filesystem else one.pool.filesystem
    return f"pool: {kind}{filesystem}" + ("" if one.pool.mounted else ", NOT MOUNTED")


def _disks(found: list[ServerStorage]) -> None:
    rows = [
        (one.server, disk.path, disk.device, _size(disk.size), disk.health)
        for one in found
        for disk in one.disks
    ]
    rows += [(one.server, path, "", "", "NOT THERE") for one in found for path in one.gone]
    if rows:
        output.result("")
        output.table(("server", "disk", "device", "size", "health"), rows)


def _copies(shared: tuple[Copy, ...]) -> None:
    """The copies of the shared files: `-` where the server that has it is not connected."""
    rows = [
        (
            one.server,
            "connected" if one.connected else "NOT CONNECTED",
            "-" if one.behind is None else str(one.behind),
            "-" if one.split is None else str(one.split),
        )
        for one in shared
    ]
    if rows:
        output.result("")
        output.table(("shared files on", "state", "files behind", "files undecided"), rows)


def _uses(found: list[ServerStorage]) -> None:
    rows = [
        (use.app, use.kind, use.name, one.server, _size(use.size), use.path)
        for one in found
        for use in one.uses
    ]
    if rows:
        output.result("")
        output.table(("app", "what", "volume", "server", "size", "path"), sorted(rows))
    uses = [use for one in found for use in one.uses]
    for app in sorted({use.app for use in uses if use.kind in ("moved", "fenced", "moving")}):
        output.note(f"old copies of {app} are deleted by: ronron move {app} --forget")


def _size(count: int) -> str:
    if count < 1 << 30:
        return f"{count / (1 << 20):.1f} MiB"
    return f"{count / (1 << 30):.1f} GiB"


@storage.command()
@click.argument("disk", metavar="DISK")
@click.option("--erase", metavar="DISK", help="The same disk again: what it holds is lost then.")
@context.yes_option
@context.with_site
def extend(loaded: LoadedSite, disk: str, erase: str | None, yes: bool) -> None:
    """Add a disk of the storage server to the pool, while apps run.

    DISK is its path, as ls /dev/disk/by-id shows it on the server. It is written into ronron.yml.
    A disk that holds anything is refused, unless it is named again with --erase.
    """
    from ronron.cli.changes import lines
    from ronron.plan import extending
    from ronron.plan.model import Change

    if erase is not None and erase != disk:
        raise OperatorError(
            f"--erase names {erase}, and the disk is {disk}", remedy="name the same disk twice"
        )
    wanted = extending.with_disk(loaded, disk, erase=erase is not None)
    with output.reporter() as report:
        made = extending.plan(wanted, report)
    lines(Change(f"server {c.server}", c.item, c.before, c.after, c.why) for c in made.changes)
    output.confirm(f"Do this on {wanted.site.storage_server.name}?", yes)
    with output.reporter() as report:
        extending.extend(wanted, disk, report, erase=erase is not None)
    output.result(f"{disk} is in the pool; ronron storage status shows it")

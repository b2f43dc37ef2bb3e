"""Quotas of volumes: which limits differ from what is declared, and where there can be none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ronron.errors import RonronError
from ronron.plan.model import Change
from ronron.swarm import deployed, volumes

if TYPE_CHECKING:
    from ronron.catalog.stack import Stack, Volume
    from ronron.plan.observe import Reality

_UNITS = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20))


def shown(size: int) -> str:
    """Bytes as `quota` in an app's file has them: `5G`."""
    for unit, count in _UNITS:
        if size and size % count == 0:
            return f"{size // count}{unit}"
    return str(size)


def _new(stack: Stack, reality: Reality) -> Iterator[tuple[str, Volume]]:
    """The volumes of an app that is not deployed yet, with the servers that they would be on."""
    if reality.swarm.present and not reality.swarm.newest(stack.app):
        with suppress(RonronError):
            for volume, server in volumes.place(stack.volumes, reality.swarm).items():
                if server in reality.facts:
                    yield server, volume


def _places(stack: Stack, reality: Reality) -> Iterator[tuple[str, Volume]]:
    """The volumes of a deployed app that are there, with a server that has them."""
    limited = [v for v in stack.volumes if v.quota]
    if not limited and not any(facts.quotas for facts in reality.facts.values()):
        return
    held = deployed.volumes(stack.app, reality.swarm)
    for volume in stack.volumes:
        old = held.get(volume.name)
        if old is None or old.path != volume.path:
            continue
        having = [
            name
            for name, facts in reality.facts.items()
            if volume.path in facts.folders and (not old.servers or name in old.servers)
        ]
        # Files that are shared by NFS are limited where their disk is.
        having.sort(key=lambda name: reality.facts[name].cannot_limit(volume.path) != "")
        if having:
            yield having[0], volume


def differing(stack: Stack, reality: Reality) -> Iterator[tuple[str, Volume]]:
    """The volumes whose limit is another than declared, where there can be one."""
    for server, volume in _places(stack, reality):
        facts = reality.facts[server]
        is_so = facts.quotas.get(volume.path, 0) == volume.quota
        if not is_so and not facts.cannot_limit(volume.path):
            yield server, volume


def change(server: str, volume: Volume, reality: Reality) -> Change:
    """What the plan shows."""
    before = reality.facts[server].quotas.get(volume.path, 0)
    where, field = f"app {volume.app}", f"volumes.{volume.name}.quota"
    after = shown(volume.quota) if volume.quota else None
    return Change(where, field, shown(before) if before else None, after, f"on {server}")


def impossible(stack: Stack, reality: Reality) -> Iterator[str]:
    """One line for each declared limit that the file system cannot hold."""
    for server, volume in (*_places(stack, reality), *_new(stack, reality)):
        reason = reality.facts[server].cannot_limit(volume.path)
        if volume.quota and reason:
            yield f"{volume.app}: {volume.name} has no quota on {server}: {reason}"

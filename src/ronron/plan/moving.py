"""An app's databases on another server: stopped, copied, compared, started; or as they were.

What is moved away is kept beside the volumes, in `.moved`, until the operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ronron.backup.restore import require_room
from ronron.catalog.stack import Stack, Volume
from ronron.errors import OperatorError, RonronError
from ronron.plan.apply import wait_for_answer
from ronron.plan.backups import hidden, stack_of
from ronron.plan.exchanging import stopped
from ronron.plan.lock import lock
from ronron.plan.observe import Reality, observe
from ronron.plan.session import Session
from ronron.servers.copying.aside import Kept, stamp
from ronron.servers.copying.copy import size
from ronron.swarm import state
from ronron.swarm.engines import engine_of

if TYPE_CHECKING:
    from docker import DockerClient

SPARE = 64 << 20
"""Bytes that must be free beside what is copied."""


@dataclass(frozen=True)
class Way:
    """A volume that would go from one server to another; `size` in bytes on its disk."""

    volume: Volume
    source: str
    target: str
    size: int


@dataclass(frozen=True)
class Moved:
    """What was moved, and where the old copies are."""

    app: str
    ways: tuple[Way, ...]
    kept: tuple[Kept, ...]


def ways(
    session: Session, name: str, to: str, only: Sequence[str] = (), reality: Reality | None = None
) -> tuple[Way, ...]:
    """What moving the databases of `name` (those in `only`, or all) to the server `to` would move.

    Nothing, when they are there. Raises OperatorError for what cannot be asked, RonronError when a
    server is not as it must be.
    """
    loaded = session.loaded
    loaded.app(name)
    loaded.site.server(to)
    reality = reality or observe(loaded, session.servers, session.report)
    if reality.swarm.newest(name) is None:
        raise OperatorError(f"{name} is not deployed", remedy="run ronron apply first")
    node = reality.swarm.node(to)
    if to in reality.failures or node is None or not node.ready:
        raise RonronError(f"{to} is not ready: nothing can be moved there", remedy="ronron status")
    if node.availability != "active":
        raise OperatorError(f"{to} takes no tasks", remedy=f"ronron server activate {to}")
    stack = stack_of(session, name)
    found = []
    for volume in list(_chosen(session, stack, only)):
        source = _holder(reality, volume)
        if source != to or not _labelled_alone(reality, volume, to):
            found.append((volume, source))
    _together(stack, [volume for volume, _ in found], to, reality)
    return tuple(
        Way(volume, source, to, size(session.servers[source], volume.path))
        for volume, source in found
    )


def _chosen(session: Session, stack: Stack, only: Sequence[str]) -> Iterator[Volume]:
    """The databases that are meant. Raises OperatorError when there are none, or one is unknown."""
    databases = {v.name: v for v in stack.volumes if v.kind == "database"}
    where = session.loaded.site.storage_server.name
    if not databases:
        files = f"; its files are on {where}, the storage server" if stack.volumes else ""
        raise OperatorError(f"{stack.app} has no database that could be moved{files}")
    for name in only or databases:
        if name not in databases:
            raise OperatorError(
                f"{stack.app} has no database volume {name}",
                remedy=f"it has: {', '.join(databases)}",
            )
        yield databases[name]


def _holder(reality: Reality, volume: Volume) -> str:
    """The server that has a volume's data: the one with the label and the folder.

    After a move that was interrupted the folder may be on another server than the label says.
    """
    labelled = [node.name for node in reality.swarm.with_label(volume.label)]
    for name in labelled:
        node = reality.swarm.node(name)
        if name in reality.failures or node is None or not node.ready:
            raise RonronError(
                f"{volume.app}: {volume.name} is on {name}, which does not answer",
                remedy=f"start {name}, or ronron failover {volume.app} brings up its newest dump",
            )
    having = [name for name, facts in reality.facts.items() if volume.path in facts.folders]
    both = [name for name in labelled if name in having]
    if both or len(having) == 1:
        return (both or having)[0]
    raise RonronError(
        f"{volume.app}: no server has the folder of {volume.name}", remedy="ronron plan shows more"
    )


def _labelled_alone(reality: Reality, volume: Volume, server: str) -> bool:
    return [node.name for node in reality.swarm.with_label(volume.label)] == [server]


def _together(stack: Stack, moving: Sequence[Volume], to: str, reality: Reality) -> None:
    """Refuse to move a volume away from another one that the same service needs."""
    pinned = [v for v in stack.volumes if not v.shared and v not in moving]
    for volume in moving:
        for other in pinned:
            shared = set(volume.services) & set(other.services)
            places = {node.name for node in reality.swarm.with_label(other.label)}
            if shared and to not in places:
                raise OperatorError(
                    f"{stack.app}: {sorted(shared)[0]} needs {other.name} as well, which is on "
                    f"{', '.join(sorted(places)) or 'no server'}",
                    remedy="move its databases together"
                    if other.kind == "database"
                    else "its files stay on the storage server",
                )


def move(session: Session, name: str, to: str, only: Sequence[str], *, seconds: float) -> Moved:
    """Move databases of the app `name` to the server `to`, and wait until the app answers.

    Raises as `ways`, and RonronError when it fails: the app then runs with the old copies again.
    """
    with lock(session.manager, f"ronron move {name}"), engine_of(session.manager) as engine:
        found = ways(session, name, to, only)
        if not found:
            return Moved(name, (), ())
        for way in found:
            if way.source != way.target:
                what = f"{name}: the copy of {way.volume.name}"
                place = way.volume.root
                require_room(session.servers[way.target], place, way.size + SPARE, what)
        stack = stack_of(session, name)
        try:
            kept = _carry_out(session, engine, stack, found, seconds)
        except RonronError as error:
            raise hidden(session, name, error) from error
    return Moved(name, found, tuple(kept))


def _carry_out(
    session: Session, engine: DockerClient, stack: Stack, found: Sequence[Way], seconds: float
) -> list[Kept]:
    """Stop the app, copy, exchange, start. Returns where the old copies are."""
    kept: list[Kept] = []
    swarm = state.observe(engine)

    def answers() -> None:
        wait_for_answer(session, engine, stack, seconds)

    try:
        with stopped(session, engine, stack.app, stamp(), seconds, answers) as exchange:
            for way in found:
                source, target = session.servers[way.source], session.servers[way.target]
                path = way.volume.path
                if way.source != way.target:
                    kept += exchange.bring(source, path, target, way.volume, way.size)
                    # Before the label moves: two servers with a label and a folder must never be.
                    kept += exchange.put_aside(source, path)
                exchange.pin(way.volume, way.target, swarm)
    except RonronError as error:
        raise RonronError(
            f"{stack.app}: was not moved: {error.message.removeprefix(f'{stack.app}: ')}",
            remedy=error.remedy or "it runs where it was",
            details=error.details,
        ) from error
    return kept

"""Volumes whose class changed, or the storage that holds them: their data goes along.

Planning compares where an app's volumes are, as its newest record says, with where they shall be.
Applying stops the app, copies, compares, and deploys the app as declared. If that fails it runs as
before, on the old copies; if it works they are moved aside, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ronron.catalog.stack import PLATFORM
from ronron.errors import RonronError
from ronron.plan.exchanging import stopped
from ronron.plan.model import Change, Relocation
from ronron.servers.copying.aside import Kept, aside, rename, stamp
from ronron.servers.copying.copy import size
from ronron.swarm import deployed, stacks, state, volumes

if TYPE_CHECKING:
    from docker import DockerClient

    from ronron.catalog.stack import Stack, Volume
    from ronron.plan.observe import Reality
    from ronron.plan.session import Session


def relocations(stack: Stack, reality: Reality) -> Iterator[Relocation]:
    """The volumes of an app that are deployed otherwise than `stack` has them, with their data.

    One whose folder is on no server that answered is none: there is nothing to move.
    """
    # The platform's own stay where they are.
    held = {} if stack.app in PLATFORM else deployed.volumes(stack.app, reality.swarm)
    changed = [
        volume
        for volume in stack.volumes
        if volume.services
        and (old := held.get(volume.name))
        and (old.kind, old.path) != (volume.kind, volume.path)
    ]
    places = volumes.place(stack.volumes, reality.swarm) if changed else {}
    for volume in changed:
        old = held[volume.name]
        having = [n for n, facts in reality.facts.items() if old.path in facts.folders]
        sources = [name for name in having if not old.servers or name in old.servers]
        if not sources:
            continue
        target = _target(volume, stack, reality, places, sources)
        source = target if target in sources else sources[0]
        yield Relocation(volume, old.kind, source, old.path, target)


def _target(
    volume: Volume,
    stack: Stack,
    reality: Reality,
    places: dict[Volume, str],
    sources: list[str],
) -> str:
    """Where a volume shall be: a new database beside those of its service, or where it is now."""
    if volume.kind == "files" or reality.swarm.with_label(volume.label):
        return places[volume]
    for other in stack.volumes:
        beside = () if other.shared else reality.swarm.with_label(other.label)
        if other != volume and set(other.services) & set(volume.services) and beside:
            return beside[0].name
    return sources[0] if len(sources) == 1 else places[volume]


def change(relocation: Relocation) -> Change:
    """What the plan shows."""
    volume = relocation.volume
    before, after = relocation.before, relocation.after
    if relocation.kind != volume.kind:
        why = f"{relocation.kind} becomes {volume.kind}"
    else:
        why = "storage.shared in ronron.yml"
    if before == after:
        before, after = f"{before} ({relocation.kind})", f"{after} ({volume.kind})"
    else:
        why += "; its data moves"
    return Change(f"app {volume.app}", f"volumes.{volume.name}", before, after, why)


def carry_out(
    session: Session,
    engine: DockerClient,
    stack: Stack,
    moves: Iterable[Relocation],
    deploy: Callable[[], None],
    seconds: float,
) -> list[Kept]:
    """Move the data and `deploy` the app as declared; returns where the old copies are.

    Raises RonronError when anything fails: the app then runs as it was deployed before.
    """
    app, when, moves = stack.app, stamp(), list(moves)
    swarm = state.observe(engine)
    record = stacks.deployed(engine, app)
    names = [f"{app}_{move.volume.name}" for move in moves]

    def forget() -> None:
        # Docker keeps the folder that a volume of that name had first.
        _, failures = session.servers.on_each(lambda runner: volumes.unuse(runner, names))
        for error in failures.values():
            raise error

    def as_before() -> None:
        forget()
        stacks.put(engine, session.manager, app, record.content["stack"])

    try:
        with stopped(session, engine, app, when, seconds, lambda: None, start=deploy) as exchange:
            exchange.undo.callback(as_before)
            forget()
            for move in moves:
                volume, target = move.volume, session.servers[move.target]
                source = session.servers[move.source]
                if move.before != move.after:
                    much = size(source, move.path)
                    exchange.bring(source, move.path, target, volume, much)
                own = f"ronron.volume.{app}.{volume.name}"
                if volume.kind == "database":
                    exchange.pin(volume, move.target, swarm)
                else:
                    for node in swarm.with_label(own):
                        exchange.label(node.name, own, None, swarm)
    except RonronError as error:
        raise RonronError(
            f"{app}: its data was not moved: {error.message.removeprefix(f'{app}: ')}",
            remedy=error.remedy or "it runs as before",
            details=error.details,
        ) from error
    kept = []
    for move in moves:
        if move.before != move.after:
            old = aside(move.path, "moved", when)
            rename(session.servers[move.source], move.path, old)
            kept.append(Kept(move.source, old))
    return kept

"""An app's databases whose server is gone, brought up on another from their newest dumps.

No secret is needed for it: the jobs that load a dump get those that the swarm has already. So the
manager can do it unasked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ronron.backup import dump
from ronron.backup.app import BACKUPS, Protected, place_of
from ronron.backup.restic import Snapshot, choose
from ronron.backup.restore import load_into
from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan import absence, fencing
from ronron.plan.absence import gone_since, moment
from ronron.plan.apply import wait_for_answer
from ronron.plan.backups import hidden, protected, stack_of
from ronron.plan.exchanging import Exchange, stopped
from ronron.plan.lock import lock
from ronron.plan.model import Fence
from ronron.plan.observe import Reality, observe
from ronron.plan.repository import restic, storage
from ronron.plan.session import Session
from ronron.servers.copying.aside import Kept, aside, rename, stamp
from ronron.swarm import state, volumes
from ronron.swarm.engines import engine_of

if TYPE_CHECKING:
    from docker import DockerClient

    from ronron.catalog.stack import Volume
    from ronron.servers.runner import Runner


@dataclass(frozen=True)
class Lost:
    """A database whose server has been gone for `gone` seconds, and what there is instead.

    The dump is the one on the storage server, made at `time`, or else that of `snapshot`.
    """

    volume: Volume
    database: str
    server: str
    gone: float
    target: str
    time: datetime
    snapshot: Snapshot | None = None


class TooSoon(OperatorError):
    """The server has not been gone for as long as `storage.failover.after` says."""


@dataclass(frozen=True)
class FailedOver:
    """What was brought up on another server, and old copies that were in its place there."""

    app: str
    lost: tuple[Lost, ...]
    kept: tuple[Kept, ...]


def lost(
    session: Session, engine: DockerClient, reality: Reality, name: str, to: str | None, now: bool
) -> tuple[Lost, ...]:
    """The databases of `name` whose server is gone, and where they would come up.

    Nothing when all of their servers are there. Raises OperatorError when one is not gone long
    enough (unless `now`), RonronError when it answers, or nothing can take its place.
    """
    swarm = reality.swarm
    app = protected(session, swarm, name)
    missing = [
        (volume, node)
        for volume in app.volumes
        if volume.kind == "database"
        for node in swarm.with_label(volume.label)
        if not node.ready
    ]
    if not missing:
        return ()
    clock, known = _clock(engine), absence.read(session.manager)
    needed = session.loaded.site.storage.failover.seconds
    for volume, node in missing:
        spent = gone_since(node, clock, known)
        _refuse(session, reality, volume, node.name)
        if spent < needed and not now:
            raise TooSoon(
                f"{name}: {node.name} has been gone for {spent:.0f} s only, and {needed} s are "
                "waited for",
                remedy="wait, or add --now",
            )
    gone = {node.name for _, node in missing}
    places = _places(session, reality, app, [volume for volume, _ in missing], gone, to)
    return tuple(
        _instead(session, app, volume, node.name, gone_since(node, clock, known), places[volume])
        for volume, node in missing
    )


def _clock(engine: DockerClient) -> datetime:
    """The manager's time: the swarm's times are those of its clock."""
    return moment(str(engine.info()["SystemTime"]))


def _refuse(session: Session, reality: Reality, volume: Volume, server: str) -> None:
    where = session.loaded.site.storage_server.name
    if server in reality.facts:
        raise RonronError(
            f"{volume.app}: {server} answers, though the swarm does not reach it; what it has of "
            f"{volume.name} is newer than any dump",
            remedy="ronron apply makes it join again",
        )
    if where in reality.failures:
        raise RonronError(
            f"{volume.app}: the storage server {where} does not answer either, and the dumps are "
            "there",
            remedy="start it, or ronron rebuild on new servers",
        )


def _places(
    session: Session,
    reality: Reality,
    app: Protected,
    missing: Sequence[Volume],
    gone: set[str],
    to: str | None,
) -> dict[Volume, str]:
    """Where the lost databases come up: on `to`, or where new ones would go."""
    if to is not None:
        session.loaded.site.server(to)
        node = reality.swarm.node(to)
        if to not in reality.facts or node is None or not node.ready:
            raise RonronError(f"{to} is not ready: nothing comes up there", remedy="ronron status")
        return dict.fromkeys(missing, to)
    nodes = tuple(n for n in reality.swarm.nodes if n.name not in gone and n.name in reality.facts)
    return volumes.place(app.volumes, state.SwarmState(present=True, nodes=nodes))


def _instead(
    session: Session, app: Protected, volume: Volume, server: str, gone: float, target: str
) -> Lost:
    """The newest dump of a lost database. Raises RonronError when there is none."""
    found = [n for n, d in app.recipe.extension.databases.items() if d.volume == volume.name]
    if not found:
        raise RonronError(
            f"{app.name}: {volume.name} was on {server}, and no dump is declared for it",
            remedy=f"start {server}: there is no other copy",
        )
    name = found[0]
    runner, path = storage(session), f"{BACKUPS}/{app.name}/{name}.dump"
    try:
        dump.check(runner, app.name, name, app.recipe.extension.databases[name].engine, path)
        made = datetime.fromtimestamp(int(runner.run(["stat", "-c", "%Y", path]).text), UTC)
        return Lost(volume, name, server, gone, target, made)
    except RonronError as error:
        if session.loaded.site.backup is None:
            raise
        snapshots = restic(session).snapshots(app.name)
        if not snapshots:
            raise error from None
        snapshot = choose(snapshots, app.name)
        return Lost(volume, name, server, gone, target, snapshot.time, snapshot)


def fail_over(
    session: Session, name: str, to: str | None, *, now: bool, seconds: float
) -> FailedOver:
    """Bring up the lost databases of the app `name`, and wait until it answers.

    Raises as `lost`, and RonronError when it fails: then all is as before, and the old server is
    waited for.
    """
    doing = lock(session.manager, f"ronron failover {name}")
    with doing, engine_of(session.manager) as engine:
        reality = observe(session.loaded, session.servers, session.report)
        found = lost(session, engine, reality, name, to, now)
        if not found:
            return FailedOver(name, (), ())
        clock = _clock(engine)
        app, stack = protected(session, reality.swarm, name), stack_of(session, name)

        def answers() -> None:
            wait_for_answer(session, engine, stack, seconds)

        kept: list[Kept] = []
        try:
            with stopped(
                session, engine, name, stamp(), seconds, answers, worked=False
            ) as exchange:
                for one in found:
                    since = clock - timedelta(seconds=one.gone)
                    kept += _bring_up(exchange, app, one, reality.swarm, since)
        except RonronError as error:
            told = RonronError(
                f"{name}: was not brought up: {error.message.removeprefix(f'{name}: ')}",
                remedy=error.remedy or f"it is as before: it waits for {found[0].server}",
                details=error.details,
            )
            raise hidden(session, name, told) from error
    return FailedOver(name, found, tuple(kept))


def _bring_up(
    exchange: Exchange, app: Protected, one: Lost, swarm: state.SwarmState, since: datetime
) -> list[Kept]:
    """Fence the old copy off, and load the dump into an empty folder on the other server.

    `since` is when the old server was lost: labels of its node do not make other apps wait anew.
    """
    session, volume = exchange.session, one.volume
    changed = (session.manager, exchange.engine, one.server, since)
    exchange.undo.callback(absence.keep, *changed)  # after those that take the labels away
    # The fence first: whatever comes after, the old server's copy is used no more.
    exchange.label(one.server, volume.fence, exchange.when, swarm)
    exchange.pin(volume, one.target, swarm)
    absence.keep(*changed)
    target, source = session.servers[one.target], storage(session)
    work = str(PurePosixPath(aside(volume.path, "moving", exchange.when)).parent)
    for runner in {runner.name: runner for runner in (source, target)}.values():
        runner.run(["install", "-d", "-m", "0700", work])
        exchange.undo.callback(_clear, runner, work)
    folder = _staged(session, app, one, work)
    new = f"{work}/{volume.name}"
    target.run(["install", "-d", *volume.ownership, "-m", volume.mode, new])
    rule = app.recipe.extension.databases[one.database]
    place = replace(place_of(app, rule, {volume: target}), folder=new)
    load_into(exchange.engine, source, app, one.database, folder, place, session.report)
    kept = exchange.put_aside(target, volume.path)
    target.run(["install", "-d", "-m", "0711", str(PurePosixPath(volume.path).parent)])
    rename(target, new, volume.path)
    exchange.undo.callback(rename, target, volume.path, new)
    for runner in (source, target):
        _clear(runner, work)
    return kept


def _staged(session: Session, app: Protected, one: Lost, work: str) -> str:
    """A folder on the storage server with the dump, as the job that loads it can read it."""
    runner, volume = storage(session), one.volume
    path = f"{BACKUPS}/{app.name}/{one.database}.dump"
    if one.snapshot is not None:
        with step(session.report, "fetch", f"{app.name}: {one.database}"):
            restic(session).restore(one.snapshot, work, [f"{BACKUPS}/{one.snapshot.app}"])
        path = f"{work}{path}"
    engine = app.recipe.extension.databases[one.database].engine
    dump.check(runner, app.name, one.database, engine, path)
    folder = f"{work}/load-{one.database}"
    runner.run(["install", "-d", *volume.ownership, "-m", "0700", folder])
    runner.run(["install", *volume.ownership, "-m", "0600", path, f"{folder}/dump"])
    return folder


def _clear(runner: Runner, work: str) -> None:
    runner.run(["rm", "-rf", "--one-file-system", "--", work], check=False)


def candidates(session: Session, reality: Reality) -> Iterator[str]:
    """The apps with a database on a server that the swarm does not reach."""
    gone = {key for n in reality.swarm.nodes if not n.ready for key in n.labels}
    for name in session.loaded.apps:
        if any(key.startswith(f"ronron.volume.{name}.") for key in gone):
            yield name


@dataclass(frozen=True)
class Unasked:
    """What the manager did by itself: apps that came up elsewhere, fences, and what failed."""

    done: tuple[FailedOver, ...] = ()
    fenced: tuple[Fence, ...] = ()
    failed: tuple[RonronError, ...] = ()


def unasked(session: Session, *, seconds: float) -> Unasked:
    """Fail over every app whose server has been gone for long enough, and move the old copies on
    servers that are back aside. Nothing is locked while there is nothing to do.

    What fails of one app is in the result. Raises RonronError when the manager does not answer.
    """
    reality = observe(session.loaded, session.servers, session.report)
    if failure := reality.failures.get(session.loaded.site.manager.name):
        raise failure
    done, failed = [], []
    fences = tuple(fencing.changes(reality))
    if fences:
        with lock(session.manager, "ronron failover"), engine_of(session.manager) as engine:
            fencing.carry_out(session, engine, fences)
    for name in candidates(session, reality):
        try:
            with engine_of(session.manager) as engine:
                lost(session, engine, reality, name, None, now=False)
            done.append(fail_over(session, name, None, now=False, seconds=seconds))
        except TooSoon:
            continue
        except RonronError as error:
            failed.append(error)
    return Unasked(tuple(done), fences, tuple(failed))

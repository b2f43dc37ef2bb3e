"""The way back: a snapshot is put beside the live data, looked at, and then takes its place.

1. restic writes the snapshot into a folder beside the volumes, and verifies it.
2. Each database is restored into an empty folder, by a service like its own on its own network.
3. The app is stopped, the folders change places, the app is started.

Whatever fails before 3 leaves the live app alone; if the app does not start in 3, the folders
change places again. If ronron or a server is killed in 3, the next command does that (`undo`). What
was replaced is kept in `.replaced`, beside the volumes' folders.

All three are on one file system: what is shared is put and kept in the shared folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ronron.backup import dump, journal, owners
from ronron.backup.app import BACKUPS, Protected, place_of
from ronron.backup.dump import Place
from ronron.backup.journal import Journal, Swap
from ronron.backup.restic import Restic, Snapshot, size
from ronron.catalog.stack import ROOTS, Volume
from ronron.errors import OperatorError, RonronError, ServerError
from ronron.events import Report, step
from ronron.servers.copying.copy import free
from ronron.servers.runner import Runner
from ronron.swarm import converge, jobs
from ronron.swarm.volumes import require_mount

if TYPE_CHECKING:
    from docker import DockerClient

REPLACED = ".replaced"
RESTORING = ".restoring"
KEPT_DAYS = 7
DATABASE_SECONDS = 300.0
STOP_SECONDS = 300.0
SPARE = 256 << 20
"""Bytes that a restore leaves free for others, on each file system that it writes to."""


@dataclass(frozen=True)
class Choice:
    """What of a snapshot is restored: `volumes` of files and `databases` by name; None is all."""

    volumes: frozenset[str] | None = None
    databases: frozenset[str] | None = None


@dataclass(frozen=True)
class Target:
    """The deployed app that a snapshot is restored into, and where its volumes are.

    `place` maps each of its volumes to the runner of the server that holds it.
    """

    app: Protected
    place: Mapping[Volume, Runner]


@dataclass(frozen=True)
class Restored:
    """What was restored, from when, and where the replaced data is kept (server and folder)."""

    app: str
    snapshot: Snapshot
    volumes: tuple[str, ...]
    databases: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def read_about(restic: Restic, snapshot: Snapshot) -> Mapping[str, Any]:
    """What a snapshot says of its app: `about.json`, with `app` and `stack` as they were."""
    folder = f"{BACKUPS}/{snapshot.app}/about"
    found = dict(json.loads(restic.content(snapshot, f"{folder}/about.json")))
    found["declared"] = json.loads(restic.content(snapshot, f"{folder}/app.json"))
    return found


def read_vault_file(restic: Restic, snapshot: Snapshot) -> bytes | None:
    """The vault's file of a snapshot's app, encrypted as it was; None where it had none."""
    path = f"{BACKUPS}/{snapshot.app}/about/vault.age"
    there = {entry.path for entry in restic.entries(snapshot.id, f"{BACKUPS}/{snapshot.app}/about")}
    return restic.content(snapshot, path).encode() + b"\n" if path in there else None


def restore(
    docker: DockerClient,
    manager: Runner,
    storage: Runner,
    restic: Restic,
    snapshot: Snapshot,
    target: Target,
    choice: Choice,
    started: Callable[[], None],
    report: Report,
    dumps: Mapping[str, int] | None = None,
) -> Restored:
    """Restore `snapshot` into a deployed app. `started` raises when the app does not work after.

    `dumps` are the sizes of the snapshot's dumps by database, where they are known.

    Raises OperatorError for a choice that the snapshot does not hold, RonronError when it cannot be
    restored: the app's data is as it was then.
    """
    app = target.app
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    work = _work(app.files_root, app.name, stamp)
    with ExitStack() as cleaning:
        places = {(storage.name, app.files_root): storage}
        places |= {(there.name, v.root): there for v, there in target.place.items() if not v.shared}
        for (_, root), runner in places.items():
            require_mount(runner, root)
            _clear(runner, *_left(runner, root, app.name))
            beside = [f"{root}/{RESTORING}", f"{root}/{REPLACED}", _work(root, app.name, stamp)]
            runner.run(["install", "-d", "-m", "0700", *beside])
            cleaning.callback(_clear, runner, beside[-1])
        for (server, root), need in _needed(
            restic, storage, snapshot, target, choice, dumps or {}
        ).items():
            require_room(places[server, root], root, need + SPARE, f"{app.name}: the restore")
        with step(report, "fetch", f"{app.name} of {snapshot.time.astimezone():%Y-%m-%d %H:%M}"):
            restic.restore(snapshot, work, list(_wanted(snapshot, choice)))
        files = list(_files(storage, snapshot, target, choice, work, stamp))
        databases = list(databases_of(storage, snapshot, app, choice, work))
        if not files and not databases and choice == Choice():
            return Restored(app.name, snapshot, (), (), ())  # An app without data.
        if not files and not databases:
            raise OperatorError(
                f"{app.name}: the snapshot {snapshot.short_id} holds nothing of what was asked for",
                remedy=f"it holds: {', '.join(snapshot.paths)}",
            )
        swaps = [*files]
        for name, folder in databases:
            swaps.append(_load(docker, storage, target, name, folder, stamp, report))
        servers = {runner.name: runner for runner in places.values()}
        _swap(docker, manager, servers, app.name, swaps, started, report)
    return Restored(
        app.name,
        snapshot,
        tuple(PurePosixPath(swap.live).name for swap in files),
        tuple(name for name, _ in databases),
        tuple((swap.server, swap.old) for swap in swaps),
    )


def held_in(snapshot: Snapshot) -> dict[str, str]:
    """The paths of the volumes in a snapshot, by name: wherever they were when it was made."""
    return {PurePosixPath(path).name: path for path in snapshot.paths if path.startswith(ROOTS)}


def require_room(runner: Runner, folder: str, need: int, what: str) -> None:
    """Raise RonronError when `need` bytes are not free at `folder`; `what` would take them."""
    there = free(runner, folder)
    if there < need:
        raise RonronError(
            f"{what} may take {size(need)} of disk, and {runner.name} has {size(there)} to spare",
            remedy=f"make room in {folder} there; ronron storage status shows what uses it",
        )


def _needed(
    restic: Restic,
    storage: Runner,
    snapshot: Snapshot,
    target: Target,
    choice: Choice,
    dumps: Mapping[str, int],
) -> dict[tuple[str, str], int]:
    """The bytes that a restore writes, by server and the root of its volumes.

    A loaded database is taken to be as large as its dump. The repository is asked for what cannot
    be known from the snapshot's own size and that of its `dumps`.
    """
    app, own = target.app, f"{BACKUPS}/{snapshot.app}"
    if choice == Choice() and set(app.recipe.extension.databases) <= set(dumps):
        fetched, sizes = snapshot.size, {f"{own}/{name}.dump": dumps[name] for name in dumps}
    else:
        asked = [own] if choice == Choice() else list(_wanted(snapshot, choice))
        sizes = {entry.path: entry.size for entry in restic.entries(snapshot.id, *asked)}
        fetched = snapshot.size if choice == Choice() else sum(sizes.values())
    needed = {(storage.name, app.files_root): fetched}
    for name, rule in app.recipe.extension.databases.items():
        if choice.databases is None or name in choice.databases:
            volume = next(one for one in app.volumes if one.name == rule.volume)
            place = (target.place[volume].name, volume.root)
            needed[place] = needed.get(place, 0) + sizes.get(f"{own}/{name}.dump", 0)
    return needed


def _work(root: str, app: str, stamp: str) -> str:
    """The folder of a restore, on the file system of the volumes in `root`."""
    return f"{root}/{RESTORING}/{app}-{stamp}"


def kept(volume: Volume, stamp: str) -> str:
    """Where the folder of a volume is kept after another has taken its place: by renaming it."""
    return f"{volume.root}/{REPLACED}/{volume.app}-{stamp}/{volume.name}"


def _clear(runner: Runner, *work: str) -> None:
    """Delete folders of a restore; what a server keeps that does not answer goes with the next."""
    with suppress(ServerError):
        if work:
            runner.run(["rm", "-rf", "--one-file-system", "--", *work], check=False)


def _left(runner: Runner, root: str, app: str) -> list[str]:
    """The folders of this app's restores that were killed: only one goes on at a time."""
    # To the digit: `blog` and `blog-2` are two apps.
    stamp = f"-{'[0-9]' * 8}T{'[0-9]' * 6}Z"
    words = ("-mindepth", "1", "-maxdepth", "1", "-name", f"{app}{stamp}")
    return runner.run(["find", f"{root}/{RESTORING}", *words], check=False).text.splitlines()


def _wanted(snapshot: Snapshot, choice: Choice) -> Iterator[str]:
    """The paths of a snapshot that are restored."""
    for path in snapshot.paths:
        own = path == f"{BACKUPS}/{snapshot.app}"
        if own and choice.databases == frozenset():
            yield f"{path}/about"
        elif own or choice.volumes is None or PurePosixPath(path).name in choice.volumes:
            yield path


def _files(
    storage: Runner, snapshot: Snapshot, target: Target, choice: Choice, work: str, stamp: str
) -> Iterator[Swap]:
    """The restored volumes of files. Raises OperatorError for one that is not in the snapshot."""
    app = target.app
    held = held_in(snapshot)
    before = owners.first_id(storage, snapshot, work)
    for name in choice.volumes or ():
        if name not in held:
            raise OperatorError(
                f"{app.name}: the snapshot {snapshot.short_id} has no volume {name}",
                remedy=f"it has: {', '.join(sorted(held)) or 'none'}",
            )
    for volume in app.files:
        if volume.name not in held:
            continue
        if choice.volumes is not None and volume.name not in choice.volumes:
            continue
        new = f"{work}{held[volume.name]}"
        if storage.run(["test", "-d", new], check=False).status:
            raise RonronError(f"{app.name}: restic did not restore the volume {volume.name}")
        owners.settle(storage, new, before, volume.first_id)
        yield Swap(storage.name, volume.path, new, kept(volume, stamp))


def databases_of(
    storage: Runner, snapshot: Snapshot, app: Protected, choice: Choice, work: str
) -> Iterator[tuple[str, str]]:
    """The databases to restore, with the folder on the storage server that has `dump`, checked."""
    rules = app.recipe.extension.databases
    for name in choice.databases or ():
        if name not in rules:
            raise OperatorError(
                f"{app.name} has no database {name}", remedy=f"it has: {', '.join(rules) or 'none'}"
            )
    for name, rule in rules.items():
        if choice.databases is not None and name not in choice.databases:
            continue
        path = f"{work}{BACKUPS}/{snapshot.app}/{name}.dump"
        dump.check(storage, app.name, name, rule.engine, path)
        folder = f"{work}/load-{name}"
        volume = next(v for v in app.volumes if v.name == rule.volume)
        storage.run(["install", "-d", *volume.ownership, "-m", "0700", folder])
        storage.run(["mv", path, f"{folder}/dump"])
        uid, gid = volume.owner
        storage.run(["chown", f"{uid}:{gid}", f"{folder}/dump"])
        yield name, folder


def _load(
    docker: DockerClient,
    storage: Runner,
    target: Target,
    name: str,
    folder: str,
    stamp: str,
    report: Report,
) -> Swap:
    """Restore a dump into an empty folder beside the live one."""
    app = target.app
    rule = app.recipe.extension.databases[name]
    volume = next(v for v in app.volumes if v.name == rule.volume)
    place = place_of(app, rule, target.place)
    runner, new = place.holder, f"{_work(volume.root, app.name, stamp)}/{volume.name}"
    runner.run(["install", "-d", *volume.ownership, "-m", volume.mode, new])
    load_into(docker, storage, app, name, folder, replace(place, folder=new), report)
    return Swap(runner.name, volume.path, new, kept(volume, stamp))


def load_into(
    docker: DockerClient,
    storage: Runner,
    app: Protected,
    name: str,
    folder: str,
    place: Place,
    report: Report,
) -> None:
    """Restore the dump `dump` in `folder` on the storage server into the empty folder of `place`.

    A database of its own beside the live one does it, on the server with the place's label; none
    where the database is a file. Raises RonronError when it fails.
    """
    rule = app.recipe.extension.databases[name]
    with step(report, f"restore {name}", app.name):
        if rule.restores_files:
            dump.load_files(docker, storage, app.name, name, rule, folder, place, report)
            return
        folders = {place.volume: place.folder}
        with jobs.beside(
            docker, app.name, rule.service or name, f"restore-{name}", folders, DATABASE_SECONDS
        ) as network:
            dump.load(docker, app.name, name, rule, folder, network, report)


def _swap(
    docker: DockerClient,
    manager: Runner,
    servers: Mapping[str, Runner],
    app: str,
    swaps: Sequence[Swap],
    started: Callable[[], None],
    report: Report,
) -> None:
    """Stop the app, let the folders change places, start it; the other way round if that fails."""
    replicas = jobs.replicas_of(docker, app)
    kept = Journal(app, replicas, tuple(swaps))
    journal.write(manager, kept)
    try:
        with step(report, "stop", app):
            jobs.scale(docker, manager, app, dict.fromkeys(replicas, 0), STOP_SECONDS)
        for swap in swaps:
            journal.exchange(servers[swap.server], swap)
        with step(report, "start", app):
            jobs.scale(docker, manager, app, replicas, STOP_SECONDS)
            converge.wait(docker, app, DATABASE_SECONDS, report, anew=True)
            started()
    except BaseException as error:
        try:
            undo(docker, manager, servers, kept, report)
        except RonronError as lost:
            raise RonronError(
                f"{app}: the restore was interrupted: {lost.message}",
                remedy="once its servers answer, ronron apply puts the data back",
                details=lost.details,
            ) from error
        if isinstance(error, RonronError):
            raise RonronError(
                f"{app}: was not restored: {error.message.removeprefix(f'{app}: ')}",
                remedy="its data is as it was before",
                details=error.details,
            ) from error
        raise
    journal.remove(manager, app)


def undo(
    docker: DockerClient,
    manager: Runner,
    servers: Mapping[str, Runner],
    kept: Journal,
    report: Report,
) -> None:
    """Put the data of an interrupted restore back, start the app, and forget the journal.

    Raises RonronError when it cannot be done now; the next time goes on from there.
    """
    with step(report, "put the live data back", kept.app):
        jobs.scale(docker, manager, kept.app, dict.fromkeys(kept.replicas, 0), STOP_SECONDS)
        for swap in reversed(kept.swaps):
            journal.put_back(servers[swap.server], swap)
        jobs.scale(docker, manager, kept.app, kept.replicas, STOP_SECONDS)
        converge.wait(docker, kept.app, DATABASE_SECONDS, report, anew=True)
    journal.remove(manager, kept.app)


def tidy(runner: Runner) -> None:
    """Delete what was replaced on a server more than a week ago."""
    old = ("-mindepth", "1", "-maxdepth", "1", "-mtime", f"+{KEPT_DAYS - 1}")
    delete = ("-exec", "rm", "-rf", "--one-file-system", "{}", "+")
    runner.run(["find", *(f"{root}/{REPLACED}" for root in ROOTS), *old, *delete], check=False)

"""Backups of the site's apps: what `backup/` does for one, done for those that are deployed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ronron.backup import app as backing
from ronron.backup import journal
from ronron.backup import state as states
from ronron.backup.app import Backed, Protected, Sent
from ronron.backup.restic import Restic, Snapshot
from ronron.backup.restore import tidy
from ronron.backup.state import State, utcnow
from ronron.catalog.stack import Stack, Volume
from ronron.engine import client
from ronron.errors import OperatorError, RonronError
from ronron.events import Event
from ronron.plan import interrupted, pending, remapping, watching
from ronron.plan.clearing import clear_unless_held
from ronron.plan.lock import Locked, lock
from ronron.plan.make import read_secrets, recipe_of, rendered
from ronron.plan.repository import locked, restic, storage
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site.backup import Rule
from ronron.site.secret import redacted
from ronron.swarm import state, volumes
from ronron.swarm.engines import engine_of
from ronron.swarm.state import SwarmState

if TYPE_CHECKING:
    from docker import DockerClient

APPS_AT_ONCE = 3


@dataclass(frozen=True)
class Failed:
    """An app that was not backed up."""

    app: str
    error: RonronError


def protected(session: Session, swarm: SwarmState, name: str) -> Protected:
    """An app as it is deployed. Raises OperatorError when it is not, or its files' owners are
    counted otherwise."""
    loaded = session.loaded
    remapping.same(loaded.site, swarm)
    app = loaded.app(name)
    record = swarm.newest(name)
    if record is None:
        raise OperatorError(f"{name} is not deployed", remedy="run ronron apply first")
    recipe = recipe_of(app, loaded, session.catalog)
    stack = stack_of(session, name)
    vault = session.vault.sealed(name)
    tools = {image.upstream: image.reference for image in stack.images if not image.service}
    content = record.content
    declared = json.loads(content["stack"]).get("configs") or {}
    configs = {
        own: stack.configs[body["name"]].content
        for own, body in declared.items()
        if body.get("name") in stack.configs
    }
    return Protected(name, recipe, stack.volumes, content, vault, configs, tools)


def holders(session: Session, swarm: SwarmState, app: Protected) -> dict[Volume, Runner]:
    """The runners of the servers that hold the app's volumes."""
    placed = volumes.place(app.volumes, swarm)
    return {volume: session.servers[server] for volume, server in placed.items()}


def back_up(
    session: Session, names: Sequence[str] = (), job: str = ""
) -> tuple[list[Backed], list[Failed]]:
    """Back up the apps `names`, those of the timer's `job`, or all that are deployed, three at
    once.

    What restores replaced more than a week ago is deleted before. An app whose data a rebuild has
    still to bring back is not backed up, and fails. One app that fails stops no
    other. What was seen is kept on the manager. Raises RonronError when no app can be: no
    repository, no swarm, or another backup runs.
    """
    for name in names:
        session.loaded.app(name)
    repo = restic(session)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(client.load)  # while the lock is waited for
        with locked(session, "ronron backup"), engine_of(session.manager) as engine:
            return _back_up(session, engine, repo, names, job, beside)


def _back_up(
    session: Session,
    engine: DockerClient,
    repo: Restic,
    names: Sequence[str],
    job: str,
    beside: Executor,
) -> tuple[list[Backed], list[Failed]]:
    """As `back_up`, which holds the lock; `beside` does what can be done at the same time."""
    clear_unless_held(session, engine)
    swarm = state.observe(engine)
    since = watching.deployed(session.loaded, swarm)
    # After the swarm: what was deployed there by a rebuild is written down before.
    waiting = pending.waiting(session.manager)
    jobs = watching.jobs(session.loaded, since)
    chosen = names or [name for name in since if job in ("", jobs[name])]
    began = utcnow()
    looking = beside.submit(_look, session, since)

    def one(name: str) -> Sent | Failed:
        try:
            if name in waiting:
                raise RonronError(
                    f"{name}: is not backed up: it waits for its data",
                    remedy=f"ronron rebuild brings it back, or ronron restore {name}",
                )
            app = protected(session, swarm, name)
            where = holders(session, swarm, app)
            # A connection of its own: docker-py's are not made for several threads.
            with engine_of(session.manager) as own:
                return backing.back_up(own, storage(session), repo, app, where, session.report)
        except RonronError as error:
            return Failed(name, hidden(session, name, error))

    try:
        _take_back(session)
        with ThreadPoolExecutor(APPS_AT_ONCE) as threads:
            sent = list(threads.map(one, chosen))
    except RonronError as error:
        _keep(session, since, began, [Failed(name, error) for name in chosen], None, looking)
        raise
    listed, results = _seen(repo, sent)
    _keep(session, since, began, results, listed, looking)
    done = [result for result in results if isinstance(result, Backed)]
    return done, [result for result in results if isinstance(result, Failed)]


def _look(session: Session, since: Mapping[str, datetime]) -> tuple[State, Mapping[str, Rule]]:
    """What takes no part in backing up: old data that was replaced is deleted, clocks are compared,
    and the recipes read for what holds for each app. The state is as it was before: who writes it
    holds the lock of backups."""
    session.servers.on_each(tidy)
    skew = watching.skew(session)
    seen = watching.read(session.manager).model_copy(update={"skew": skew})
    return seen, watching.rules(session, since)


def _seen(
    repo: Restic, sent: Sequence[Sent | Failed]
) -> tuple[tuple[Snapshot, ...] | None, list[Backed | Failed]]:
    """What the repository lists, None where it does not answer, and what of `sent` is in it."""
    try:
        listed = repo.snapshots()
    except RonronError as error:
        return None, [one if isinstance(one, Failed) else Failed(one.app, error) for one in sent]
    results: list[Backed | Failed] = []
    for one in sent:
        try:
            results.append(one if isinstance(one, Failed) else backing.seen(one, listed))
        except RonronError as error:
            results.append(Failed(one.app, error))
    return listed, results


def _take_back(session: Session) -> None:
    """Take back what restores left half-done; not while somebody works on the site: it may be
    that restore."""
    if journal.read(session.manager):
        with suppress(Locked), lock(session.manager, "ronron backup"):
            interrupted.take_back(session)


def _keep(
    session: Session,
    since: Mapping[str, datetime],
    began: datetime,
    results: Sequence[Backed | Failed],
    snapshots: Sequence[Snapshot] | None,
    looking: Future[tuple[State, Mapping[str, Rule]]],
) -> None:
    """Keep on the manager what was tried, the `snapshots` that were listed after it, and what
    `_look` has seen.

    That it cannot be kept is told; it changes nothing of what was done.
    """
    try:
        _write(session, since, began, results, snapshots, *looking.result())
    except RonronError as error:
        told = Event("keep what was seen", session.manager.name, detail=str(error))
        session.report(told)


def _write(
    session: Session,
    since: Mapping[str, datetime],
    began: datetime,
    results: Sequence[Backed | Failed],
    snapshots: Sequence[Snapshot] | None,
    seen: State,
    rules: Mapping[str, Rule],
) -> None:
    if snapshots is not None:
        seen = states.listed(seen, snapshots, utcnow())
    for result in results:
        if isinstance(result, Failed):
            seen = states.tried(seen, result.app, began, error=result.error.message)
        else:
            dumps = {dump.database: dump.size for dump in result.dumps}
            app = result.snapshot.app
            seen = states.tried(seen, app, began, held=result.held, dumps=dumps)
    seen = states.expected(seen, rules, since)
    watching.write(session.manager, seen)


def stack_of(session: Session, name: str) -> Stack:
    """An app's stack as its files have it now."""
    loaded = session.loaded
    app = loaded.app(name)
    recipe = recipe_of(app, loaded, session.catalog)
    secrets = read_secrets(app, recipe, session.vault, deployed=False)
    return rendered(app, recipe, loaded.site, secrets, 1500)[0]


def hidden(session: Session, name: str, error: RonronError) -> RonronError:
    """`error` without what a database's program may have written of the app's secrets."""
    if session.vault.exists(name):
        try:
            values: Iterable[object] = session.vault.read(name).values.values()
        except RonronError:
            return RonronError(error.message, remedy=error.remedy)
        error.details = tuple(redacted(error.details, values))  # type: ignore[arg-type]
    return error

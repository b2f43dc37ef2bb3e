"""Drills of the site's apps: each newest snapshot restored aside, one app after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ronron.backup import drill as holding
from ronron.backup.drill import Clock, Place
from ronron.backup.drilled import Drilled, record
from ronron.backup.restic import Restic, Snapshot, choose
from ronron.catalog import mail
from ronron.catalog.recipe import Recipe
from ronron.catalog.render import render
from ronron.catalog.stack import PLATFORM, Stack
from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan.backups import hidden, protected
from ronron.plan.clearing import LOCK, clear, clear_app
from ronron.plan.lock import lock
from ronron.plan.make import recipe_of
from ronron.plan.repository import restic, storage
from ronron.plan.session import Session
from ronron.plan.watching import of_servers
from ronron.site.models import App, Site
from ronron.swarm import aside, stacks, state
from ronron.swarm.engines import engine_of
from ronron.swarm.state import SwarmState

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Drill:
    """What a drill found, with the lines that explain a failure."""

    found: Drilled
    details: tuple[str, ...] = ()


def drill(session: Session, names: Sequence[str] = (), *, seconds: float) -> tuple[Drill, ...]:
    """Restore the newest snapshot of the apps `names`, or of all, aside, and see that each works.

    `seconds` is how long an app may take to answer. What drills found is recorded on the manager,
    also that no snapshot could be read. Whatever happens, nothing stays of them, nor of drills that
    were killed. Raises RonronError when there is no swarm, or another drill is being held.
    """
    for name in names:
        if of_servers(session, session.loaded.app(name)):
            raise OperatorError(f"{name} looks at the servers themselves: it cannot be drilled")
    chosen = list(names) or [
        name
        for name, app in session.loaded.apps.items()
        if name not in PLATFORM and not of_servers(session, app)
    ]
    with lock(session.manager, "ronron drill", LOCK), engine_of(session.manager) as engine:
        clear(session, engine)
        swarm = state.observe(engine)
        done: list[Drill] = []
        try:
            repo = restic(session)
            snapshots = repo.snapshots()
        except RonronError as error:
            now = datetime.now(UTC)
            done = [Drill(Drilled(name, now, False, error.message)) for name in chosen]
            record(session.manager, [one.found for one in done], session.loaded.apps)
            raise
        for name in chosen:
            done.append(_one(session, engine, swarm, repo, snapshots, name, seconds))
            record(session.manager, [done[-1].found], session.loaded.apps)
    return tuple(done)


def _one(
    session: Session,
    engine: DockerClient,
    swarm: SwarmState,
    repo: Restic,
    snapshots: Sequence[Snapshot],
    name: str,
    seconds: float,
) -> Drill:
    at, began, clock = datetime.now(UTC), time.monotonic(), Clock()
    details: tuple[str, ...] = ()
    reason, spent, snapshot = "", None, None
    try:
        snapshot = choose(snapshots, name)
        _secrets_fit(session, swarm, name)
        app = protected(session, swarm, name)
        server = session.loaded.site.storage_server.name
        place = Place(engine, session.manager, storage(session), server)
        stack = _without_mail(session, swarm, name)
        try:
            holding.hold(place, repo, snapshot, app, stack, seconds, clock, session.report)
            spent = time.monotonic() - began
        finally:
            with step(session.report, "clear away", name):
                clear_app(session, engine, name)
    except RonronError as error:
        error = hidden(session, name, error)
        said = error.message.replace(aside.name_of(name), name)
        reason, details = said.removeprefix(f"{name}: "), tuple(error.details)
    found = Drilled(
        name,
        at,
        not reason,
        reason,
        snapshot.id if snapshot else None,
        snapshot.time if snapshot else None,
        spent,
        (at - snapshot.time).total_seconds() if snapshot else None,
        clock.phases,
    )
    return Drill(found, details)


def _without_mail(session: Session, swarm: SwarmState, name: str) -> Stack:
    """The app's stack with the secrets that it runs with, and without a mail relay."""
    loaded = session.loaded
    app = loaded.app(name)
    recipe = recipe_of(app, loaded, session.catalog)
    newest = swarm.newest(name)
    assert newest is not None  # noqa: S101 - `protected` has seen it
    names = stacks.secrets_of(newest.content["stack"])
    stack = render(*silent(app, recipe, loaded.site), names)
    if missing := set(stack.compose.get("secrets") or {}) - set(stack.secrets):
        raise RonronError(
            f"{name}: the swarm has no secret {min(missing)} of it",
            remedy="run ronron apply: its files were changed since it was deployed",
        )
    return stack


def silent(app: App, recipe: Recipe, site: Site) -> tuple[App, Recipe, Site]:
    """The same without a mail relay, neither the site's nor the app's own."""
    kept = app.parameters
    if app.recipe is not None:
        kept = {key: value for key, value in kept.items() if key not in mail.PARAMETERS}
    changed = app.model_copy(update={"parameters": kept})
    return changed, recipe, site.model_copy(update={"mail": None})


def _secrets_fit(session: Session, swarm: SwarmState, name: str) -> None:
    """Where this computer can open the app's vault: that it has the secrets that the app uses.

    A rebuild takes them from there. Raises RonronError when it has others, or cannot be read.
    """
    newest, vault = swarm.newest(name), session.vault
    if newest is None or not vault.exists(name):
        return
    secrets = vault.read(name)
    for own, used in stacks.secrets_of(newest.content["stack"]).items():
        if own in secrets.values and secrets.digest_name(name, own) != used:
            raise RonronError(
                f"{name}: vault/{name}.age has another {own} than the app runs with",
                remedy="run ronron apply, or take the vault's file from git",
            )

"""Backups of the site's apps: what `backup/` does for one, done for those that are deployed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ronron.backup import app as backing
from ronron.backup.app import Backed, Protected
from ronron.backup.repository import PASSWORD, VAULT_NAME, Repository, repository_of
from ronron.backup.restic import Restic
from ronron.backup.restore import tidy
from ronron.catalog.render import PLATFORM, Stack
from ronron.errors import OperatorError, RonronError
from ronron.plan.clearing import clear_unless_held
from ronron.plan.lock import lock
from ronron.plan.make import read_secrets, recipe_of, rendered
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site.secret import redacted
from ronron.site.vault import Secrets, generate
from ronron.swarm import state
from ronron.swarm.engines import engine_of

if TYPE_CHECKING:
    from ronron.swarm.state import SwarmState

APPS_AT_ONCE = 3
LOCK = "/run/ronron-backup.lock"


@dataclass(frozen=True)
class Failed:
    """An app that was not backed up."""

    app: str
    error: RonronError


def storage(session: Session) -> Runner:
    """The server that holds the volumes of files, and on which restic runs."""
    return session.servers[session.loaded.site.storage_server.name]


def repository(session: Session) -> Repository:
    """The site's repository. Raises OperatorError when none is declared."""
    vault = session.vault
    secrets = vault.read(VAULT_NAME) if vault.exists(VAULT_NAME) else Secrets()
    return repository_of(session.loaded.site.backup, secrets, session.loaded.folder)


def restic(session: Session) -> Restic:
    """The site's repository, worked with on the storage server."""
    site = session.loaded.site
    return Restic(storage(session), repository(session), site.name, session.report)


def init(session: Session) -> bool:
    """Create the repository; its password is made first, and kept in the vault.

    Returns False when it was there. Raises OperatorError when something to log in with is missing.
    """
    found = repository(session)
    if PASSWORD not in found.secrets:
        vault = session.vault
        secrets = vault.read(VAULT_NAME) if vault.exists(VAULT_NAME) else Secrets()
        vault.write(VAULT_NAME, secrets.set(PASSWORD, generate(43)))
    return restic(session).init()


def protected(session: Session, swarm: SwarmState, name: str) -> Protected:
    """An app as it is deployed. Raises OperatorError when it is not."""
    loaded = session.loaded
    app = loaded.app(name)
    record = swarm.newest(name)
    if record is None:
        raise OperatorError(f"{name} is not deployed", remedy="run ronron apply first")
    recipe = recipe_of(app, loaded, session.catalog)
    stack = stack_of(session, name)
    vault = session.vault.sealed(name)
    content = record.content
    declared = json.loads(content["stack"]).get("configs") or {}
    configs = {
        own: stack.configs[body["name"]].content
        for own, body in declared.items()
        if body.get("name") in stack.configs
    }
    return Protected(name, recipe, stack.volumes, content, vault, configs)


def back_up(session: Session, names: Sequence[str] = ()) -> tuple[list[Backed], list[Failed]]:
    """Back up the apps `names`, or all that are deployed, three at a time.

    What restores replaced more than a week ago is deleted before. One app that fails stops no
    other. Raises RonronError when no app can be: no repository, no swarm, or another backup runs.
    """
    for name in names:
        session.loaded.app(name)
    repo = restic(session)
    with lock(session.manager, "ronron backup", LOCK), engine_of(session.manager) as engine:
        repo.unlock()
        clear_unless_held(session, engine)
        swarm = state.observe(engine)
        deployed = [n for n in session.loaded.apps if swarm.newest(n) and n not in PLATFORM]

        def one(name: str) -> Backed | Failed:
            try:
                app = protected(session, swarm, name)
                # A connection of its own: docker-py's are not made for several threads.
                with engine_of(session.manager) as own:
                    return backing.back_up(own, storage(session), repo, app, session.report)
            except RonronError as error:
                return Failed(name, hidden(session, name, error))

        session.servers.on_each(tidy)
        with ThreadPoolExecutor(APPS_AT_ONCE) as threads:
            results = list(threads.map(one, names or deployed))
    done = [result for result in results if isinstance(result, Backed)]
    return done, [result for result in results if isinstance(result, Failed)]


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

"""Restoring: a snapshot into an app that is there, or into one that is deployed for it."""

from __future__ import annotations

from dataclasses import replace

from ronron.backup import restore as restoring
from ronron.backup.restic import Snapshot
from ronron.backup.restore import Choice, Restored, Target
from ronron.backup.state import dumps_of
from ronron.errors import OperatorError, RonronError
from ronron.plan import deploying, interrupted, pending, watching
from ronron.plan.apply import wait_for_answer
from ronron.plan.backups import hidden, holders, protected, stack_of
from ronron.plan.lock import lock
from ronron.plan.repository import restic, storage
from ronron.plan.session import Session
from ronron.site import edit
from ronron.site.load import load_site
from ronron.site.models import App
from ronron.swarm import state
from ronron.swarm.engines import engine_of


def restore(
    session: Session,
    snapshot: Snapshot,
    name: str,
    choice: Choice,
    *,
    seconds: float,
) -> Restored:
    """Restore `snapshot` into the deployed app `name`, which may be another than the snapshot's.

    A rebuild waits no more for an app that is restored whole. Raises RonronError when it cannot be,
    and the app's data is then as it was.
    """
    with lock(session.manager, f"ronron restore {name}"):
        interrupted.take_back(session)
        done = restore_now(session, snapshot, name, choice, seconds=seconds)
        if choice == Choice() and snapshot.app == name:
            pending.done(session.manager, name)
        return done


def restore_now(
    session: Session, snapshot: Snapshot, name: str, choice: Choice, *, seconds: float
) -> Restored:
    """As `restore`, for a caller that holds the site's lock."""
    with engine_of(session.manager) as engine:
        swarm = state.observe(engine)
        app = protected(session, swarm, name)
        place = holders(session, swarm, app)
        stack = stack_of(session, name)
        dumps = dumps_of(watching.read(session.manager)).get(snapshot.id)

        def started() -> None:
            wait_for_answer(session, engine, stack, seconds)

        try:
            return restoring.restore(
                engine, session.manager, storage(session), restic(session), snapshot,
                Target(app, place), choice, started, session.report, dumps,
            )  # fmt: skip
        except RonronError as error:
            raise hidden(session, name, error) from error


def deployed_from(
    session: Session, snapshot: Snapshot, name: str, domain: str | None, *, seconds: float
) -> Session:
    """Deploy an app `name` as `snapshot` describes its app, ready to take its data.

    It has the same secrets, since data may be encrypted with them. Its file is removed again when
    it cannot be deployed. Returns a session that knows it. Raises OperatorError when `name` is
    taken, by secrets of an app that is gone too, or it would answer to the other's domain.
    """
    loaded = session.loaded
    if name in loaded.apps:
        raise OperatorError(f"there is an app {name} already", remedy="choose another name")
    if name != snapshot.app and session.vault.exists(name):
        raise OperatorError(
            f"vault/{name}.age: is of another app of that name, which is gone",
            remedy=f"choose another name, or: git rm vault/{name}.age",
        )
    about = restoring.read_about(restic(session), snapshot)
    content = {**about["declared"], "name": name}
    content.pop("domain", None)
    if domain or name == snapshot.app:
        content["domain"] = domain or about["domain"]
    app = App.model_validate({key: value for key, value in content.items() if value is not None})
    vault = session.vault
    new = not vault.exists(name)
    try:
        edit.write_app(loaded.folder, app)
        if new and vault.exists(snapshot.app):
            vault.write(name, vault.read(snapshot.app))
        elif new and (file := restoring.read_vault_file(restic(session), snapshot)):
            vault.take_back(name, file)
        session = replace(session, loaded=load_site(loaded.folder))
        change, reality = deploying.plan_one(session, name)
        draft = deploying.Draft(session.loaded)
        deploying.carry_out(session, draft, name, change, reality, seconds=seconds)
    except BaseException:
        edit.remove_app(loaded.folder, name)
        if new:
            vault.remove(name)
        raise
    return session

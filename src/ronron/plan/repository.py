"""The site's repository: made, looked at, checked, and rid of what is old."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress

from ronron.backup import state as states
from ronron.backup.alerts import Alert
from ronron.backup.repository import PASSWORD, VAULT_NAME, Repository, repository_of
from ronron.backup.restic import TOLERANCE, Restic, Snapshot
from ronron.backup.state import Checked, utcnow
from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan import watching
from ronron.plan.carry import HERE
from ronron.plan.lock import lock
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site.backup import rule
from ronron.site.vault import Secrets, generate
from ronron.swarm import state
from ronron.swarm.engines import engine_of
from ronron.swarm.state import SwarmState

LOCK = "/run/ronron-backup.lock"
JOB_WAITS = 6 * 3600.0
"""Seconds that a job of the manager waits for another."""


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


def survey(
    session: Session, app: str | None = None
) -> tuple[tuple[Snapshot, ...], Mapping[str, Mapping[str, int]], tuple[Alert, ...]]:
    """The snapshots that the repository lists, of all apps or one; the sizes of their dumps by the
    ids of those where they are known; what is wrong with backups (of that one and in common)."""
    found = restic(session).snapshots()
    swarm = SwarmState()
    with suppress(RonronError), engine_of(session.manager) as engine:
        swarm = state.observe(engine)  # Bare servers before a rebuild have none.
    seen = states.listed(watching.read(session.manager), found, utcnow())
    seen = seen.model_copy(update={"skew": watching.skew(session)})
    _, alerts = watching.judged(session, swarm, seen)
    return (
        tuple(one for one in found if app in (None, one.app)),
        states.dumps_of(seen),
        tuple(one for one in alerts if app in (None, one.app) or not one.app),
    )


def check(session: Session, subset: str) -> None:
    """Check the repository, with a part of its data, and keep on the manager what was found.

    Raises RonronError with what restic found.
    """
    repo = restic(session)
    error: RonronError | None = None
    with locked(session, "ronron backup check"):
        try:
            with step(session.report, "check", repo.repository.location):
                repo.check(subset)
        except RonronError as found:
            error = found
        now = utcnow()
        said = error.message if error else ""
        seen = watching.read(session.manager)
        with suppress(RonronError):
            seen = states.listed(seen, repo.snapshots(), now)
        checked = Checked(at=now, reads=subset, error=said)
        watching.write(session.manager, seen.model_copy(update={"checked": checked}))
    if error:
        raise error


def forget(session: Session) -> int:
    """Forget the snapshots that no rule keeps, app by app, and free their space; how many went.

    Raises RonronError when a clock cannot be trusted: what is kept is counted back from an app's
    newest snapshot, and one from the future would cost all others; when the repository refuses.
    OperatorError for a repository that deletes nothing.
    """
    repo, settings = restic(session), session.loaded.site.backup
    assert settings is not None  # noqa: S101 - `restic` has said so
    if not settings.deletes:
        raise OperatorError(
            f"{settings.repository}: this repository deletes nothing (backup.append_only)",
            remedy="forget its snapshots where it is kept: docs/backups.md has the steps",
        )
    with locked(session, "ronron backup forget"):
        snapshots = repo.snapshots()
        wrong = [one for one in snapshots if one.time > utcnow() + TOLERANCE]
        if wrong:
            raise RonronError(
                f"{wrong[0].app}: the snapshot {wrong[0].short_id} is from the future: "
                "nothing is forgotten",
                remedy="look at the servers' clocks, then: "
                f"ronron backup forget {' '.join(one.short_id for one in wrong)}",
            )
        for server, ahead in watching.skew(session).items():
            if abs(ahead) > TOLERANCE.total_seconds():
                raise RonronError(
                    f"{server}: its clock differs by {abs(ahead):.0f} s: nothing is forgotten",
                    remedy="set it: timedatectl on the server shows what it follows",
                )
        apps = session.loaded.apps
        kept = {
            app: rule(settings, apps[app].backup if app in apps else None).keep
            for app in {one.app for one in snapshots}
        }
        with step(session.report, "forget", repo.repository.location):
            gone = _gone(session, repo, repo.forget(kept))
            repo.prune()
    return gone


def forget_these(session: Session, ids: Sequence[str]) -> int:
    """Forget the snapshots named; how many went. Their space is freed by the next `forget`.

    Raises OperatorError for one that is not there, RonronError when the repository refuses.
    """
    repo = restic(session)
    with locked(session, "ronron backup forget"):
        listed = repo.snapshots()
        found = {}
        for name in ids:
            found[name] = [one.id for one in listed if one.id.startswith(name)]
            if len(name) < 8 or not found[name]:
                raise OperatorError(f"there is no snapshot {name}", remedy="ronron backups")
        repo.forget_these(ids)
        return _gone(session, repo, [id for some in found.values() for id in some])


def _gone(session: Session, repo: Restic, forgotten: Sequence[str]) -> int:
    """How many of the snapshots `forgotten` the repository lists no more; what it does list is kept
    on the manager. Raises RonronError when it still lists some."""
    listed = repo.snapshots()
    watching.write(session.manager, states.listed(watching.read(session.manager), listed, utcnow()))
    there = {one.id for one in listed} & set(forgotten)
    if there:
        raise RonronError(
            f"{repo.repository.location}: refused to delete {len(there)} of the {len(forgotten)} "
            "snapshots that were to be forgotten",
            remedy="a repository that only takes is pruned where it is kept: docs/backups.md has "
            "the steps, and backup.append_only says that it is one",
        )
    return len(forgotten)


def locked(session: Session, doing: str) -> AbstractContextManager[None]:
    """The lock of backups: the manager's own jobs wait for each other, a person is told."""
    wait = JOB_WAITS if HERE in os.environ else 0
    return lock(session.manager, doing, LOCK, wait=wait, report=session.report)

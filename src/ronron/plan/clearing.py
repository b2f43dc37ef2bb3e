"""What drills left is removed: by the next drill, the next backup, and when an app goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ronron.backup.drill import FOLDER
from ronron.errors import RonronError
from ronron.events import Event, step
from ronron.plan.lock import lock
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.swarm import aside

if TYPE_CHECKING:
    from docker import DockerClient

LOCK = "/run/ronron-drill.lock"
"""Held while a drill is held."""


def clear(session: Session, engine: DockerClient) -> None:
    """Remove all that drills left; the caller holds LOCK."""
    for app in sorted(_left(session, engine)):
        with step(session.report, "clear what a drill left", app):
            clear_app(session, engine, app)


def clear_app(session: Session, engine: DockerClient, app: str) -> None:
    """Remove what is aside of one app: services, networks, configs, and its folder."""
    server = _storage(session)
    aside.remove(engine, session.manager, server, app)
    server.run(["rm", "-rf", "--one-file-system", "--", f"{FOLDER}/{app}"])


def clear_unless_held(session: Session, engine: DockerClient) -> None:
    """Remove what drills left, unless one is being held; a failure is told and is none here."""
    if not _left(session, engine):
        return
    try:
        with lock(session.manager, "clearing away a drill", LOCK):
            clear(session, engine)
    except RonronError as error:
        session.report(Event("clear what a drill left", detail=str(error)))


def _left(session: Session, engine: DockerClient) -> set[str]:
    listed = _storage(session).run(["ls", "-A", FOLDER], check=False).text.split()
    return aside.left(engine) | set(listed)


def _storage(session: Session) -> Runner:
    return session.servers[session.loaded.site.storage_server.name]

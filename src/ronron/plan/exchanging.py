"""An app stopped while its data is exchanged; whatever fails, it runs as before.

Each step leaves behind how it is undone; the steps are undone last first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ronron.backup.restic import size as shown
from ronron.errors import OperatorError, RonronError
from ronron.events import Event, step
from ronron.servers.copying.aside import (
    Kept,
    aside,
    clear_stale,
    is_there,
    remove_command,
    rename,
)
from ronron.servers.copying.copy import copy
from ronron.servers.runner import Runner
from ronron.swarm import converge, jobs, nodes, quotas
from ronron.swarm.volumes import require_mount, unuse

if TYPE_CHECKING:
    from docker import DockerClient

    from ronron.catalog.stack import Volume
    from ronron.plan.session import Session
    from ronron.swarm.state import SwarmState

STOP_SECONDS = 300.0


@dataclass(frozen=True)
class Exchange:
    """An app that is stopped: `when` is in the names of old copies; `undo` has the way back."""

    session: Session
    engine: DockerClient
    app: str
    when: str
    undo: ExitStack

    def bring(
        self, source: Runner, path: str, target: Runner, volume: Volume, size: int
    ) -> list[Kept]:
        """Copy a volume's folder `path`, `size` bytes large, to its new place, compared before.

        Its quota goes along where there can be one. Returns where what was in that place is now.
        """
        name, to = PurePosixPath(path).name, volume.path
        work = aside(to, "moving", self.when)
        label = f"copy {name}"

        def told(gone: int) -> None:
            detail = f"{name} {shown(gone)} of {shown(size)}"
            self.session.report(Event(label, self.app, detail=detail))

        with step(self.session.report, label, self.app):
            folder = str(PurePosixPath(work).parent)
            require_mount(target, str(PurePosixPath(to).parent.parent))
            target.run(["install", "-d", "-m", "0700", folder])
            clear_stale(target, to, "moving", self.when)  # half a copy, of a move that was killed
            self.undo.callback(target.run, remove_command(folder))
            copy(source, path, target, work, told)
            kept = self.put_aside(target, to)
            target.run(["install", "-d", "-m", "0711", str(PurePosixPath(to).parent)])
            rename(target, work, to)
            self.undo.callback(rename, target, to, work)
            if volume.quota and not volume.shared:
                with suppress(OperatorError):  # the plan has said it
                    quotas.set_limit(target, volume)
            target.run(["rmdir", "--", folder], check=False)
        return kept

    def put_aside(self, runner: Runner, path: str) -> list[Kept]:
        """Move a volume's folder aside, if there is one, and say where it is."""
        if not is_there(runner, path):
            return []
        old = aside(path, "moved", self.when)
        rename(runner, path, old)
        self.undo.callback(rename, runner, old, path)
        return [Kept(runner.name, old)]

    def pin(self, volume: Volume, to: str, swarm: SwarmState) -> None:
        """Make `to` the one server that holds a database; a fence that it had is taken down.

        So is Docker's own entry there of a volume of that name: it may lead to another folder.
        """
        unuse(self.session.servers[to], [f"{self.app}_{volume.name}"])
        self.label(to, volume.label, "true", swarm)
        self.label(to, volume.fence, None, swarm)
        for node in swarm.with_label(volume.label):
            if node.name != to:
                self.label(node.name, volume.label, None, swarm)

    def label(self, server: str, key: str, value: str | None, swarm: SwarmState) -> None:
        """Set a label of a server's node, or remove it."""
        node = swarm.node(server)
        before = node.labels.get(key) if node else None
        if before != value:
            nodes.label(self.engine, server, key, value)
            self.undo.callback(nodes.label, self.engine, server, key, before)


@contextmanager
def stopped(
    session: Session,
    engine: DockerClient,
    app: str,
    when: str,
    seconds: float,
    started: Callable[[], None],
    *,
    start: Callable[[], None] | None = None,
    worked: bool = True,
) -> Iterator[Exchange]:
    """The app stopped while the context lasts, and started after it, in at most `seconds`.

    `started` raises when it does not work then; `start` is how it is started, if not as it was. An
    app that has not `worked` before is not waited for when it is put back.
    Raises RonronError when it is stopped already, without `start`, and when anything failed:
    everything was undone, and the app runs as before.
    """
    manager, report = session.manager, session.report
    replicas = jobs.replicas_of(engine, app)
    if start is None and replicas and not any(replicas.values()):
        what = f"{app} is stopped, as something that was interrupted leaves it"
        raise RonronError(what, remedy="ronron apply starts it; then try again")

    def halt() -> None:
        jobs.scale(engine, manager, app, dict.fromkeys(replicas, 0), STOP_SECONDS)

    def go() -> None:
        jobs.scale(engine, manager, app, replicas, STOP_SECONDS)
        converge.wait(engine, app, seconds, report, anew=True)

    def again() -> None:
        jobs.scale(engine, manager, app, replicas, STOP_SECONDS)

    with ExitStack() as undo:
        undo.callback(go if worked else again)
        try:
            with step(report, "stop", app):
                halt()
            yield Exchange(session, engine, app, when, undo)
            undo.callback(halt)
            with step(report, "start", app):
                (start or go)()
            started()
        except RonronError as error:
            _back(undo, app, session, error)
            raise
        undo.pop_all()


def _back(undo: ExitStack, app: str, session: Session, error: RonronError) -> None:
    """Undo everything. Raises RonronError when that fails too."""
    try:
        with step(session.report, "put everything back", app):
            undo.close()
    except RonronError as second:
        raise RonronError(
            f"{error.message}; and not everything could be put back: {second.message}",
            remedy="nothing was deleted: ronron plan shows what is not as it should be",
            details=(*error.details, *second.details),
        ) from error

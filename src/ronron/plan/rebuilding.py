"""All servers are new: the platform is applied, and each app comes back from its newest snapshot.

Which apps are still to come back is kept on the manager, so that a rebuild that was interrupted is
finished by the next. An app that ran before the rebuild began is left alone: its data is newer than
any snapshot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

from ronron.backup.restic import Snapshot
from ronron.backup.restore import Choice
from ronron.catalog.render import PLATFORM
from ronron.errors import RonronError
from ronron.events import Event
from ronron.plan import apply
from ronron.plan.backups import APPS_AT_ONCE, Failed, hidden, restic
from ronron.plan.lock import lock
from ronron.plan.restoring import restore_now
from ronron.plan.session import Session, plan
from ronron.swarm import state
from ronron.swarm.engines import engine_of

PENDING = "/srv/ronron/rebuild.json"


@dataclass(frozen=True)
class Rebuilt:
    """An app that is back, from which snapshot (None: there is none, it is new), in how long."""

    app: str
    snapshot: Snapshot | None
    seconds: float


@dataclass(frozen=True)
class Report:
    """What a rebuild did; `left` are the apps that were there. `platform` is in seconds."""

    apps: tuple[Rebuilt, ...]
    failed: tuple[Failed, ...]
    left: tuple[str, ...]
    platform: float
    seconds: float


def rebuild(session: Session, *, seconds: float) -> Report:
    """Apply the platform, then deploy and restore every declared app that is not there.

    `seconds` is how long an app may take to answer. Apps that fail do not stop the others. Raises
    RonronError when the platform cannot be applied or the repository cannot be read.
    """
    began = time.monotonic()
    with lock(session.manager, "ronron rebuild"):
        made, reality = plan(session)
        apply.check(made, reality)
        own = tuple(change for change in made.apps if change.app in PLATFORM)
        apply.apply(session, replace(made, apps=own), reality, seconds=seconds)
        platform = time.monotonic() - began
        newest = {one.app: one for one in restic(session).snapshots()}
        pending = _Pending(session)
        pending.begin(name for name in session.loaded.apps if name not in _deployed(session))
        left = tuple(name for name in session.loaded.apps if name not in pending.apps)

        def one(name: str) -> Rebuilt | Failed:
            start = time.monotonic()
            try:
                _deploy(session, name, seconds)
                if name in newest:
                    restore_now(session, newest[name], name, Choice(), seconds=seconds)
                else:
                    session.report(Event("rebuild", name, detail="there is no snapshot: it is new"))
            except RonronError as error:
                return Failed(name, hidden(session, name, error))
            pending.done(name)
            return Rebuilt(name, newest.get(name), time.monotonic() - start)

        with ThreadPoolExecutor(APPS_AT_ONCE) as threads:
            results = list(threads.map(one, pending.apps))
        pending.end()
    return Report(
        tuple(result for result in results if isinstance(result, Rebuilt)),
        tuple(result for result in results if isinstance(result, Failed)),
        left,
        platform,
        time.monotonic() - began,
    )


def _deployed(session: Session) -> set[str]:
    with engine_of(session.manager) as engine:
        return set(state.observe(engine).records)


def _deploy(session: Session, name: str, seconds: float) -> None:
    made, reality = plan(session, [name])
    for change in made.apps:
        apply.deploy(session, change, reality, seconds=seconds)


class _Pending:
    """The apps that are still to come back, kept in a file on the manager."""

    def __init__(self, session: Session) -> None:
        self._manager = session.manager
        self._writing = Lock()
        self.apps: tuple[str, ...] = ()
        self._left: set[str] = set()

    def begin(self, missing: Iterable[str]) -> None:
        """Take what an interrupted rebuild left, and the apps that are `missing`."""
        found = self._manager.run(["cat", PENDING], check=False)
        before = json.loads(found.text) if found.status == 0 and found.text else []
        self.apps = tuple(dict.fromkeys((*before, *missing)))
        self._left = set(self.apps)
        self._write()

    def done(self, name: str) -> None:
        """An app is back."""
        with self._writing:
            self._left.discard(name)
            self._write()

    def end(self) -> None:
        """Nothing is left to do, if so."""
        if not self._left:
            self._manager.run(["rm", "-f", PENDING])

    def _write(self) -> None:
        self._manager.put(PENDING, json.dumps(sorted(self._left)).encode(), mode=0o600)

"""All servers are new: the platform is applied, and each app comes back from its newest snapshot.

Which apps are still to come back is kept on the manager, so that a rebuild that was interrupted is
finished by the next. An app that ran before the rebuild began is left alone: its data is newer than
any snapshot.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from ronron.backup.restic import Snapshot, choose
from ronron.backup.restore import Choice
from ronron.catalog.stack import PLATFORM
from ronron.errors import RonronError
from ronron.events import Event, State
from ronron.events import Report as Told
from ronron.plan import apply, carry, pending
from ronron.plan.backups import APPS_AT_ONCE, Failed, hidden
from ronron.plan.lock import lock
from ronron.plan.repository import restic
from ronron.plan.restoring import restore_now
from ronron.plan.session import Session, plan
from ronron.servers.carry.manager import STATE
from ronron.site.load import LoadedSite

REPORT = f"{STATE}/rebuild.json"
"""On the manager: the report of the last rebuild."""


@dataclass(frozen=True)
class Rebuilt:
    """An app that is back, from which snapshot (None: there is none, it is new), in how long."""

    app: str
    snapshot: Snapshot | None
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a rebuild did; `left` are the apps that were there, and `carrying` is why ronron could
    not be carried to the manager, if so. `servers`, `platform` and `seconds` (all of it) are in
    seconds, as are the phases of each app: deploy, fetch, load, start."""

    apps: tuple[Rebuilt, ...]
    failed: tuple[Failed, ...]
    left: tuple[str, ...]
    servers: float
    platform: float
    seconds: float
    carrying: RonronError | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it, in the file that is kept too."""
        return {
            "apps": [
                {
                    "app": one.app,
                    "snapshot": one.snapshot.id if one.snapshot else None,
                    "time": one.snapshot.time.isoformat() if one.snapshot else None,
                    "seconds": round(one.seconds, 1),
                    "phases": {name: round(spent, 1) for name, spent in one.phases.items()},
                }
                for one in self.apps
            ],
            "failed": [{"app": one.app, "error": str(one.error)} for one in self.failed],
            "left": list(self.left),
            "carry_error": str(self.carrying) if self.carrying else None,
            "servers_seconds": round(self.servers, 1),
            "platform_seconds": round(self.platform, 1),
            "seconds": round(self.seconds, 1),
        }


def rebuild(session: Session, *, seconds: float) -> Report:
    """Apply the platform, then deploy and restore every declared app that is not there.

    `seconds` is how long an app may take to answer. Apps of one priority come back together, and
    before those of the next. Apps that fail do not stop the others. ronron is carried to the
    manager last: the apps come back without it. The report is kept on the manager. Raises
    RonronError when the platform cannot be applied or the repository cannot be read.
    """
    began, at = time.monotonic(), datetime.now(UTC)
    with lock(session.manager, "ronron rebuild"):
        made, reality = plan(session)
        apply.check(made, reality)
        if made.unseen:  # Apps that are there would be taken for lost.
            raise RonronError(
                f"the swarm could not be looked at: {made.unseen}",
                remedy="run ronron apply, which starts its Docker, and then ronron rebuild",
            )
        own = tuple(change for change in made.apps if change.app in PLATFORM)
        bare = replace(made, apps=own, carry=())
        # Before anything changes: whatever fails after this, and whoever deploys the apps then,
        # they are known to wait for their data.
        declared = session.loaded.apps
        missing = [name for name in declared if name not in reality.swarm.records]
        coming = pending.begin(session.manager, declared, missing)
        reality = apply.servers(session, bare, reality)
        servers = time.monotonic() - began
        apply.apps(session, bare, reality, seconds=seconds)
        platform = time.monotonic() - began - servers
        snapshots = restic(session).snapshots()
        kept = {one.app for one in snapshots}
        left = tuple(name for name in declared if name not in coming)

        def one(name: str) -> Rebuilt | Failed:
            start, phases = time.monotonic(), _Phases(session.report)
            own = session.reporting(phases.report)
            try:
                snapshot = choose(snapshots, name) if name in kept else None
                _deploy(session, name, seconds)
                phases.spent["deploy"] = time.monotonic() - start
                if snapshot:
                    restore_now(own, snapshot, name, Choice(), seconds=seconds)
                else:
                    session.report(Event("rebuild", name, detail="there is no snapshot: it is new"))
            except RonronError as error:
                return Failed(name, hidden(session, name, error))
            pending.done(session.manager, name)
            return Rebuilt(name, snapshot, time.monotonic() - start, phases.spent)

        results: list[Rebuilt | Failed] = []
        with ThreadPoolExecutor(APPS_AT_ONCE) as threads:
            for together in waves(session.loaded, coming):
                results += threads.map(one, together)
        carrying: RonronError | None = None
        try:
            if made.carry:
                carry.carry_out(session, reality)
        except RonronError as error:
            carrying = error
        report = Report(
            tuple(result for result in results if isinstance(result, Rebuilt)),
            tuple(result for result in results if isinstance(result, Failed)),
            left,
            servers,
            platform,
            time.monotonic() - began,
            carrying,
        )
        told = {"at": at.isoformat(timespec="seconds"), **report.plain()}
        content = json.dumps(told, indent=1).encode()
        session.manager.put(REPORT, content, mode=0o600, folder=0o700)
    return report


def waves(loaded: LoadedSite, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The apps `names` by their priority: those that come back together, the first first."""

    def priority(name: str) -> int:
        return loaded.apps[name].priority if name in loaded.apps else 100

    ordered = sorted(names, key=lambda name: (priority(name), name))
    return tuple(tuple(group) for _, group in itertools.groupby(ordered, priority))


class _Phases:
    """How long the phases of an app's restore took, heard from its events, which are passed on."""

    NAMES: ClassVar = {"fetch": "fetch", "restore": "load", "stop": "start", "start": "start"}

    def __init__(self, report: Told) -> None:
        self._report = report
        self.spent: dict[str, float] = {}

    def report(self, event: Event) -> None:
        """Add what a step took to its phase."""
        phase = self.NAMES.get(event.step.partition(" ")[0])
        if phase and event.state is State.DONE and event.seconds is not None:
            self.spent[phase] = self.spent.get(phase, 0.0) + event.seconds
        self._report(event)


def _deploy(session: Session, name: str, seconds: float) -> None:
    made, reality = plan(session, [name])
    for change in made.apps:
        apply.deploy(session, change, reality, seconds=seconds)

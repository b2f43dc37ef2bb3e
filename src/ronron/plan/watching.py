"""What was seen of backups: read from the manager, written there, and judged."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from statistics import median_low

from ronron.backup import metrics
from ronron.backup import state as states
from ronron.backup.alerts import Alert, alerts
from ronron.backup.state import PATH, State, utcnow
from ronron.catalog.render import PLATFORM
from ronron.plan.carry import HERE
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site.backup import Rule, rule
from ronron.site.load import LoadedSite
from ronron.swarm.state import SwarmState


def read(manager: Runner) -> State:
    """The state as the manager has it."""
    return states.parse(manager.run(["cat", PATH], check=False).text)


def write(manager: Runner, state: State) -> None:
    """Keep the state on the manager, and the metrics beside it, which others may read."""
    folder = os.path.dirname(metrics.PATH)  # noqa: PTH120 - a path on the server
    manager.run(["install", "-d", "-m", "0700", states.FOLDER])
    manager.run(["install", "-d", "-m", "0755", folder])
    manager.put(PATH, state.model_dump_json(indent=1).encode() + b"\n", mode=0o600)
    manager.put(metrics.PATH, metrics.text(state, utcnow()).encode(), mode=0o644)


def rules(loaded: LoadedSite, names: Iterable[str]) -> dict[str, Rule]:
    """What holds for the declared apps among `names`, where backups are declared."""
    settings = loaded.site.backup
    if settings is None:
        return {}
    apps = (loaded.apps[name] for name in names if name in loaded.apps)
    return {app.name: rule(settings, app.backup) for app in apps}


def deployed(loaded: LoadedSite, swarm: SwarmState) -> dict[str, datetime]:
    """The declared apps that are deployed, and since when as they are now."""
    found = {}
    for name in loaded.apps:
        record = swarm.newest(name)
        if record and name not in PLATFORM:
            found[name] = datetime.fromisoformat(record.content["at"])
    return found


def judged(loaded: LoadedSite, swarm: SwarmState, state: State) -> tuple[State, tuple[Alert, ...]]:
    """The state of the apps that are deployed, and what is wrong; nothing without backups."""
    if loaded.site.backup is None:
        return State(), ()
    since = deployed(loaded, swarm)
    state = states.expected(state, rules(loaded, since), since)
    return state, alerts(state, utcnow())


def skew(session: Session) -> Mapping[str, float]:
    """By how many seconds each server's clock is ahead of most, this computer's counted too."""

    def ahead(runner: Runner) -> float:
        began = time.time()
        there = float(runner.run(["date", "+%s.%N"]).text)
        return there - (began + time.time()) / 2

    return compared(session.servers.on_each(ahead)[0])


def compared(found: Mapping[str, float]) -> Mapping[str, float]:
    """By how many seconds each clock is ahead of most, from what each is ahead of this one."""
    here = [] if HERE in os.environ else [0.0]
    usual = median_low([*here, *found.values()]) if found else 0.0
    return {name: round(value - usual, 1) for name, value in found.items()}

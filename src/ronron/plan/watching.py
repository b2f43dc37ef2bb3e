"""What was seen of backups: read from the manager, written there, and judged."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from statistics import median_low

from ronron.backup import metrics
from ronron.backup import state as states
from ronron.backup.alerts import Alert, alerts
from ronron.backup.state import PATH, State, utcnow
from ronron.catalog.stack import PLATFORM
from ronron.plan.carry import HERE
from ronron.plan.make import recipe_of
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site.backup import Rule, rule
from ronron.site.load import LoadedSite
from ronron.site.models import App
from ronron.swarm.state import SwarmState


def read(manager: Runner) -> State:
    """The state as the manager has it."""
    return states.parse(manager.run(["cat", PATH], check=False).text)


def write(manager: Runner, state: State) -> None:
    """Keep the state on the manager, and the metrics beside it, which others may read."""
    content, told = state.model_dump_json(indent=1) + "\n", metrics.text(state, utcnow())
    with ThreadPoolExecutor(1) as beside:
        writing = beside.submit(manager.put, metrics.PATH, told.encode(), folder=0o755)
        manager.put(PATH, content.encode(), mode=0o600, folder=0o700)
        writing.result()


def rules(session: Session, names: Iterable[str]) -> dict[str, Rule]:
    """What holds for the declared apps among `names`, where backups are declared."""
    loaded = session.loaded
    settings = loaded.site.backup
    if settings is None:
        return {}
    found = {}
    for app in (loaded.apps[name] for name in names if name in loaded.apps):
        kept = rule(settings, app.backup)
        found[app.name] = replace(kept, drill_after=0) if of_servers(session, app) else kept
    return found


def jobs(loaded: LoadedSite, names: Iterable[str]) -> dict[str, str]:
    """The timers that back up the apps `names`, of a site that declares backups."""
    settings = loaded.site.backup
    assert settings is not None  # noqa: S101 - as said
    return {name: rule(settings, loaded.apps[name].backup).job for name in names}


def of_servers(session: Session, app: App) -> bool:
    """Whether the app looks at the servers themselves: aside it would see them as well, so it is
    not drilled."""
    extension = recipe_of(app, session.loaded, session.catalog).extension
    return bool(extension.docker_socket or extension.host_paths)


def deployed(loaded: LoadedSite, swarm: SwarmState) -> dict[str, datetime]:
    """The declared apps that are deployed, and since when as they are now."""
    found = {}
    for name in loaded.apps:
        record = swarm.newest(name)
        if record and name not in PLATFORM:
            found[name] = datetime.fromisoformat(record.content["at"])
    return found


def judged(session: Session, swarm: SwarmState, state: State) -> tuple[State, tuple[Alert, ...]]:
    """The state of the apps that are deployed, and what is wrong; nothing without backups."""
    if session.loaded.site.backup is None:
        return State(), ()
    since = deployed(session.loaded, swarm)
    state = states.expected(state, rules(session, since), since)
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

"""Waiting for an app's services to run as asked, and saying why when they do not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ronron.errors import RonronError
from ronron.events import Event, Report
from ronron.swarm.state import STACK_LABEL, short_name
from ronron.swarm.waiting import PAUSE, until

if TYPE_CHECKING:
    from docker import DockerClient

FAILURES = 4
"""After as many failed tasks of one service, and GRACE seconds, a deployment has failed."""

GRACE = 45.0
LOG_LINES = 12
LOG_SECONDS = 900
"""How many lines are shown, and how far back they are looked for, in seconds."""
_BAD = ("failed", "rejected")
_STOPPED = ("paused", "rollback_paused")


class NotConverged(RonronError):
    """An app's services do not run as asked; `rolled_back` when the old version was kept."""

    def __init__(self, message: str, *, rolled_back: bool, **rest: Any) -> None:  # noqa: ANN401
        super().__init__(message, **rest)
        self.rolled_back = rolled_back


@dataclass(frozen=True)
class Progress:
    """How far one service is: tasks running of those wanted, and what went wrong on the way."""

    service: str
    running: int
    wanted: int
    failed: int
    error: str
    update: str

    @property
    def done(self) -> bool:
        """Whether the service runs as asked, at its newest specification."""
        return self.running >= self.wanted and self.update in ("", "completed")


def services_of(engine: DockerClient, app: str) -> list[Mapping[str, Any]]:
    """The services of an app's stack, as the Engine API lists them."""
    found: list[Mapping[str, Any]] = engine.api.services(filters={"label": f"{STACK_LABEL}={app}"})
    return found


def progress(
    service: Mapping[str, Any], tasks: Iterable[Mapping[str, Any]], nodes: int
) -> Progress:
    """Judge one service by its tasks; `nodes` is how many nodes a global service runs on."""
    spec = service["Spec"]
    app = spec["Labels"][STACK_LABEL]
    wanted = _wanted(spec["Mode"], nodes)
    once = _runs_once(spec)
    current = [task for task in tasks if _same_version(task, service)]
    running = [
        task
        for task in current
        if (task["Status"]["State"] == "running" and task["DesiredState"] == "running")
        or (once and task["Status"]["State"] == "complete")
    ]
    bad = [task for task in current if task["Status"]["State"] in _BAD]
    stuck = [task for task in current if task["Status"]["State"] == "pending"]
    newest = max(bad or stuck, key=lambda task: str(task["Status"]["Timestamp"]), default=None)
    error = str(newest["Status"].get("Err", "")) if newest else ""
    update = (service.get("UpdateStatus") or {}).get("State", "")
    return Progress(short_name(spec["Name"], app), len(running), wanted, len(bad), error, update)


def _wanted(mode: Mapping[str, Any], nodes: int) -> int:
    """How many tasks a service is to have."""
    if "Replicated" in mode:
        return int(mode["Replicated"].get("Replicas", 1))
    if "ReplicatedJob" in mode:
        return int(mode["ReplicatedJob"].get("TotalCompletions", 1))
    return nodes


def _runs_once(spec: Mapping[str, Any]) -> bool:
    """Whether a task that ended well stays so: a migration, the setup of a database."""
    policy = spec["TaskTemplate"].get("RestartPolicy") or {}
    is_job = "ReplicatedJob" in spec["Mode"] or "GlobalJob" in spec["Mode"]
    return is_job or policy.get("Condition") in ("none", "on-failure")


def _same_version(task: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """Whether the task runs the service's present specification, or was made for it."""
    mine, theirs = task["Spec"], service["Spec"]["TaskTemplate"]
    return bool(
        mine.get("ContainerSpec") == theirs.get("ContainerSpec")
        and (mine.get("Resources") or {}) == (theirs.get("Resources") or {})
        and mine.get("ForceUpdate", 0) == theirs.get("ForceUpdate", 0)
    )


def wait(
    engine: DockerClient, app: str, seconds: float, report: Report, *, anew: bool = False
) -> None:
    """Wait until every service of `app` runs as asked, for at most `seconds`.

    `anew` says that what failed until now had other data, and does not count. Raises NotConverged
    with the task's error and the last log lines.
    """
    before = _failed_already(engine, app) if anew else frozenset()
    began = time.monotonic()
    seen: dict[str, str] = {}
    waiting: set[str] = set()

    def look() -> bool:
        services = services_of(engine, app)
        ready = len([n for n in engine.api.nodes() if n["Status"]["State"] == "ready"])
        found = []
        for service in services:
            tasks = engine.api.tasks(filters={"service": service["ID"]})
            tasks = [task for task in tasks if task["ID"] not in before]
            found.append(progress(service, tasks, ready))
        for item in found:
            line = f"{item.running}/{item.wanted}" + (f", {item.error}" if item.error else "")
            (waiting.discard if item.done else waiting.add)(item.service)
            if seen.get(item.service) != line:
                seen[item.service] = line
                report(Event("services", app, detail=f"{item.service} {line}"))
            _give_up(engine, app, item, time.monotonic() - began)
        return bool(found) and all(item.done for item in found)

    try:
        until(look, seconds, f"the services of {app}", pause=PAUSE)
    except NotConverged:
        raise
    except RonronError:
        states = "; ".join(f"{name} {line}" for name, line in seen.items())
        raise NotConverged(
            f"{app}: not all services ran within {seconds:.0f} s: {states or 'none was found'}",
            remedy=f"ronron logs {app}",
            details=last_lines(engine, app, min(waiting, default="")),
            rolled_back=False,
        ) from None


def _failed_already(engine: DockerClient, app: str) -> frozenset[str]:
    """The ids of the tasks of `app` that have failed."""
    services = [service["ID"] for service in services_of(engine, app)]
    tasks = engine.api.tasks(filters={"service": services}) if services else []
    return frozenset(task["ID"] for task in tasks if task["Status"]["State"] in _BAD)


def _give_up(engine: DockerClient, app: str, item: Progress, spent: float) -> None:
    rolled_back = item.update == "rollback_completed"
    if rolled_back or item.update in _STOPPED:
        task = _failed_task(engine, app, item.service)
        kept = "the old version was brought back"
        stopped = (
            f"the update stopped half way; correct it and deploy again, or ronron rollback {app}"
        )
        raise NotConverged(
            f"{app}: the new version of {item.service} did not work: {_why(task)}",
            remedy=kept if rolled_back else stopped,
            details=last_lines(engine, app, item.service, task=task["ID"] if task else ""),
            rolled_back=rolled_back,
        )
    hopeless = "No such image" in item.error and item.failed
    if hopeless or (item.failed >= FAILURES and spent > GRACE and not item.running):
        raise NotConverged(
            f"{app}: {item.service} does not start: {_plain(item.error)}",
            remedy=f"correct it and deploy again; ronron logs {app} shows more",
            details=last_lines(engine, app, item.service),
            rolled_back=False,
        )


def _failed_task(engine: DockerClient, app: str, service: str) -> Mapping[str, Any] | None:
    """The newest task of the version that was rolled back and that ended by itself."""
    name = f"{app}_{service}"
    present = engine.api.inspect_service(name)
    ended = [
        task
        for task in engine.api.tasks(filters={"service": name})
        if task["Status"]["State"] in (*_BAD, "complete") and not _same_version(task, present)
    ]
    return max(ended, key=lambda task: str(task["Status"]["Timestamp"]), default=None)


def _why(task: Mapping[str, Any] | None) -> str:
    said = _plain(str(task["Status"].get("Err", ""))) if task else ""
    return said or "its health check failed, or it ended by itself"


def _plain(error: str) -> str:
    """An engine's error without its prefixes: `task: non-zero exit (1)` is `non-zero exit (1)`."""
    return re.sub(r"^(task: |starting container failed: )+", "", error)


def last_lines(
    engine: DockerClient, app: str, service: str, lines: int = LOG_LINES, *, task: str = ""
) -> list[str]:
    """The last lines that a service, or one of its tasks, wrote lately, as far as they are read.

    They are not asked for by number: Docker 26 never ends its answer where the proxy's journal has
    fewer.
    """
    from docker.errors import APIError

    if not service:
        return []
    try:
        stream = engine.api.service_logs(
            f"{app}_{service}",
            details=True,
            stdout=True,
            stderr=True,
            since=int(time.time()) - LOG_SECONDS,
            follow=False,
        )
        text = b"".join(stream).decode(errors="replace")
    except APIError:
        return []
    # Each line begins with its details, `key=value,…`, and a space.
    split = (line.partition(" ") for line in text.splitlines())
    return [line for details, _, line in split if f"task.id={task}" in details][-lines:]

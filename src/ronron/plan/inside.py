"""Looking into an app that runs: its output, and commands in its containers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ronron.errors import OperatorError, RonronError, ServerError
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.swarm import converge
from ronron.swarm.engines import engine_of
from ronron.swarm.state import short_name


def log_lines(
    session: Session,
    app: str,
    service: str | None,
    *,
    follow: bool,
    since: datetime,
) -> Iterator[str]:
    """What the services of `app` write (or one of them) since then, each line with its task's name.

    With `follow`, goes on until the caller stops. Raises OperatorError for an unknown service.
    """
    names = service_names(session, app, service)
    lines: queue.Queue[str | ServerError | None] = queue.Queue()

    def read(name: str) -> None:
        try:
            for line in session.manager.stream(logs_command(app, name, follow=follow, since=since)):
                lines.put(line)
        except ServerError as error:
            lines.put(error)
        finally:
            lines.put(None)

    for name in names:
        threading.Thread(target=read, args=(name,), daemon=True).start()
    running = len(names)
    while running:
        item = lines.get()
        if isinstance(item, ServerError):
            raise item
        if item is None:
            running -= 1
        else:
            yield item


def logs_command(app: str, service: str, *, follow: bool, since: datetime) -> list[str]:
    """The command that reads one service's output.

    Not by a number of lines: Docker 26 never ends its answer where the journal has fewer.
    """
    options = ["--follow"] if follow else []
    options += ["--since", f"{since.timestamp():.0f}"]
    return ["docker", "service", "logs", *options, f"{app}_{service}"]


def run_inside(session: Session, app: str, service: str | None, command: Sequence[str]) -> int:
    """Run `command` on this terminal in a container of `app`; returns its exit status.

    The service is the one that answers the domain where none is named. Raises RonronError when no
    container runs.
    """
    runner, container = container_of(session, app, service)
    terminal = ["-it"] if _has_terminal() else ["-i"]
    return runner.interactive(["docker", "exec", *terminal, container, *command])


def container_of(session: Session, app: str, service: str | None) -> tuple[Runner, str]:
    """A running container of `app`, by its server's runner and its id.

    The service is the one that answers the domain where none is named. Raises RonronError when no
    container runs.
    """
    with engine_of(session.manager) as engine:
        services = converge.services_of(engine, app)
        nodes = {node["ID"]: node["Description"]["Hostname"] for node in engine.api.nodes()}
        chosen = _choose(services, app, service)
        tasks = engine.api.tasks(filters={"service": chosen, "desired-state": "running"})
    for task in tasks:
        container = task["Status"].get("ContainerStatus", {}).get("ContainerID")
        if task["Status"]["State"] == "running" and container:
            return session.servers[nodes[task["NodeID"]]], container
    raise RonronError(f"{app}: no container of {chosen} runs", remedy=f"ronron logs {app}")


def _has_terminal() -> bool:
    import sys

    return sys.stdin.isatty() and sys.stdout.isatty()


def service_names(session: Session, app: str, service: str | None) -> list[str]:
    """The names of the services of `app` in the swarm, or `service` alone.

    Raises OperatorError when it has none, or not this one.
    """
    with engine_of(session.manager) as engine:
        found = converge.services_of(engine, app)
    names = sorted(short_name(item["Spec"]["Name"], app) for item in found)
    _check(names, app, service)
    return [service] if service else names


def _check(names: Iterable[str], app: str, service: str | None) -> None:
    names = sorted(names)
    if not names:
        raise OperatorError(f"{app} is not deployed", remedy="ronron apply")
    if service is not None and service not in names:
        raise OperatorError(f"{app} has no service {service}", remedy=f"it has: {', '.join(names)}")


def _choose(services: Sequence[Mapping[str, Any]], app: str, service: str | None) -> str:
    names = {short_name(item["Spec"]["Name"], app): item["Spec"] for item in services}
    _check(names, app, service)
    if service is None:
        web = [name for name, spec in names.items() if "traefik.enable" in spec["Labels"]]
        service = (web or sorted(names))[0]
    return f"{app}_{service}"

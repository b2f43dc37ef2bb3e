"""How the site is: servers, apps, certificates; what `ronron status` and `ronron list` show."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ronron.backup import drilled
from ronron.backup.alerts import Alert
from ronron.backup.drilled import Drilled
from ronron.backup.state import Watched, parse, utcnow
from ronron.catalog.stack import PLATFORM
from ronron.errors import RonronError, ServerError
from ronron.plan import (
    fencing,
    figures,
    interrupted,
    keeping,
    limiting,
    monitoring,
    watching,
)
from ronron.plan.apply import proxy_address
from ronron.plan.keeping import Copy
from ronron.plan.observe import Reality, observe
from ronron.plan.session import Session
from ronron.swarm import converge, deployed, nodes, probe, spec
from ronron.swarm.deployed import Held
from ronron.swarm.engines import engine_of
from ronron.swarm.state import SwarmState

if TYPE_CHECKING:
    from docker import DockerClient

HOUR = 3600.0


@dataclass(frozen=True)
class ServerStatus:
    """One server: its roles, whether the swarm reaches it, and whether it takes tasks."""

    name: str
    roles: tuple[str, ...]
    state: str
    availability: str
    problem: str = ""


@dataclass(frozen=True)
class AppStatus:
    """One app: tasks running of those wanted by service, and what it answered over HTTPS.

    `answer` is None where it has no domain or does not answer; `problem` then says why. `drill` is
    its last drill, None where there was none, and `drill_overdue` whether another is. `snapshot` is
    the time of the newest one that the repository was seen to hold.
    """

    name: str
    recipe: str
    services: Mapping[str, tuple[int, int]]
    deployed: str = ""
    by: str = ""
    revision: int = 0
    drift: bool = False
    domain: str | None = None
    answer: probe.Answer | None = None
    problem: str = ""
    drill: Drilled | None = None
    drill_overdue: bool = False
    snapshot: datetime | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Where its volumes are: a server, or `shared`."""

    @property
    def ok(self) -> bool:
        """Whether everything runs, answers where it should, and came back in its last drill."""
        running = all(have >= wanted for have, wanted in self.services.values())
        back = (self.drill is None or self.drill.passed) and not self.drill_overdue
        return bool(self.services) and running and not self.problem and back


@dataclass(frozen=True)
class SiteStatus:
    """Servers and apps, the platform's own among them; and what is wrong with the backups.

    `figures` are those of the servers in the last hour, `firing` the alerts of which people were
    told: both as the monitoring has them, empty where there is none.
    """

    servers: tuple[ServerStatus, ...]
    apps: tuple[AppStatus, ...]
    alerts: tuple[Alert, ...] = ()
    figures: figures.Figures = field(default_factory=dict)
    firing: tuple[monitoring.Alert, ...] = ()
    copies: tuple[Copy, ...] = ()
    """Old copies of data, kept until they are forgotten."""

    @property
    def ok(self) -> bool:
        """Whether nothing needs a person."""
        ready = all(item.state == "ready" and not item.problem for item in self.servers)
        told = self.alerts or [one for one in self.firing if not one.silenced]
        return ready and all(app.ok for app in self.apps) and not told


def status(session: Session) -> SiteStatus:
    """Look at every server and app. Raises RonronError when no manager can be reached."""
    reality = observe(session.loaded, session.servers, session.report)
    manager = session.loaded.site.manager.name
    if manager in reality.failures:
        raise reality.failures[manager]
    if nodes.is_unseen(session.loaded.site, reality.swarm, reality.facts):
        raise ServerError(
            manager,
            "is in a swarm, and its Docker does not answer for it",
            remedy="ronron apply starts it",
        )
    servers = []
    for server in session.loaded.site.servers.values():
        node = reality.swarm.node(server.name)
        state = node.state if node else "not in the swarm"
        problem = str(reality.failures.get(server.name, "")) or _fenced(reality, server.name)
        availability = node.availability if node else ""
        servers.append(ServerStatus(server.name, server.roles, state, availability, problem))
    if not reality.swarm.present:
        return SiteStatus(tuple(servers), ())
    names = [*PLATFORM, *sorted({*session.loaded.apps, *reality.swarm.apps} - set(PLATFORM))]
    with engine_of(session.manager) as engine:
        running = {name: _services(engine, name) for name in names}
    known = parse(reality.facts[manager].kept.get("backups", ""))
    skew = watching.compared({name: facts.ahead for name, facts in reality.facts.items()})
    known, alerts = watching.judged(session, reality.swarm, known.model_copy(update={"skew": skew}))
    with ThreadPoolExecutor(8) as threads:
        apps = threads.map(lambda n: _app(session, reality, n, running[n]), names)
        drills = drilled.parse(reality.facts[manager].drills)
        backed = [_backed(app, known.apps.get(app.name), drills.get(app.name)) for app in apps]
        half = interrupted.apps(reality)
        why = "a restore goes on, or was interrupted: ronron apply puts its data back"
        backed = [replace(app, problem=why) if app.name in half else app for app in backed]
        old = tuple(keeping.copies(reality))
        return SiteStatus(tuple(servers), tuple(backed), alerts, *_measured(session), old)


def _backed(app: AppStatus, watched: Watched | None, drill: Drilled | None) -> AppStatus:
    """The app with what is known of its backups and of its last drill."""
    if watched is None:
        return replace(app, drill=drill)
    return replace(
        app,
        snapshot=watched.newest.time if watched.newest else None,
        drill=drill,
        drill_overdue=watched.drill_overdue(drill.at if drill else None, utcnow()),
    )


def _measured(session: Session) -> tuple[figures.Figures, tuple[monitoring.Alert, ...]]:
    """What the monitoring has; nothing where there is none, or it does not answer."""
    found: figures.Figures = {}
    now = time.time()
    with suppress(RonronError):
        found = figures.servers(session, start=now - HOUR, end=now)
        return found, monitoring.alerts(session)
    return found, ()


def _fenced(reality: Reality, server: str) -> str:
    """Which volumes of a server are out of date and still where the current ones would be."""
    found = [f for _, f in fencing.declared(reality.swarm) if f.server == server]
    names = ", ".join(f"{fence.app}'s {fence.volume}" for fence in found)
    return f"its copy of {names} is out of date: ronron apply moves it aside" if found else ""


def _limit(held: Held, reality: Reality) -> str:
    """The quota of a volume, in words."""
    found = {facts.quotas.get(held.path, 0) for facts in reality.facts.values()} - {0}
    return f" (quota {limiting.shown(max(found))})" if found else ""


def _lost(name: str, held: Iterable[Held], swarm: SwarmState) -> str:
    """Which volumes of an app are on servers that the swarm does not reach, and what helps."""
    ready = {node.name for node in swarm.nodes if node.ready}
    for one in held:
        if one.servers and not ready & set(one.servers):
            where = " and ".join(one.servers)
            remedy = f"ronron failover {name}" if one.kind == "database" else f"start {where}"
            return f"{one.name} is on {where}, which does not answer: {remedy}"
    return ""


def _services(engine: DockerClient, app: str) -> dict[str, tuple[int, int]]:
    """Tasks running and wanted of each service of an app."""
    ready = len([node for node in engine.api.nodes() if node["Status"]["State"] == "ready"])
    found = {}
    for service in converge.services_of(engine, app):
        tasks = engine.api.tasks(filters={"service": service["ID"]})
        item = converge.progress(service, tasks, ready)
        found[item.service] = (item.running, item.wanted)
    return found


def _app(
    session: Session, reality: Reality, name: str, services: Mapping[str, tuple[int, int]]
) -> AppStatus:
    swarm = reality.swarm
    newest = swarm.newest(name)
    if newest is None:
        return AppStatus(name, "", services, problem="not deployed: ronron apply")
    content: dict[str, Any] = newest.content
    domain = content.get("domain")
    held = deployed.volumes(name, swarm).values()
    answer, problem = None, _lost(name, held, swarm)
    if domain and not problem:
        trust = session.loaded.site.acme.trust
        try:
            answer = probe.ask(
                domain,
                content.get("health", "/"),
                address=proxy_address(session),
                trust=session.loaded.path(trust) if trust else None,
            )
            expected = answer.status < 400 or answer.status in content.get("refusals", ())
            problem = "" if expected else f"HTTP status {answer.status}"
        except (OSError, http.client.HTTPException, ValueError, RonronError) as error:
            problem = str(error)
    return AppStatus(
        name,
        content.get("recipe", ""),
        services,
        content.get("at", ""),
        content.get("by", ""),
        newest.revision,
        newest.specs_digest != spec.digest(swarm.services.get(name, {})),
        domain,
        answer,
        problem,
        volumes={
            one.name: (" and ".join(one.servers) or "shared") + _limit(one, reality) for one in held
        },
    )

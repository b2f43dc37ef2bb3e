"""What the monitoring knows, asked for in its own containers: alerts, silences, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from ronron.errors import OperatorError, RonronError
from ronron.plan.inside import container_of
from ronron.plan.session import Session
from ronron.site.load import LoadedSite

RECIPE = "monitoring"
ALERTMANAGER = "http://127.0.0.1:9093"
PROMETHEUS = "http://127.0.0.1:9090"
WATCHDOG = "Watchdog"
SECONDS = 60.0
TEST_SECONDS = 180.0


@dataclass(frozen=True)
class Alert:
    """Something that is wrong: what, where, since when; `silenced` where nobody is told of it."""

    name: str
    severity: str
    summary: str
    since: datetime
    app: str = ""
    server: str = ""
    description: str = ""
    command: str = ""
    silenced: bool = False


@dataclass(frozen=True)
class Silence:
    """Alerts of which nobody is told until `until`: those that match all of `matchers`."""

    id: str
    matchers: tuple[str, ...]
    until: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class Series:
    """A figure over time, oldest first; None where there was no measurement."""

    labels: Mapping[str, str]
    values: tuple[float | None, ...] = field(default=())

    @property
    def last(self) -> float | None:
        """The newest measurement."""
        return next((value for value in reversed(self.values) if value is not None), None)


def app_of(loaded: LoadedSite) -> str:
    """The name of the site's monitoring. Raises OperatorError when it has none."""
    found = [app.name for app in loaded.apps.values() if app.recipe == RECIPE]
    if not found:
        raise OperatorError("this site has no monitoring", remedy=f"ronron deploy {RECIPE}")
    return found[0]


def alerts(session: Session) -> tuple[Alert, ...]:
    """Everything that is wrong now, the oldest first."""
    asked = ["alert", "query", "--active", "--silenced", "--output=json"]
    found = [_alert(item) for item in json.loads(_amtool(session, *asked)) or ()]
    return tuple(sorted((one for one in found if one.name != WATCHDOG), key=lambda one: one.since))


def _alert(item: Mapping[str, Any]) -> Alert:
    labels, notes = item["labels"], item["annotations"]
    return Alert(
        labels["alertname"],
        labels.get("severity", ""),
        " ".join(notes.get("summary", labels["alertname"]).split()),
        _time(item["startsAt"]),
        labels.get("app", ""),
        labels.get("server", ""),
        " ".join(notes.get("description", "").split()),
        notes.get("command", ""),
        bool(item["status"]["silencedBy"]),
    )


def silences(session: Session) -> tuple[Silence, ...]:
    """The silences that are in force."""
    found = json.loads(_amtool(session, "silence", "query", "--output=json")) or ()
    return tuple(
        Silence(
            item["id"],
            tuple(f"{one['name']}={one['value']}" for one in item["matchers"]),
            _time(item["endsAt"]),
            item["createdBy"],
            item["comment"],
        )
        for item in found
    )


def silence(
    session: Session, matchers: Mapping[str, str], period: str, by: str, reason: str
) -> str:
    """Tell nobody of the alerts that have all these labels, for `period` (`2h`, `1d`).

    Returns the silence's id.
    """
    words = [f"{name}={json.dumps(value)}" for name, value in matchers.items()]
    options = [f"--duration={period}", f"--author={by}", f"--comment={reason or 'none given'}"]
    return _amtool(session, "silence", "add", *options, *words).strip()


def unsilence(session: Session, id: str) -> None:
    """End a silence. Raises OperatorError when there is none of that id."""
    if id not in {one.id for one in silences(session)}:
        raise OperatorError(f"there is no silence {id}", remedy="see ronron alerts list")
    _amtool(session, "silence", "expire", id)


def send_test(session: Session) -> dict[str, str]:
    """Send a message through every channel: why it failed by channel, empty when it arrived."""
    argv = ["python3", "-B", "-m", "watch", "test"]
    found: dict[str, str] = json.loads(_inside(session, "watch", argv, TEST_SECONDS))
    return found


def query(session: Session, expression: str) -> tuple[Series, ...]:
    """What PromQL's `expression` is now."""
    found = _ask(session, "/api/v1/query", {"query": expression})
    return tuple(Series(item["metric"], (float(item["value"][1]),)) for item in found)


def query_range(
    session: Session, expression: str, *, start: float, end: float, points: int
) -> tuple[Series, ...]:
    """What it was at `points` times from `start` to `end` (seconds since 1970)."""
    step = (end - start) / (points - 1)
    asked = {"query": expression, "start": start, "end": end, "step": f"{step:.3f}"}
    return tuple(
        Series(item["metric"], _spread(item["values"], start, step, points))
        for item in _ask(session, "/api/v1/query_range", asked)
    )


def _spread(
    values: Sequence[tuple[float, str]], start: float, step: float, points: int
) -> tuple[float | None, ...]:
    found: list[float | None] = [None] * points
    for at, value in values:
        found[min(points - 1, round((at - start) / step))] = float(value)
    return tuple(found)


def _ask(session: Session, path: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
    url = f"{PROMETHEUS}{path}?{urlencode(values)}"
    answer = json.loads(_inside(session, "prometheus", ["wget", "-q", "-O", "-", url]))
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def _amtool(session: Session, *words: str) -> str:
    argv = ["amtool", f"--alertmanager.url={ALERTMANAGER}", *words]
    return _inside(session, "alertmanager", argv)


def _inside(session: Session, service: str, argv: Sequence[str], seconds: float = SECONDS) -> str:
    app = app_of(session.loaded)
    runner, container = container_of(session, app, service)
    done = runner.run(["docker", "exec", container, *argv], check=False, timeout=seconds)
    if done.status:
        raise RonronError(
            f"{app}: {service} did not answer",
            remedy=f"ronron logs {app} {service}",
            details=done.stderr.decode(errors="replace").splitlines()[-5:],
        )
    return done.text


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))

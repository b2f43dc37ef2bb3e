"""What people read: one message for each group of alerts that Alertmanager sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LINES = 5
"""How many of a service's last lines a message shows."""

Logs = Callable[[str, int], Sequence[str]]
"""The last lines of a service of the swarm: its name and how many."""

Journal = Callable[[str], Sequence[str]]
"""The last errors of a server's journal, by its name."""


@dataclass(frozen=True)
class Message:
    """A subject of one line, and a text; `resolved` when nothing in it is wrong any more."""

    subject: str
    text: str
    resolved: bool


def compose(notice: Mapping[str, Any], site: str, logs: Logs, journal: Journal) -> Message:
    """The message for what Alertmanager sent to its webhook (its version 4)."""
    alerts = notice["alerts"]
    firing = [alert for alert in alerts if alert["status"] == "firing"]
    resolved = [alert for alert in alerts if alert["status"] == "resolved"]
    first = (firing or resolved)[0]
    more = len(firing or resolved) - 1
    word = "FIRING" if firing else "RESOLVED"
    subject = f"[{site}] {word}: {_summary(first)}" + (f" (and {more} more)" if more else "")
    parts = [_firing(alert, logs) for alert in firing]
    # A server's errors once, for all that is wrong on it and has no log of its own.
    servers = {
        alert["labels"].get("server", "")
        for alert in firing
        if not _logged(alert["labels"], alert["annotations"])
    }
    for server in sorted(servers - {""}):
        if last := journal(server):
            lines = (f"last errors in the journal of {server}:", *(f"  {line}" for line in last))
            parts.append("\n".join(lines))
    parts += [_resolved(alert) for alert in resolved]
    return Message(subject, "\n\n".join(parts) + "\n", not firing)


def _firing(alert: Mapping[str, Any], logs: Logs) -> str:
    labels, notes = alert["labels"], alert["annotations"]
    lines = [f"FIRING: {_summary(alert)}", *_where(labels), f"since: {_time(alert['startsAt'])}"]
    if notes.get("description"):
        lines.append(f"why: {notes['description']}")
    if notes.get("command"):
        lines.append(f"next: {notes['command']}")
    if name := _logged(labels, notes):
        last = logs(name, LINES)
        if last:
            lines += [f"last lines of {name}:", *(f"  {line}" for line in last)]
    return "\n".join(lines)


def _logged(labels: Mapping[str, str], notes: Mapping[str, str]) -> str:
    """The swarm's service whose log may tell more; empty where none does."""
    app, service = labels.get("app"), labels.get("service")
    return notes.get("log") or (f"{app}_{service}" if app and service else "")


def _resolved(alert: Mapping[str, Any]) -> str:
    period = f"from {_time(alert['startsAt'])} to {_time(alert['endsAt'])}"
    return "\n".join([f"RESOLVED: {_summary(alert)}", *_where(alert["labels"]), period])


def _summary(alert: Mapping[str, Any]) -> str:
    found = alert["annotations"].get("summary") or alert["labels"]["alertname"]
    return " ".join(str(found).split())


def _where(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}: {labels[name]}" for name in ("app", "server") if labels.get(name)]


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text.replace('Z', '+00:00')):%Y-%m-%d %H:%M:%S} UTC"

"""What drills found, kept on the manager: `drills.json`, the last drill of each app."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ronron.servers.carry.manager import STATE
from ronron.servers.runner import Runner

PATH = f"{STATE}/drills.json"
METRICS = f"{STATE}/metrics/drill.prom"
"""The same for Prometheus, in its text format (version 0.0.4, from its documentation)."""

ABOUT = {
    "passed": "Whether the last drill passed.",
    "timestamp_seconds": "When the last drill began.",
    "recovery_seconds": "How long the app took to be back in it.",
    "data_age_seconds": "How old the snapshot was then.",
}


@dataclass(frozen=True)
class Drilled:
    """An app's drill: of which snapshot, begun when, and whether it passed, or why not.

    `seconds` is how long the app took to be back, `phases` its parts; `age` is how old its data was
    when the drill began, in seconds. Without a snapshot both are None.
    """

    app: str
    at: datetime
    passed: bool
    reason: str = ""
    snapshot: str | None = None
    taken: datetime | None = None
    seconds: float | None = None
    age: float | None = None
    phases: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "passed": self.passed,
            "reason": self.reason,
            "snapshot": self.snapshot,
            "taken": self.taken.isoformat(timespec="seconds") if self.taken else None,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "age": None if self.age is None else round(self.age),
            "phases": {name: round(spent, 1) for name, spent in self.phases.items()},
        }


def parse(text: str) -> dict[str, Drilled]:
    """The drills that the file's text tells of, by app; none where it is empty or damaged."""
    try:
        return {app: _drilled(app, item) for app, item in json.loads(text).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _drilled(app: str, item: Mapping[str, Any]) -> Drilled:
    taken = item.get("taken")
    return Drilled(
        app,
        datetime.fromisoformat(item["at"]),
        bool(item["passed"]),
        str(item.get("reason", "")),
        item.get("snapshot"),
        datetime.fromisoformat(taken) if taken else None,
        item.get("seconds"),
        item.get("age"),
        item.get("phases") or {},
    )


def read(manager: Runner) -> dict[str, Drilled]:
    """The last drill of each app."""
    return parse(manager.run(["cat", PATH], check=False).text)


def record(manager: Runner, done: Iterable[Drilled], known: Iterable[str]) -> None:
    """Put `done` in the place of the apps' last drills; forget apps that are not `known`."""
    found = {**read(manager), **{one.app: one for one in done}}
    kept = {app: one.plain() for app, one in sorted(found.items()) if app in set(known)}
    manager.put(PATH, json.dumps(kept, indent=1).encode(), mode=0o600, folder=0o700)
    told = [one for app, one in sorted(found.items()) if app in kept]
    manager.put(METRICS, metrics(told).encode(), folder=0o755)


def metrics(drills: Sequence[Drilled]) -> str:
    """The file for Prometheus: gauges `ronron_drill_…` by app."""
    lines = []
    for name, about in ABOUT.items():
        lines += [f"# HELP ronron_drill_{name} {about}", f"# TYPE ronron_drill_{name} gauge"]
        for one in drills:
            values = {
                "passed": float(one.passed),
                "timestamp_seconds": one.at.timestamp(),
                "recovery_seconds": one.seconds,
                "data_age_seconds": one.age,
            }
            if (value := values[name]) is not None:
                lines.append(f'ronron_drill_{name}{{app="{one.app}"}} {value:.0f}')
    return "\n".join(lines) + "\n"

"""What drills found, kept on the manager: `drills.json`, the last drill of each app."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ronron.servers.carry.manager import STATE
from ronron.servers.runner import Runner

PATH = f"{STATE}/drills.json"


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
    manager.run(["install", "-d", "-m", "0700", STATE])
    manager.put(PATH, json.dumps(kept, indent=1).encode(), mode=0o600)

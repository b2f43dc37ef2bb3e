"""What is wrong with the backups: from what was seen, a list of alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from ronron.backup.restic import TOLERANCE, size
from ronron.backup.state import State, Watched

Kind = Literal[
    "never", "missed", "failed", "empty", "shrunk", "old", "future", "check", "clock", "state"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

CHECK_AFTER = timedelta(days=16)
"""Two weekly checks missed."""

LATE = timedelta(hours=2)
"""How much later than its period a backup may begin: runs are spread, and wait for each other."""


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at; `app` is empty where it is about all."""

    kind: Kind
    app: str
    text: str

    def __str__(self) -> str:
        return f"{self.app}: {self.text}" if self.app else self.text


def alerts(state: State, now: datetime) -> tuple[Alert, ...]:
    """The alerts at `now`, the site's before the apps'."""
    apps = (
        Alert(kind, name, text)
        for name, app in sorted(state.apps.items())
        for kind, text in _of(app, now)
    )
    return (*(Alert(kind, "", text) for kind, text in _common(state, now)), *apps)


def _common(state: State, now: datetime) -> Iterator[tuple[Kind, str]]:
    if state.fault:
        yield "state", state.fault
    if state.at and state.at > now + TOLERANCE:
        yield "clock", f"a backup ended in the future, {_time(state.at)}: look at the clocks"
    for server, ahead in sorted(state.skew.items()):
        if abs(ahead) > TOLERANCE.total_seconds():
            way = "ahead" if ahead > 0 else "behind"
            yield "clock", f"the clock of {server} is {_ago(timedelta(seconds=abs(ahead)))} {way}"
    if state.checked and state.checked.error:
        yield "check", f"the check of {_time(state.checked.at)} failed: {state.checked.error}"
    elif state.checked and now - state.checked.at > CHECK_AFTER:
        yield "check", f"the repository was last checked {_ago(now - state.checked.at)} ago"
    elif not state.checked and state.begun and now - state.begun > CHECK_AFTER:
        since = f"since {_time(state.begun)}: look at the timers of the manager"
        yield "check", f"the repository was never checked {since}"


def _of(app: Watched, now: datetime) -> Iterator[tuple[Kind, str]]:
    if app.error:
        yield "failed", f"the last backup failed: {app.error}"
    if app.future:
        yield "future", f"snapshots from the future: {', '.join(app.future)}: look at the clocks"
    period, after = timedelta(seconds=app.period), timedelta(seconds=app.alert_after)
    begun = app.tried or app.since
    if begun and app.period and now - begun > period + LATE:
        yield "missed", f"no backup began since {_time(begun)}: look at the timers of the manager"
    seen = app.newest
    if seen is None:
        if app.since is None or now - app.since > after:
            yield "never", "no snapshot was ever seen in the repository"
        return
    if seen.time > now + TOLERANCE:
        yield "future", f"the newest snapshot is of {_time(seen.time)}: look at the clocks"
    elif app.alert_after and now - seen.time > after:
        yield "old", f"the newest snapshot is {_ago(now - seen.time)} old"
    yield from _less(app)


def _less(app: Watched) -> Iterator[tuple[Kind, str]]:
    """A snapshot that holds nothing, or much less than the one before it."""
    seen, before = app.newest, app.before
    if seen and seen.held == 0 and not seen.dumps and not (before and before.held):
        yield "empty", "its volumes hold no file"
    if seen is None or before is None:
        return
    if before.held and seen.held == 0:
        yield "empty", f"its volumes hold no file, where they held {before.held}"
    if seen.size < before.size / 2:
        yield "shrunk", f"the snapshot holds {size(seen.size)}, the last one {size(before.size)}"
    earlier = before.dumps or {}
    for database, held in (seen.dumps or {}).items():
        if held < earlier.get(database, 0) / 2:
            yield (
                "shrunk",
                f"the dump of {database} has {size(held)}, the last one {size(earlier[database])}",
            )


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _ago(spent: timedelta) -> str:
    hours = spent.total_seconds() / 3600
    if hours < 1:
        return f"{spent.total_seconds() / 60:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} d"

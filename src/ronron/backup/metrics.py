"""What was seen of backups, in Prometheus' text format (version 0.0.4, from its documentation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from ronron.backup.alerts import KINDS, alerts
from ronron.backup.state import FOLDER, State, Watched

PATH = f"{FOLDER}/metrics/backup.prom"

ABOUT = {
    "snapshot_timestamp_seconds": "When the newest snapshot was made.",
    "seen_timestamp_seconds": "When the repository was last seen to hold that snapshot.",
    "snapshot_bytes": "What the newest snapshot holds.",
    "tried_timestamp_seconds": "When a backup last began.",
    "failed": "Whether the last backup failed.",
    "alert_after_seconds": "How old the newest snapshot may be.",
    "deployed_timestamp_seconds": "Since when the app is there.",
    "drill_after_seconds": "How old the last drill may be.",
    "alert": "What was wrong when this was written.",
    "check_timestamp_seconds": "When the repository was last checked.",
    "check_failed": "Whether that check found errors.",
    "clock_skew_seconds": "By how much a server's clock is ahead.",
    "written_timestamp_seconds": "When this was written.",
}


def text(state: State, now: datetime) -> str:
    """The file: gauges `ronron_backup_…`. What grows old is told as times, for rules to compare."""
    rows: dict[str, list[str]] = {name: [] for name in ABOUT}
    for app, known in sorted(state.apps.items()):
        for name, value in _of(known):
            rows[name].append(_row(name, {"app": app}, value))
    found = {(one.app, one.kind) for one in alerts(state, now)}
    for app in ("", *sorted(state.apps)):
        for kind in KINDS:
            here = (app, kind) in found
            rows["alert"].append(_row("alert", {"app": app, "kind": kind}, float(here)))
    if state.checked:
        name, failed = "check_timestamp_seconds", bool(state.checked.error)
        rows[name].append(_row(name, {}, state.checked.at.timestamp()))
        rows["check_failed"].append(_row("check_failed", {}, float(failed)))
    for server, ahead in sorted(state.skew.items()):
        name = "clock_skew_seconds"
        rows[name].append(_row(name, {"server": server}, ahead))
    rows["written_timestamp_seconds"].append(_row("written_timestamp_seconds", {}, now.timestamp()))
    lines = [
        line
        for name, values in rows.items()
        if values
        for line in (
            f"# HELP ronron_backup_{name} {ABOUT[name]}",
            f"# TYPE ronron_backup_{name} gauge",
            *values,
        )
    ]
    return "\n".join(lines) + "\n"


def _of(app: Watched) -> Iterator[tuple[str, float]]:
    if app.newest:
        yield "snapshot_timestamp_seconds", app.newest.time.timestamp()
        yield "seen_timestamp_seconds", app.newest.seen.timestamp()
        yield "snapshot_bytes", app.newest.size
    if app.tried:
        yield "tried_timestamp_seconds", app.tried.timestamp()
    yield "failed", float(bool(app.error))
    yield "alert_after_seconds", app.alert_after
    if app.since:
        yield "deployed_timestamp_seconds", app.since.timestamp()
    if app.drill_after:
        yield "drill_after_seconds", app.drill_after


def _row(name: str, labels: Mapping[str, str], value: float) -> str:
    # Names of apps and servers have no character that would have to be escaped.
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    shown = f"{value:.3f}".rstrip("0").rstrip(".")
    return (
        f"ronron_backup_{name}{{{inside}}} {shown}" if inside else f"ronron_backup_{name} {shown}"
    )

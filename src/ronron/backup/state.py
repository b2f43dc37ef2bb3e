"""What was seen of backups in the repository, kept as a file on the manager.

A snapshot is in it because the repository listed it, never because a job ended well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from ronron.backup.restic import Snapshot, past
from ronron.site.backup import Rule

FOLDER = "/var/lib/ronron"
PATH = f"{FOLDER}/backups.json"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Seen(_Model):
    """A snapshot as the repository listed it at `seen`; sizes in bytes.

    `held` counts the files in its volumes, None where it has none or that was not looked at;
    `dumps` are sizes by database, None where that was not looked at.
    """

    id: str
    time: datetime
    seen: datetime
    size: int
    files: int
    held: int | None = None
    dumps: Mapping[str, int] | None = None


class Watched(_Model):
    """What is known of one app: its two newest snapshots that are not from the future.

    `tried` is when a backup of it last began, and `error` why that failed. `period` and
    `alert_after` are in seconds: how often it is due, and how old its newest snapshot may be;
    `drill_after` is how old its last drill may be, 0 where none is due.
    """

    newest: Seen | None = None
    before: Seen | None = None
    future: tuple[str, ...] = ()
    tried: datetime | None = None
    error: str = ""
    since: datetime | None = None
    period: int = 0
    alert_after: int = 0
    drill_after: int = 0

    def drill_overdue(self, last: datetime | None, now: datetime) -> bool:
        """Whether a drill is overdue whose last one was at `last`, None where it had none."""
        begun = last or self.since
        return bool(
            self.drill_after and begun and now - begun > timedelta(seconds=self.drill_after)
        )


class Checked(_Model):
    """The last check of the repository; `error` is empty where it found none."""

    at: datetime
    reads: str = ""
    error: str = ""


class State(_Model):
    """All of it, at `at`, kept since `begun`. `skew` is by how many seconds each server's clock is
    ahead."""

    at: datetime | None = None
    begun: datetime | None = None
    apps: Mapping[str, Watched] = {}
    checked: Checked | None = None
    skew: Mapping[str, float] = {}
    fault: str = ""


def parse(text: str) -> State:
    """The state in a file's text; a new one where there is none, or none that can be read."""
    try:
        return State.model_validate_json(text) if text.strip() else State()
    except ValidationError:
        return State(fault=f"{PATH} cannot be read: the next backup writes it anew")


def listed(state: State, snapshots: Sequence[Snapshot], now: datetime) -> State:
    """`state` with what the repository listed at `now`: all of its snapshots."""
    apps = dict.fromkeys([*state.apps, *(one.app for one in snapshots)])
    return state.model_copy(
        update={
            "at": now,
            "begun": state.begun or now,
            "fault": "",
            "apps": {
                app: _listed(
                    state.apps.get(app, Watched()), [s for s in snapshots if s.app == app], now
                )
                for app in apps
            },
        }
    )


def _listed(known: Watched, snapshots: Sequence[Snapshot], now: datetime) -> Watched:
    counted = past(snapshots, now)
    details = {one.id: one for one in (known.newest, known.before) if one}
    two = [_seen(one, details.get(one.id), now) for one in counted[-2:]]
    return known.model_copy(
        update={
            "newest": two[-1] if two else None,
            "before": two[0] if len(two) == 2 else None,
            "future": tuple(one.short_id for one in snapshots if one not in counted),
        }
    )


def _seen(one: Snapshot, known: Seen | None, now: datetime) -> Seen:
    new = Seen(id=one.id, time=one.time, seen=now, size=one.size, files=one.files)
    if known is None:
        return new
    return new.model_copy(update={"held": known.held, "dumps": known.dumps})


def tried(
    state: State, app: str, at: datetime, *, error: str = "", held: int | None = None,
    dumps: Mapping[str, int] | None = None,
) -> State:  # fmt: skip
    """`state` after a backup of `app` that began at `at` and was listed, unless `error` says why
    not."""
    known = state.apps.get(app, Watched())
    update: dict[str, object] = {"tried": at, "error": error}
    if not error and known.newest:
        looked = {"held": held, "dumps": dict(dumps or {})}
        update["newest"] = known.newest.model_copy(update=looked)
    return state.model_copy(update={"apps": {**state.apps, app: known.model_copy(update=update)}})


def dumps_of(state: State) -> dict[str, Mapping[str, int]]:
    """The dumps in snapshots, with their sizes, by the snapshots' ids: of those that are known,
    each app's two newest."""
    two = (one for app in state.apps.values() for one in (app.newest, app.before))
    return {one.id: one.dumps for one in two if one and one.dumps is not None}


def expected(state: State, rules: Mapping[str, Rule], since: Mapping[str, datetime]) -> State:
    """`state` of the apps in `rules` alone, with what holds for them.

    `since` is when they were deployed as they are: one that was never backed up is not late at
    once. What is known from before stays: each deployment would begin anew.
    """
    apps = {}
    for app, rule in rules.items():
        known = state.apps.get(app, Watched())
        begun = [at for at in (known.since, since.get(app)) if at]
        apps[app] = known.model_copy(
            update={
                "period": rule.period,
                "alert_after": rule.alert_after,
                "drill_after": rule.drill_after,
                "since": min(begun, default=None),
            }
        )
    return state.model_copy(update={"apps": apps})


def utcnow() -> datetime:
    """Now, to whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)

"""`backup` in `ronron.yml` and in an app's file: where snapshots go, when, and for how long."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from ronron.site import values
from ronron.site.drills import DrillSchedule, overdue_after
from ronron.site.fields import Duration, Model, SitePath

HOUR, DAY = 3600, 86400
PERIODS = {"hourly": HOUR, "daily": DAY, "weekly": 7 * DAY}
ALERT_AFTER = {"hourly": 6 * HOUR, "daily": 36 * HOUR, "weekly": 9 * DAY}
"""By schedule, in seconds: how often it comes, and how old a snapshot may be unless it is said."""

EXPOSED = (
    "ronron.yml: backup.append_only is false: who takes a server over can delete its backups; "
    "docs/backups.md says how a REST server keeps them"
)
"""Said of a REST server whose snapshots ronron deletes."""

CALENDAR_PATTERN = values.calendar_pattern(*PERIODS)
SUBSET_PATTERN = r"^([0-9]+(\.[0-9]+)?%|[0-9]+/[0-9]+|[0-9]+[KMGT])$"


def schedule(text: str) -> str:
    """One of the three words, or what systemd may take as a calendar event."""
    remedy = "hourly, daily, weekly, or a calendar event of systemd's: Mon..Fri *-*-* 04:00"
    return values.calendar(text, CALENDAR_PATTERN, "a schedule", remedy)


def subset(text: str) -> str:
    """A part of the repository's data, as `restic check --read-data-subset` takes it."""
    if not re.fullmatch(SUBSET_PATTERN[1:-1], text):
        raise values.fault(f"{values.shown(text)} is not a part of the data", "5%, 1/52 or 10G")
    return text


Schedule = Annotated[
    str,
    AfterValidator(schedule),
    WithJsonSchema({"type": "string", "pattern": CALENDAR_PATTERN}),
]


class Keep(Model):
    """How long snapshots are kept, in restic's words: `2y5m7d3h`, counted back from the newest."""

    every: Duration = Field(default="2d", description="Every snapshot.")
    daily: Duration = Field(default="14d", description="The last one of each day.")
    weekly: Duration = Field(default="3m", description="The last one of each week.")
    monthly: Duration = Field(default="1y", description="The last one of each month.")


class _Timed(Model):
    @model_validator(mode="after")
    def _alerted(self) -> _Timed:
        # How often a calendar event comes is known to systemd alone.
        wanted = getattr(self, "schedule", None)
        if wanted and wanted not in PERIODS and not getattr(self, "alert_after", None):
            raise values.fault(
                "is missing beside a calendar event",
                "say how old the newest snapshot may be before it is an alert, such as 36h",
                at="alert_after",
            )
        return self


class Backup(_Timed):
    """Where backups go, when they are made, and how long they are kept."""

    repository: Annotated[str, AfterValidator(values.repository)] = Field(
        description="A restic repository: a folder of the storage server (`/mnt/backup`), "
        "`sftp:USER@HOST:/PATH`, `rest:https://HOST/PATH`, `s3:https://HOST/BUCKET/PATH`, or "
        "`rclone:REMOTE:PATH`. What it takes to log in is in the vault."
    )
    ca: SitePath | None = Field(
        default=None, description="File in the site: the CA that signed the repository's server."
    )
    schedule: Schedule = Field(
        default="daily",
        description="When apps are backed up: `hourly`, `daily`, `weekly`, or a calendar event of "
        "systemd's.",
    )
    alert_after: Duration | None = Field(
        default=None,
        description="How old an app's newest snapshot may be; default: `6h`, `36h`, `9d` for the "
        "three schedules.",
    )
    keep: Keep = Field(default=Keep(), description="How long snapshots are kept.")
    check_reads: Annotated[str, AfterValidator(subset)] = Field(
        default="5%",
        description="The part of the data that the weekly check reads: `5%`, `1/52`, `10G`.",
    )
    append_only: bool | None = Field(
        default=None,
        description="The repository deletes nothing: snapshots are forgotten elsewhere; default: "
        "`true` for `rest:`, else `false`.",
    )
    drill: DrillSchedule = Field(
        default="weekly",
        description="When the newest backups are restored aside and looked into: `weekly`, "
        "`monthly`, `off`, or a calendar event of systemd's.",
    )

    @property
    def deletes(self) -> bool:
        """Whether snapshots are forgotten by ronron."""
        if self.append_only is None:
            return not self.repository.startswith("rest:")
        return not self.append_only

    @property
    def exposed(self) -> bool:
        """Whether a server that is taken over may delete what could be append-only."""
        return self.deletes and self.repository.startswith("rest:")


class AppBackup(_Timed):
    """Of one app: what differs from the site's backups."""

    schedule: Schedule | None = Field(
        default=None, description="When it is backed up; default: the site's."
    )
    alert_after: Duration | None = Field(
        default=None, description="How old its newest snapshot may be; default: as the schedule's."
    )
    keep: Keep | None = Field(
        default=None, description="How long its snapshots are kept; default: the site's."
    )


@dataclass(frozen=True)
class Rule:
    """What holds for one app. `job` is the timer that backs it up; the rest is in seconds.

    `drill_after` is how old its last drill may be, 0 where none is due.
    """

    job: str
    schedule: str
    period: int
    alert_after: int
    keep: Keep
    drill_after: int


def rule(site: Backup, app: AppBackup | None) -> Rule:
    """What holds for an app of a site."""
    own = app or AppBackup()
    when = own.schedule or site.schedule
    said = own.alert_after or (site.alert_after if own.schedule is None else None)
    after = seconds(said) if said else ALERT_AFTER[when]
    return Rule(
        job_of(site, when),
        when,
        PERIODS.get(when, after),
        after,
        own.keep or site.keep,
        overdue_after(site.drill),
    )


def job_of(site: Backup, when: str) -> str:
    """The name of the timer's job for a schedule; the site's own is `backup`."""
    if when == site.schedule:
        return "backup"
    words = when if when in PERIODS else sha256(when.encode()).hexdigest()[:8]
    return f"backup-{words}"


def seconds(duration: str) -> int:
    """A duration in seconds; a year is 365 days, a month 30."""
    units = {"y": 365 * DAY, "m": 30 * DAY, "d": DAY, "h": HOUR}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"([0-9]+)([ymdh])", duration))

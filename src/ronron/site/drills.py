"""`backup.drill` in `ronron.yml`: when the manager restores the newest backups aside."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from ronron.site import values

OFF = "off"
CALENDARS = {"weekly": "Sun *-*-* 07:00:00", "monthly": "*-*-01 07:00:00"}
"""By word: systemd's calendar event."""

DAY = 86400
_AFTER = {"weekly": 9 * DAY, "monthly": 33 * DAY, OFF: 0}
_CALENDAR_AFTER = 94 * DAY

_PATTERN = values.calendar_pattern(*CALENDARS, OFF)


def _checked(text: str) -> str:
    """One of the three words, or what systemd may take as a calendar event."""
    remedy = "weekly, monthly, off, or a calendar event of systemd's: Mon *-*-* 04:00"
    return values.calendar(text, _PATTERN, "a schedule of drills", remedy)


DrillSchedule = Annotated[
    str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": _PATTERN})
]


def overdue_after(schedule: str) -> int:
    """After how many seconds without a drill one is overdue, 0 for never.

    How often a calendar event comes is known to systemd alone: it may be once in three months.
    """
    return _AFTER.get(schedule, _CALENDAR_AFTER)

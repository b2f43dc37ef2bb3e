"""`backup.drill` in `ronron.yml`: when the manager restores the newest backups aside."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from ronron.site import values

OFF = "off"
CALENDARS = {"weekly": "Sun *-*-* 07:00:00", "monthly": "*-*-01 07:00:00"}
"""By word: systemd's calendar event."""

_PATTERN = r"^(weekly|monthly|off|[A-Za-z0-9*.,:/~ -]*[0-9*][A-Za-z0-9*.,:/~ -]*)$"


def _checked(text: str) -> str:
    """One of the three words, or what systemd may take as a calendar event."""
    if not re.fullmatch(_PATTERN[1:-1], text) or text.startswith("-"):
        raise values.fault(
            f"{values.shown(text)} is not a schedule of drills",
            "weekly, monthly, off, or a calendar event of systemd's: Mon *-*-* 04:00",
        )
    return text


DrillSchedule = Annotated[
    str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": _PATTERN})
]

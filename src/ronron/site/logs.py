"""`logs` in `ronron.yml`: how long log lines are kept; and in `apps/NAME.yml`: whose addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from ronron.errors import Problem
from ronron.site import values
from ronron.site.fields import Model

if TYPE_CHECKING:
    from ronron.site.models import App

CLASSES = ("access", "app", "system")
"""Requests through the proxy; what containers write; everything else in the servers' journals."""

STORES = ("logs", "elastic")
"""Recipes that the servers send their log lines to: a site has one of them."""

PORT = 9428
"""Where the store takes lines, on the first manager."""

Addresses = Literal["whole", "truncated", "hashed"]

_PATTERN = "([1-9][0-9]{0,3})([dwy])"
_DAYS = {"d": 1, "w": 7, "y": 365}


def _period(text: str) -> str:
    """A number of days, weeks or years: `30d`. A day is the least that a store can delete."""
    if not re.fullmatch(_PATTERN, text):
        raise values.fault(f"{values.shown(text)} is no period", "days, weeks or years: 30d, 2w")
    return text


def days(period: str) -> int:
    """`2w` as 14."""
    return int(period[:-1]) * _DAYS[period[-1]]


Period = Annotated[
    str,
    AfterValidator(_period),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN}$"}),
]


class Retention(Model):
    """How long lines of each class are kept, and then deleted."""

    access: Period = Field(default="14d", description="Requests through the proxy.")
    app: Period = Field(default="30d", description="What the apps' containers write.")
    system: Period = Field(default="90d", description="What is in the servers' journals besides.")

    @property
    def of_journals(self) -> int:
        """The shorter of the periods of what is in the servers' own journals, in days."""
        return min(days(period) for period in (self.app, self.system))


class Logs(Model):
    """How long log lines are kept. The recipe `logs` acts on it."""

    retention: Retention = Field(default=Retention(), description="By class: `14d`, `2w`, `1y`.")


class AppLogs(Model):
    """What is kept of an app's requests."""

    addresses: Addresses = Field(
        default="whole",
        description="Clients' addresses: `whole`, `truncated` (to /24 and /48), or `hashed` with a "
        "key that is forgotten every day.",
    )


def store_of(apps: Iterable[App]) -> App | None:
    """The app that the servers send their log lines to."""
    return next((app for app in apps if app.recipe in STORES), None)


def problems(apps: Iterable[App]) -> list[Problem]:
    """Every store beside the first: both would want the same port."""
    found = [app.name for app in apps if app.recipe in STORES]
    return [
        Problem(
            f"apps/{name}.yml",
            "recipe",
            f"{found[0]} is the site's log store already",
            "keep one of the two",
        )
        for name in found[1:]
    ]

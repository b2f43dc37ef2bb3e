"""Data checks: what an app that was restored must hold, so that an empty one is not taken for it.

A drill makes them before the app itself starts: many programs fill an empty database by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ronron.catalog.recipe import Extension


class Check(BaseModel):
    """One thing that must be there: rows in a database, a file in a volume, or files by name.

    `rows` and `listed` are argv lists, run in the container of `service`, a database. `rows` must
    print something. Each line that `listed` prints is a path in `volume` that must be there. `file`
    is a pattern that a file in `volume` must match, `**` for any number of folders. Empty files do
    not count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    service: str = ""
    rows: tuple[str, ...] = ()
    volume: str = ""
    file: str = ""
    listed: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_thing(self) -> Check:
        if bool(self.rows) + bool(self.file) + bool(self.listed) != 1:
            raise ValueError("must have one of rows, file and listed")
        if bool(self.service) != bool(self.rows or self.listed):
            raise ValueError("must have service with rows and listed, and not with file")
        if bool(self.volume) != bool(self.file or self.listed):
            raise ValueError("must have volume with file and listed, and not with rows")
        return self

    @property
    def command(self) -> tuple[str, ...]:
        """What is run in the service's container; empty for a check of files alone."""
        return self.rows or self.listed


def checks_of(extension: Extension, volumes: Mapping[str, str]) -> dict[str, Check]:
    """An app's data checks; `volumes` maps the names of its volumes to their classes.

    One that declares none and has no database must have a file in each of its volumes.
    """
    if extension.checks or "database" in volumes.values():
        return dict(extension.checks)
    return {
        name: Check(about=f"Something is in the volume {name}", volume=name, file="**/*")
        for name in volumes
    }


class Fault(NamedTuple):
    """Why a drill of a recipe would prove too little: where it says so, and what to do."""

    path: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


def faults(extension: Extension, services: Mapping[str, object]) -> Iterator[Fault]:
    """What is wrong with a recipe's data checks; none is wanted of the platform's own parts."""
    checks = extension.checks
    for name, check in checks.items():
        where = f"x-ronron.checks.{name}"
        if check.service and check.service not in services:
            remedy = f"name one of: {', '.join(services)}"
            yield Fault(f"{where}.service", f"there is no service {check.service}", remedy)
        if check.volume and (
            check.volume not in extension.volumes
            or extension.volumes[check.volume].kind == "database"
        ):
            message = f"{check.volume} is not a volume of class files"
            yield Fault(f"{where}.volume", message, "name one of x-ronron.volumes")
    asked = {check.service for check in checks.values() if check.rows}
    for name, rule in extension.databases.items():
        if (rule.service or name) not in asked:
            message = f"an empty backup of {name} would pass for a good one"
            remedy = "add to x-ronron.checks a query (rows) that finds nothing in an empty database"
            yield Fault(f"x-ronron.databases.{name}", message, remedy)
    looked = {check.volume for check in checks.values()}
    for name, volume in extension.volumes.items():
        if volume.kind == "files" and name not in looked and extension.category != "platform":
            message = f"whether the files in {name} are in a backup is not known"
            remedy = "add to x-ronron.checks a file, or a query that lists files"
            yield Fault(f"x-ronron.volumes.{name}", message, remedy, "warning")

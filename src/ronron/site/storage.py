"""`storage` in `ronron.yml`: where volumes are kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from ronron.site import values
from ronron.site.fields import Model
from ronron.site.pool import Pool

_PERIODS = {"s": 1, "m": 60, "h": 3600}
PERIOD_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[1-9][0-9]{0,4}[smh]$"}


def period(text: str) -> str:
    """Seconds, minutes or hours."""
    if not re.fullmatch(PERIOD_SCHEMA["pattern"], text):
        raise values.fault(f"{values.shown(text)} is not a period", "such as 90s, 10m or 2h")
    return text


class Failover(Model):
    """When a database whose server is gone comes up on another, from its newest dump."""

    after: Annotated[str, AfterValidator(period), WithJsonSchema(PERIOD_SCHEMA)] = Field(
        default="10m", description="How long its server must be gone: `90s`, `10m`, `2h`."
    )
    automatic: bool = Field(
        default=False, description="The manager does it unasked; otherwise: ronron failover."
    )

    @property
    def seconds(self) -> int:
        """`after` in seconds."""
        return int(self.after[:-1]) * _PERIODS[self.after[-1]]


class Storage(Model):
    """Where volumes are kept."""

    shared: Literal["local", "nfs", "glusterfs"] = Field(
        default="local",
        description="How volumes of files reach the servers: `local`, on the storage server alone; "
        "`nfs`, from the storage server; `glusterfs`, copied to three servers.",
    )
    pool: Pool | None = Field(
        default=None,
        description="Disks of the storage server as one space; without it: its own disk.",
    )
    failover: Failover = Field(
        default=Failover(), description="Databases of a server that is gone."
    )

    @property
    def is_shared(self) -> bool:
        """Whether every server has the volumes of files."""
        return self.shared != "local"

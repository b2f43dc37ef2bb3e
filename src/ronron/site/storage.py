"""`storage` in `ronron.yml`: where volumes are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ronron.site.fields import Model


class Storage(Model):
    """Where volumes are kept."""

    shared: Literal["local"] = Field(
        default="local",
        description="How volumes of files reach the servers: `local`, on the storage server alone.",
    )

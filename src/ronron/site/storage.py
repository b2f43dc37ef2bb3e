"""`storage` in `ronron.yml`: where volumes are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ronron.site.fields import Model


class Storage(Model):
    """Where volumes are kept."""

    shared: Literal["local", "nfs", "glusterfs"] = Field(
        default="local",
        description="How volumes of files reach the servers: `local`, on the storage server alone; "
        "`nfs`, from the storage server; `glusterfs`, copied to three servers.",
    )

    @property
    def is_shared(self) -> bool:
        """Whether every server has the volumes of files."""
        return self.shared != "local"

"""`storage.pool` in `ronron.yml`: the disks of the storage server that become one space."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ronron.site import values
from ronron.site.fields import Model

Kind = Literal["lvm", "btrfs"]
Filesystem = Literal["ext4", "xfs"]


def disk(path: str) -> str:
    """The path of a disk, below `/dev`."""
    if not re.fullmatch(r"/dev(/[A-Za-z0-9][A-Za-z0-9._:+@=-]*)+", path):
        raise values.fault(
            f"{values.shown(path)} is not the path of a disk",
            "write it as ls /dev/disk/by-id shows it: /dev/disk/by-id/…",
        )
    return path


Disks = Annotated[tuple[Annotated[str, AfterValidator(disk)], ...], Field(strict=False)]


class Pool(Model):
    """Disks of the storage server as one space, mounted at `/srv/ronron`."""

    disks: Annotated[Disks, Field(min_length=1)] = Field(
        description="The storage server's disks, as `/dev/disk/by-id` has them."
    )
    kind: Kind = Field(default="lvm", description="`lvm`, or one `btrfs` over all disks.")
    filesystem: Filesystem = Field(
        default="ext4", description="The file system on the volume of `lvm`."
    )
    erase: Disks = Field(
        default=(),
        description="Disks of `disks`, named again: they hold something that may be erased.",
    )

    @model_validator(mode="after")
    def _coherent(self) -> Pool:
        for name in self.disks:
            if self.disks.count(name) > 1:
                raise values.fault(f"{name} is there twice", "name each disk once", at="disks")
        for name in self.erase:
            if name not in self.disks:
                raise values.fault(
                    f"{name} is not one of the pool's disks",
                    "write it as under disks, or remove it",
                    at="erase",
                )
        if self.kind == "btrfs" and "filesystem" in self.model_fields_set:
            raise values.fault("is for lvm: btrfs is its own", "remove it", at="filesystem")
        return self

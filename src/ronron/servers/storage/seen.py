"""What is known of a server's disks and of the pool on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Signature:
    """What the beginning of a disk, or of one of its partitions, says that it holds."""

    device: str
    type: str
    label: str = ""

    def __str__(self) -> str:
        return f"{self.type} {self.label}" if self.label else self.type


@dataclass(frozen=True)
class BlockDevice:
    """A disk: the kernel's name for it, its size in bytes, and what it holds.

    It is `busy` when the kernel uses it: mounted, or under LVM, RAID or swap. A `system` disk has
    the system's own file system.
    """

    device: str
    size: int
    signatures: tuple[Signature, ...] = ()
    busy: bool = False
    system: bool = False


@dataclass(frozen=True)
class PoolFacts:
    """The pool as it is. Without a `kind` there is none.

    `members` are the kernel's names of its disks, `missing` how many of them are gone. `uuid` is
    its file system's, empty before there is one; `grown` is whether that covers all of the
    volume, `free` the bytes that the volume does not have yet.
    """

    kind: str = ""
    members: tuple[str, ...] = ()
    missing: int = 0
    volume: bool = False
    free: int = 0
    filesystem: str = ""
    uuid: str = ""
    grown: bool = True
    mounted: bool = False


@dataclass(frozen=True)
class StorageFacts:
    """A server's disks, by the paths that were asked for; a path without one is not there.

    `mount` is what is mounted at `/srv/ronron`: the device, empty for a plain folder, and `used`
    whether a plain folder holds any file.
    """

    disks: Mapping[str, BlockDevice] = field(default_factory=dict)
    pool: PoolFacts = PoolFacts()
    mount: str = ""
    used: bool = False


def parse(data: Mapping[str, Any]) -> StorageFacts:
    """The facts in what `observe.py` printed."""
    pool = data["pool"]
    return StorageFacts(
        disks={path: _disk(one) for path, one in data["disks"].items()},
        pool=PoolFacts(**{**pool, "members": tuple(pool["members"])}),
        mount=data["mount"],
        used=data["used"],
    )


def _disk(data: Mapping[str, Any]) -> BlockDevice:
    signatures = tuple(Signature(**one) for one in data["signatures"])
    return BlockDevice(**{**data, "signatures": signatures})

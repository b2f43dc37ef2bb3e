"""The commands that make and extend a pool, as argv lists.

The pool is the volume group `ronron` with the one volume `pool`, or a btrfs labelled `ronron`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ronron.servers.storage.look import PLACE, POOL

Commands = tuple[tuple[str, ...], ...]

VOLUME = f"/dev/{POOL}/pool"


def erase(devices: Sequence[str]) -> Commands:
    """Forget what a disk and its partitions hold; the disk comes last."""
    return tuple(("wipefs", "--all", one) for one in devices)


def make_group(devices: Sequence[str]) -> Commands:
    """A volume group of these disks."""
    return (("vgcreate", POOL, *devices),)


def extend_group(devices: Sequence[str]) -> Commands:
    """More disks for the volume group."""
    return (("vgextend", POOL, *devices),)


def make_volume() -> Commands:
    """The one volume, over all of the group."""
    argv = ("lvcreate", "--yes", "--wipesignatures", "y", "--extents", "100%FREE")
    return ((*argv, "--name", "pool", POOL),)


def extend_volume() -> Commands:
    """The volume over what the group has beside it."""
    return (("lvextend", "--extents", "+100%FREE", f"{POOL}/pool"),)


def make_filesystem(kind: str, uuid: str) -> Commands:
    """The file system on the volume, able to hold quotas by project."""
    if kind == "xfs":
        return (("mkfs.xfs", "-q", "-L", POOL, "-m", f"uuid={uuid}", VOLUME),)
    features = ("-O", "project,quota", "-E", "quotatype=prjquota", "-m", "1")
    return (("mkfs.ext4", "-q", "-L", POOL, "-U", uuid, *features, VOLUME),)


def grow(kind: str) -> Commands:
    """The mounted file system over all of its volume."""
    return (("xfs_growfs", PLACE) if kind == "xfs" else ("resize2fs", VOLUME),)


def make_btrfs(devices: Sequence[str], uuid: str) -> Commands:
    """One btrfs over these disks: data once, metadata twice."""
    return (
        ("mkfs.btrfs", "--quiet", "--label", POOL, "--uuid", uuid, "--data", "single", *devices),
    )


def extend_btrfs(devices: Sequence[str]) -> Commands:
    """More disks for the mounted btrfs."""
    return (("btrfs", "device", "add", *devices, PLACE),)


def move_in(uuid: str) -> tuple[str, ...]:
    """Mount the pool where volumes are, with what is there now; the program is on stdin."""
    return ("python3", "-", uuid)

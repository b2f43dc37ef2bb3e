"""The units of systemd that put storage in its place, as text."""

from __future__ import annotations

from ronron.servers.storage.look import PLACE

UNITS = "/etc/systemd/system"
MOUNT = f"{UNITS}/srv-ronron.mount"
WANTED = f"{UNITS}/local-fs.target.wants/srv-ronron.mount"
DOCKER = f"{UNITS}/docker.service.d/ronron-storage.conf"

_OPTIONS = {
    "ext4": "nodev,nosuid,prjquota",
    "xfs": "nodev,nosuid,prjquota",
    "btrfs": "nodev,nosuid",
}
"""What apps write is neither a device nor a program with another's rights."""


def mount(uuid: str, filesystem: str) -> str:
    """The unit that mounts the pool, `srv-ronron.mount`."""
    return f"""\
# Written by ronron apply: the pool of disks.
[Unit]
Description=ronron's storage

[Mount]
What=/dev/disk/by-uuid/{uuid}
Where={PLACE}
Type={filesystem}
Options={_OPTIONS[filesystem]}

[Install]
WantedBy=local-fs.target
"""


def docker() -> str:
    """What keeps Docker from starting while the pool is not mounted: nothing is written beside."""
    return f"""\
# Written by ronron apply: containers find their volumes, or do not start.
[Unit]
RequiresMountsFor={PLACE}
"""

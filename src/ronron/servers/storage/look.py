"""Runs on a server, before `observe.py` in one program: what is known of its disks and its pool.

It stands alone: Python 3.9 and its standard library.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

POOL = "ronron"
PLACE = "/srv/ronron"
ENDS = 1 << 20
"""How many bytes of a disk's beginning and of its end must be zero where it has no signature."""

UNKNOWN = "data of no known kind"


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _size(device: str) -> int:
    with Path(device).open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _busy(device: str) -> bool:
    """Whether the kernel refuses the device, or the disk that it is part of, to others."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _signatures(device: str) -> list[dict[str, str]]:
    """What `wipefs` finds on a device and on its partitions; it writes nothing here."""
    about = Path("/sys/class/block", Path(device).name)
    parts = sorted("/dev/" + part.parent.name for part in about.glob("*/partition"))
    found = {}
    for one in [device, *parts]:
        told = _said("wipefs", "--no-act", "--json", one)
        for item in json.loads(told)["signatures"] if told.strip() else ():
            found[one, item["type"]] = {
                "device": one,
                "type": item["type"],
                "label": item.get("label") or "",
            }
    return list(found.values())


def _blank(device: str, size: int) -> bool:
    """Whether a disk begins and ends with zeros: raw data and plain dm-crypt have no signature."""
    with Path(device).open("rb") as file:
        first = file.read(ENDS)
        file.seek(max(0, size - ENDS))
        return not (first + file.read()).strip(b"\0")


def _system_disks() -> set[str]:
    """The disks under the system's own file systems."""
    found: set[str] = set()
    for place in ("/", "/boot", "/usr", "/var"):
        source = _said("findmnt", "-n", "--nofsroot", "-o", "SOURCE", "-T", place).split("\n")[0]
        if source.startswith("/dev/"):
            found.update(_said("lsblk", "-nrspo", "NAME", source).split())
    return found


def _block_device(path: str, system: set[str]) -> dict[str, Any] | None:
    device = os.path.realpath(path)
    try:
        if not stat.S_ISBLK(Path(device).stat().st_mode):
            return None
        size = _size(device)
        found = _signatures(device)
        if not found and not _blank(device, size):
            found = [{"device": device, "type": UNKNOWN, "label": ""}]
    except OSError:
        return None
    return {
        "device": device,
        "size": size,
        "signatures": found,
        "busy": _busy(device),
        "system": device in system,
    }


def _lvm(mounted: str) -> dict[str, Any] | None:
    """The volume group of the pool, if there is one; `mounted` is the device at its place."""
    argv = ("lvm", "fullreport", "--reportformat", "json", "--units", "b", "--nosuffix")
    told = _said(*argv, "--select", "vg_name=" + POOL)
    reports = json.loads(told).get("report", []) if told.strip() else []
    for report in reports:
        # Without a group: of a disk that was prepared for LVM and is in none.
        for group in report.get("vg", []):
            volume = next((lv["lv_path"] for lv in report["lv"] if lv["lv_name"] == "pool"), "")
            names = [os.path.realpath(pv["pv_name"]) for pv in report["pv"]]
            return {
                "kind": "lvm",
                "members": sorted(name for name in names if name.startswith("/dev/")),
                "missing": int(group["vg_missing_pv_count"]),
                "volume": bool(volume),
                "free": int(group["vg_free"]),
                **(_filesystem(volume, os.path.realpath(volume) == mounted) if volume else {}),
            }
    return None


def _filesystem(device: str, mounted: bool) -> dict[str, Any]:
    """Type and UUID of what is on a volume, and whether it covers the volume."""
    told = _said("blkid", "-p", "-o", "export", device).splitlines()
    about = dict(line.split("=", 1) for line in told if "=" in line)
    kind, whole = about.get("TYPE", ""), _size(device)
    with Path(device).open("rb") as file:
        start = file.read(4096)
    size, block = whole, 4096
    if kind == "ext4":  # s_blocks_count in two halves, s_log_block_size
        low, high = (struct.unpack_from("<I", start, 1024 + at)[0] for at in (0x4, 0x150))
        block = 1024 << struct.unpack_from("<I", start, 1024 + 0x18)[0]
        size = (high << 32 | low) * block
    elif kind == "xfs":  # sb_blocksize, sb_dblocks
        # A mounted one writes what it knows of itself to the disk when it likes: it is asked.
        block, blocks = _geometry() if mounted else struct.unpack_from(">IQ", start, 4)
        size = block * blocks
    return {"filesystem": kind, "uuid": about.get("UUID", ""), "grown": size + (1 << 20) > whole}


def _geometry() -> tuple[int, int]:
    """Size and number of the blocks of the XFS at the place: XFS_IOC_FSGEOMETRY_V1."""
    place = os.open(PLACE, os.O_RDONLY)
    try:
        told = fcntl.ioctl(place, 0x80705864, bytes(112))
    finally:
        os.close(place)
    return struct.unpack_from("=I28xQ", told)


def _btrfs(disks: dict[str, Any], mounted: str) -> dict[str, Any] | None:
    """The pool as one btrfs over its disks, if there is one."""
    ours = [
        disk["device"]
        for disk in disks.values()
        if any(one["type"] == "btrfs" and one["label"] == POOL for one in disk["signatures"])
    ]
    for device in [mounted, *ours] if mounted else ours:
        told = _said("btrfs", "filesystem", "show", "--raw", device)
        if f"Label: '{POOL}'" not in told:
            continue
        rows = [line.split() for line in told.splitlines() if line.strip().startswith("devid")]
        paths = [row[-1] for row in rows if row[-1].startswith("/dev/")]
        return {
            "kind": "btrfs",
            "members": sorted(os.path.realpath(path) for path in paths),
            "missing": int(told.split("Total devices")[1].split()[0]) - len(paths),
            "volume": True,
            "filesystem": "btrfs",
            "uuid": told.split("uuid:")[1].split()[0],
        }
    return None


def _holds(place: str) -> bool:
    return any(files for _, _, files in os.walk(place))


def storage(paths: list[str]) -> dict[str, Any]:
    """The disks at `paths`, and the pool that is or is not made of them."""
    system = _system_disks()
    found = {path: _block_device(path, system) for path in paths}
    disks = {path: disk for path, disk in found.items() if disk}
    mount = _said("findmnt", "-n", "--nofsroot", "-o", "SOURCE", "-M", PLACE).strip()
    device = os.path.realpath(mount) if mount.startswith("/") else mount
    pool = _lvm(device) or _btrfs(disks, device) or {"members": []}
    own = [*pool["members"], os.path.realpath("/dev/" + POOL + "/pool")]
    return {
        "disks": disks,
        "pool": {**pool, "mounted": bool(device) and device in own},
        "mount": device,
        "used": not device and _holds(PLACE),
    }

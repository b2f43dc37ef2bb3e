"""Runs on a server: prints what the space at `/srv/ronron` is used for, as one JSON object.

It is sent as it is (`python3 - QUERY`), so it stands alone: Python 3.9 and its standard library.
QUERY is JSON: `disks`, the devices of which the health is asked, whether the pool is a `btrfs`, and
the folders that hold `volumes`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLACE = Path("/srv/ronron")


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(entry for entry in place.iterdir() if entry.is_dir())
    except OSError:
        return []


def _kept(roots: list[str]) -> Iterator[tuple[str, str, str, Path]]:
    """Kind, app, name and path of everything that is kept below the place."""
    for root in roots:
        for app in _folders(PLACE / root):
            if app.name in (".replaced", ".restoring"):
                for one in _folders(app):
                    yield app.name[1:], one.name, "", one
            elif app.name in (".moved", ".fenced", ".moving"):
                for one in _folders(app):
                    name, _, when = one.name.rpartition("-")
                    yield app.name[1:], name, when, one
            elif not app.name.startswith("."):
                for volume in _folders(app):
                    yield "volume", app.name, volume.name, volume
    for app in _folders(PLACE / "backups"):
        yield "dumps", app.name, "", app
    before = Path(f"{PLACE}.before")
    if before.is_dir():
        yield "before the pool", "", "", before


def _health(device: str, errors: dict[str, int]) -> dict[str, Any]:
    """What the kernel, the file system and the disk itself say of its health."""
    told = _said("smartctl", "--health", "--json", device) if shutil.which("smartctl") else ""
    smart = json.loads(told).get("smart_status", {}).get("passed") if told else None
    about = Path("/sys/class/block", Path(device).name, "device", "state")
    state = about.read_text().strip() if about.exists() else ""
    size = Path("/sys/class/block", Path(device).name, "size")
    return {
        "device": device,
        "size": int(size.read_text()) * 512 if size.exists() else 0,
        "smart": smart,
        "state": state,
        "errors": errors.get(device, 0),
    }


def _errors() -> dict[str, int]:
    """The errors that btrfs counted on each of its disks."""
    found: dict[str, int] = {}
    for line in _said("btrfs", "device", "stats", str(PLACE)).splitlines():
        name, _, count = line.partition(" ")
        device = os.path.realpath(name[1:].partition("]")[0])
        found[device] = found.get(device, 0) + int(count)
    return found


def _look(query: dict[str, Any]) -> dict[str, Any]:
    kept = list(_kept(query["volumes"]))
    sizes = {}
    if kept:
        paths = [str(path) for *_, path in kept]
        for line in _said("du", "-sxB1", "--", *paths).splitlines():
            count, _, path = line.partition("\t")
            sizes[path] = int(count)
    place = next(path for path in (PLACE, *PLACE.parents) if path.exists())
    space = os.statvfs(place)
    errors = _errors() if query["btrfs"] else {}
    return {
        "total": space.f_blocks * space.f_frsize,
        "free": space.f_bavail * space.f_frsize,
        "uses": [
            {"kind": kind, "app": app, "name": name, "path": str(path), "size": sizes[str(path)]}
            for kind, app, name, path in kept
            if str(path) in sizes
        ],
        "disks": [_health(device, errors) for device in query["disks"]],
    }


json.dump(_look(json.loads(sys.argv[1])), sys.stdout)

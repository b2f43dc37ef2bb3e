"""Runs on a server: prints what ronron wants to know of it, as one JSON object.

It is sent (`python3 - QUERY`) with `storage/look.py` in front of it, so the two stand alone: Python
3.9 and its standard library. QUERY is JSON: `packages`, `services`, `files` (their text is told),
`secrets` (files of which only the digest is told), `folders`, `ports`, `disks` and kernel `modules`
to look at.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ronron.servers.storage.look import storage


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _system() -> dict[str, str]:
    pairs = (line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def _memory() -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.M)
    return int(found.group(1)) * 1024 if found else 0


def _disk(path: str) -> dict[str, int]:
    usage = shutil.disk_usage(next(p for p in (Path(path), *Path(path).parents) if p.exists()))
    return {"free": usage.free, "total": usage.total}


def _packages(names: list[str]) -> dict[str, str]:
    form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    lines = _output("dpkg-query", "-W", "-f", form, "--", *names).splitlines() if names else []
    rows = (line.split("\t") for line in lines)
    return {name: version for status, name, version in rows if status.startswith("ii")}


def _services(names: list[str]) -> dict[str, dict[str, Any]]:
    wanted = (
        "Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic,"
        "ConditionResult,ConditionTimestampMonotonic"
    )
    units = {name if "." in name else name + ".service": name for name in names}
    started = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    found = {}
    for block in _output("systemctl", "show", "-p", wanted, "--", *units).split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("LoadState") == "loaded":
            tried = unit.get("ConditionTimestampMonotonic", "0") != "0"
            found[units.get(unit["Id"], unit["Id"].removesuffix(".service"))] = {
                "enabled": unit.get("UnitFileState") in ("enabled", "static"),
                "active": unit.get("ActiveState") in ("active", "activating", "reloading"),
                "since": started + int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
                "unsuited": tried and unit.get("ConditionResult") == "no",
            }
    return found


def _entry(path: str, tell: bool) -> dict[str, Any] | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    found: dict[str, Any] = {
        "mode": stat.S_IMODE(about.st_mode),
        "owner": about.st_uid,
        "group": about.st_gid,
        "changed": about.st_mtime,
    }
    if stat.S_ISREG(about.st_mode):
        content = Path(path).read_bytes()
        found["sha256"] = hashlib.sha256(content).hexdigest()
        if tell:
            found["text"] = content.decode("utf-8", "replace")
    return found


def _listeners(ports: list[int]) -> dict[str, str]:
    """Who listens on TCP `ports`: port to program name, from the kernel's own tables."""
    inodes = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            words = line.split()
            port = int(words[1].rsplit(":", 1)[1], 16)
            if words[3] == "0A" and port in ports:
                inodes["socket:[" + words[9] + "]"] = port
    found = dict.fromkeys((str(port) for port in inodes.values()), "")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        try:
            held = {str(file.readlink()) for file in (process / "fd").iterdir()}
        except OSError:
            continue
        for inode in held & set(inodes):
            found[str(inodes[inode])] = _read(f"{process}/comm").strip()
    return found


def _modules(names: list[str]) -> list[str]:
    """Which of the kernel modules are there, loaded, built in or to be loaded."""
    folder = f"/lib/modules/{platform.release()}"
    listed = _read(f"{folder}/modules.dep") + _read(f"{folder}/modules.builtin")
    found = (name.replace("-", "_") for name in re.findall(r"([^/\s]+)\.ko", listed))
    known = {*found, *_read("/proc/filesystems").split()}
    return [one for one in names if one in known or Path("/sys/module", one).exists()]


def _advertised() -> dict[str, int]:
    """`accept_ra` of the network cards on which the kernel takes its routes from IPv6 routers."""
    found = {}
    for card in sorted(Path("/sys/class/net").glob("*/device")):
        value = _read(f"/proc/sys/net/ipv6/conf/{card.parent.name}/accept_ra").strip()
        if value in ("1", "2"):
            found[card.parent.name] = int(value)
    return found


def _observe(query: dict[str, Any]) -> dict[str, Any]:
    told = [(path, True) for path in query["files"]]
    digested = [(path, False) for path in query["secrets"] + query["folders"]]
    entries = {path: _entry(path, tell) for path, tell in told + digested}
    release = _system()
    return {
        "python": platform.python_version(),
        "system": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "machine": platform.machine(),
        "memory": _memory(),
        "cpus": len(os.sched_getaffinity(0)),
        "disks": {path: _disk(path) for path in ("/", "/var/lib/docker")},
        "clock": time.time(),
        "host_name": platform.node(),
        "apparmor": _read("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        "packages": _packages(query["packages"]),
        "services": _services(query["services"]),
        "entries": {path: found for path, found in entries.items() if found},
        "listeners": _listeners(query["ports"]),
        "modules": _modules(query["modules"]),
        "advertised": _advertised(),
        "storage": storage(query["disks"]) if query["disks"] else None,
    }


json.dump(_observe(json.loads(sys.argv[1])), sys.stdout)

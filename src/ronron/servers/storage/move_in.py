"""Runs on a server as `python3 - UUID`: mounts the file system UUID at `/srv/ronron`.

What is there now is copied into it and compared first, while Docker is stopped; the old folder
stays as `/srv/ronron.before`. Whenever this is interrupted the old folder is whole, and the next
run begins again. It stands alone: Python 3.9 and its standard library. When its exit status is 1,
its last line says why, and nothing was changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLACE = Path("/srv/ronron")
BEFORE = Path("/srv/ronron.before")
ASIDE = Path("/run/ronron-pool")
UNIT = "srv-ronron.mount"
UNFINISHED = ".ronron-moving"
COMPARED = ".ronron-moved"
"""In the pool: the copy goes on; it is whole, and the old folder is still to be put aside."""

SECONDS = 60.0
NOT_COMPARED = {"lost+found", UNFINISHED, COMPARED}


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def _active(unit: str) -> bool:
    return subprocess.run(("systemctl", "is-active", "--quiet", unit), check=False).returncode == 0


def _fail(message: str) -> None:
    sys.stdout.flush()
    sys.exit(message)


def _holds(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _users() -> Iterator[str]:
    """Who has a file open below the folder, is in it, or is mounted there."""
    below = str(PLACE) + "/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (place := line.split()[4]).startswith(below):
            yield f"the mount {place}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [process / "cwd", *(process / "fd").iterdir()]
            held = any((str(link.readlink()) + "/").startswith(below) for link in links)
            if held:
                yield (process / "comm").read_text().strip() + f" (process {process.name})"
        except OSError:
            continue


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _described(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below `folder`: kind, owner, mode, time, attributes and content."""
    found: dict[str, tuple[Any, ...]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.parent == folder and name in NOT_COMPARED:
                continue
            about = path.lstat()
            kind = stat.S_IFMT(about.st_mode)
            content: Any = None
            if kind == stat.S_IFREG:
                content = (about.st_size, about.st_mtime_ns, about.st_nlink, _digest(path))
            elif kind == stat.S_IFLNK:
                content = str(path.readlink())
            elif kind != stat.S_IFDIR:
                content = about.st_rdev
            names = os.listxattr(path, follow_symlinks=False)
            attributes = tuple(
                (n, os.getxattr(path, n, follow_symlinks=False)) for n in sorted(names)
            )
            key = str(path.relative_to(folder))
            found[key] = (about.st_mode, about.st_uid, about.st_gid, attributes, content)
    return found


def _copy() -> None:
    """Copy the folder into the pool and compare every file; raises SystemExit when it differs."""
    used = int(subprocess.check_output(("du", "-sB1", str(PLACE))).split()[0])
    room = os.statvfs(ASIDE)
    if used > room.f_bavail * room.f_frsize:
        _fail(f"the pool is too small for what is in {PLACE}: nothing was moved")
    _run("cp", "-a", "--sparse=always", f"{PLACE}/.", str(ASIDE))
    os.sync()
    if _described(PLACE) != _described(ASIDE):
        _fail(f"the copy of {PLACE} in the pool differs from it: it stays where it is")
    (ASIDE / UNFINISHED).rename(ASIDE / COMPARED)
    os.sync()


def _empty() -> None:
    """Remove what an interrupted run has left in the pool."""
    for entry in ASIDE.iterdir():
        if entry.name not in NOT_COMPARED:
            _run("rm", "-rf", "--one-file-system", "--", str(entry))


def _take_in(device: str) -> None:
    """Bring what is in the folder into the pool, and put an empty folder in its place."""
    ASIDE.mkdir(mode=0o700, exist_ok=True)
    _run("mount", device, str(ASIDE))
    try:
        # What was copied may have been written to since.
        again = (ASIDE / UNFINISHED).exists() or ((ASIDE / COMPARED).exists() and _holds(PLACE))
        if _holds(PLACE) and _holds(ASIDE) and not again:
            _fail(f"{PLACE} and the pool both hold files: move one of them away")
        if _holds(PLACE) and BEFORE.exists():
            _fail(f"{BEFORE} is there already: move it away")
        if again or not _holds(ASIDE):
            if users := list(_users()):
                _fail(f"{PLACE} is used by {', '.join(users)}: stop that first")
            (ASIDE / UNFINISHED).touch()
            _empty()
            _copy()
        if _holds(PLACE):
            PLACE.rename(BEFORE)
            PLACE.mkdir(mode=0o711)
            os.sync()
        (ASIDE / COMPARED).unlink(missing_ok=True)
    finally:
        _run("umount", str(ASIDE))
        ASIDE.rmdir()


def _await(device: Path) -> None:
    """Wait until udev has named the file system that was just made: it looks when it has time."""
    deadline = time.monotonic() + SECONDS
    while not device.exists():
        if time.monotonic() > deadline:
            _fail(f"{device} does not appear: see what udev says (journalctl -u systemd-udevd)")
        _run("udevadm", "settle")
        time.sleep(0.1)


def main(uuid: str) -> None:
    """Mount the pool; Docker is stopped meanwhile, and started again whatever happens."""
    device = f"/dev/disk/by-uuid/{uuid}"
    _await(Path(device))
    _run("systemctl", "daemon-reload")
    PLACE.mkdir(mode=0o711, parents=True, exist_ok=True)
    stopped = [unit for unit in ("docker.socket", "docker.service") if _active(unit)]
    try:
        if not PLACE.is_mount():
            if stopped:
                _run("systemctl", "stop", *stopped)
            _take_in(device)
        _run("systemctl", "enable", "--now", UNIT)
        if not PLACE.is_mount():
            _fail(f"{UNIT} did not mount {PLACE}")
    finally:
        if stopped:
            _run("systemctl", "start", *stopped)


if __name__ == "__main__":
    main(sys.argv[1])

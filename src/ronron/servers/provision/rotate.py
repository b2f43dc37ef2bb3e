"""Begins new files of the proxy's access log, and deletes old ones: a program of the servers'.

`rotate.py FOLDER USER DAYS` begins a new file when the newest is large or a day old, and lets the
link `access.log` name it. No file is renamed: rsyslog loses lines of one that is, or reads them
twice (measured, decision 32). Traefik opens the link again when it gets the signal USR1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

LINK = "access.log"
SIZE, FILES = 50 << 20, 20
"""Bytes at which a file is followed by another, and how many are kept at most."""

DAY = 86400
SERVICE = "proxy_proxy"


def rotate(folder: Path, user: int, days: int, now: float) -> bool:
    """Whether the proxy has to open the link again. `user` is who it runs as, and can write into
    the newest file, but not make, rename or delete one."""
    folder.mkdir(mode=0o750, exist_ok=True)
    os.chown(folder, 0, user)
    files = sorted(folder.glob("access-*.log"))
    full = bool(files) and _full(files[-1], now)
    if full or not files:
        files.append(_begin(folder, user, now))
    newest = files[-1]
    if (folder / LINK).resolve() != newest:
        # By another name first: there is always one of the name that is looked for.
        (folder / "new").unlink(missing_ok=True)
        (folder / "new").symlink_to(newest.name)
        (folder / "new").rename(folder / LINK)
    late = now - days * DAY
    for old in files[:-FILES] + [one for one in files[:-1] if one.stat().st_mtime <= late]:
        old.unlink(missing_ok=True)
    # While it writes on to an older file, that one changed later than the newest did.
    written = newest.stat().st_mtime
    return full or any(one.exists() and one.stat().st_mtime > written for one in files[:-1])


def _begin(folder: Path, user: int, now: float) -> Path:
    file = folder / f"access-{int(now):010}.log"
    file.touch(mode=0o640)
    os.chown(file, user, 0)
    return file


def _began(file: Path) -> int:
    return int(file.stem.partition("-")[2])


def _full(file: Path, now: float) -> bool:
    size = file.stat().st_size
    return int(now) > _began(file) and (size >= SIZE or (size > 0 and now - _began(file) >= DAY))


def tell() -> None:
    """Send the signal to the proxy, where it runs on this server."""
    label = f"label=com.docker.swarm.service.name={SERVICE}"
    listed = ["docker", "ps", "--quiet", "--filter", label]
    for container in subprocess.run(
        listed, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split():
        subprocess.run(
            ["docker", "kill", "--signal", "USR1", container],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


def main() -> None:
    """Rotate, and tell the proxy to go on in the new file until it does."""
    folder, user, days = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if rotate(folder, user, days, time.time()):
        tell()


if __name__ == "__main__":
    main()

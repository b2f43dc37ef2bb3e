"""Runs on a server: prints a digest of everything below a folder, entry by entry.

It is sent as it is (`python3 - FOLDER`), so it stands alone: Python 3.9 and its standard library.
Each entry is `DIGEST PATH`, ended by a zero byte. A digest covers content, type, owner, group,
mode, the time of a file's last change, extended attributes (access lists among them) and which
names are the same file. Sockets are left out: the program that listened is gone.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ATTRIBUTES = ("user.", "system.posix_acl_", "security.capability")
CHUNK = 1 << 20


def entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every path below `root` but sockets, in a fixed order, with what `lstat` says of it."""
    pending = [root]
    while pending:
        path = pending.pop()
        about = path.lstat()
        if stat.S_ISSOCK(about.st_mode):
            continue
        yield path, about
        if stat.S_ISDIR(about.st_mode):
            pending += sorted(path.iterdir(), reverse=True)


def content(path: Path, about: os.stat_result) -> str:
    """What an entry holds: a file's digest, a link's target, a device's number."""
    if stat.S_ISLNK(about.st_mode):
        return str(path.readlink())
    if not stat.S_ISREG(about.st_mode):
        return str(about.st_rdev)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def attributes(path: Path) -> list[tuple[str, bytes]]:
    """The extended attributes that belong to the data, and not to the file system."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []
    wanted = sorted(name for name in names if name.startswith(ATTRIBUTES))
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in wanted]


def digest(path: Path, about: os.stat_result, same: str) -> str:
    """The digest of one entry; `same` is the first name of a file that has several."""
    file = stat.S_ISREG(about.st_mode)
    size, changed = (about.st_size, about.st_mtime_ns) if file else (0, 0)
    facts = (about.st_mode, about.st_uid, about.st_gid, size, changed, same)
    told = repr((facts, attributes(path), content(path, about)))
    return hashlib.sha256(os.fsencode(told)).hexdigest()


def main(root: Path) -> None:
    """Print the digests of everything below `root`, itself included."""
    found = list(entries(root))
    first: dict[tuple[int, int], str] = {}
    for path, about in found:
        first.setdefault((about.st_dev, about.st_ino), str(path.relative_to(root)))

    def line(entry: tuple[Path, os.stat_result]) -> bytes:
        path, about = entry
        several = about.st_nlink > 1 and not stat.S_ISDIR(about.st_mode)
        same = first[about.st_dev, about.st_ino] if several else ""
        return os.fsencode(f"{digest(path, about, same)} {path.relative_to(root)}\0")

    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for told in threads.map(line, found):
            sys.stdout.buffer.write(told)


main(Path(sys.argv[1]))

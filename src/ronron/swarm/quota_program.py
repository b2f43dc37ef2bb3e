"""Runs on a server: the size limits of volumes' folders, by the file system's own quotas.

ext4 and XFS have project quotas: a folder and all that comes into it bears a number, and the number
has a limit. The calls are those of the kernel's `linux/fs.h` and `quotactl(2)`. On btrfs a folder
that is a subvolume has a limit of its own (`btrfs-qgroup(8)`).

It stands alone: Python 3.9 and its standard library. As a program, `python3 - PATH BYTES` sets a
limit, 0 takes it away; what is wrong is the one line on standard error.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path

GET_ATTRIBUTES, SET_ATTRIBUTES = 0x801C581F, 0x401C5820
INHERIT = 0x200
GET_QUOTA, SET_QUOTA, PROJECTS = 0x800007, 0x800008, 2
LIMITS_VALID = 1
ATTRIBUTES, QUOTA = "IIIII8s", "QQQQQQQQI4x"
SUBVOLUME = 256


def mounted(path: str) -> tuple[str, str, set[str]]:
    """The device, the file system's kind and its options where `path` is."""
    device = Path(path).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    found = ("", "", set())  # type: tuple[str, str, set[str]]
    longest = -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, about = line.partition(" - ")
        words, (kind, source, options) = mount.split(), about.split()[:3]
        # btrfs gives each subvolume a number of its own.
        inside = os.path.commonpath([path, words[4]]) == words[4]
        if inside and (words[2] == number or kind == "btrfs") and len(words[4]) > longest:
            longest = len(words[4])
            found = (source, kind, {*options.split(","), *words[5].split(",")})
    return found


def unable(path: str) -> str:
    """Why a folder that is there, or the one it would be in, can have no limit; empty if it can."""
    here = Path(path)
    there = here.exists()
    while not here.exists():
        here = here.parent
    _, kind, options = mounted(str(here))
    if kind in ("ext4", "xfs"):
        return "" if options & {"prjquota", "pquota"} else f"{kind} is mounted without prjquota"
    if kind == "btrfs":
        plain = there and here.stat().st_ino != SUBVOLUME
        return "on btrfs only a subvolume can have one, and the folder is none" if plain else ""
    return f"{kind or 'its file system'} has none"


def limit(path: str) -> int:
    """The limit of a folder in bytes, 0 for none."""
    if not os.path.isdir(path) or unable(path):  # noqa: PTH112
        return 0
    source, kind, _ = mounted(path)
    if kind == "btrfs":
        words = ["btrfs", "qgroup", "show", "--raw", "-r", "-f", path]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        row = re.search(r"^0/\d+\s+\d+\s+\d+\s+(\d+)", done.stdout, re.M)
        return int(row.group(1)) if row else 0
    project = _attributes(path)[3]
    return _quota(GET_QUOTA, source, project)[0] * 1024 if project else 0


def set_limit(path: str, size: int) -> None:
    """Limit a folder to `size` bytes. Raises OSError or ValueError that says why not."""
    if reason := unable(path):
        raise ValueError(reason)
    source, kind, _ = mounted(path)
    if size and (used := _used(path)) > size:
        raise ValueError(f"it takes {used} bytes already")
    if kind == "btrfs":
        for words in (
            ["quota", "enable", path],
            ["qgroup", "limit", str(size) if size else "none", path],
        ):
            done = subprocess.run(["btrfs", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(done.stderr.strip().splitlines()[-1])
        return
    project = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") >> 1 or 1
    _quota(SET_QUOTA, source, project, size // 1024)
    for folder, folders, files in os.walk(path):
        for name in (".", *folders, *files):
            _mark(os.path.join(folder, name), project)  # noqa: PTH118


def _used(path: str) -> int:
    seen = {}
    for folder, _, files in os.walk(path):
        for name in (".", *files):
            about = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            seen[about.st_ino] = about.st_blocks * 512
    return sum(seen.values())


def _attributes(path: str) -> list[int]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        buffer = bytearray(struct.calcsize(ATTRIBUTES))
        fcntl.ioctl(handle, GET_ATTRIBUTES, buffer)
        return list(struct.unpack(ATTRIBUTES, buffer))
    finally:
        os.close(handle)


def _mark(path: str, project: int) -> None:
    """Let a file or folder count for a project; what is made in a folder counts as well."""
    mode = os.lstat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        buffer = bytearray(struct.calcsize(ATTRIBUTES))
        fcntl.ioctl(handle, GET_ATTRIBUTES, buffer)
        flags, size, extents, _, copied, padding = struct.unpack(ATTRIBUTES, buffer)
        flags |= INHERIT if stat.S_ISDIR(mode) else 0
        packed = struct.pack(ATTRIBUTES, flags, size, extents, project, copied, padding)
        fcntl.ioctl(handle, SET_ATTRIBUTES, packed)
    finally:
        os.close(handle)


def _quota(command: int, source: str, project: int, blocks: int = 0) -> tuple[int, ...]:
    """Read or write a project's limit, in blocks of 1,024 bytes."""
    packed = struct.pack(QUOTA, blocks, 0, 0, 0, 0, 0, 0, 0, LIMITS_VALID)
    buffer = ctypes.create_string_buffer(packed, struct.calcsize(QUOTA))
    library = ctypes.CDLL(None, use_errno=True)
    call = ctypes.c_int(command << 8 | PROJECTS)
    if library.quotactl(call, source.encode(), ctypes.c_int(project), buffer) < 0:
        code = ctypes.get_errno()
        if command == GET_QUOTA and code in (errno.ENOENT, errno.ESRCH):
            return (0,)
        raise OSError(code, os.strerror(code))
    return struct.unpack(QUOTA, buffer.raw)


if __name__ == "__main__" and len(sys.argv) == 3:
    try:
        set_limit(sys.argv[1], int(sys.argv[2]))
    except (OSError, ValueError) as error:
        sys.exit(str(error))

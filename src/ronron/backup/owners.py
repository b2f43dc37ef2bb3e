"""Owners of restored files, where containers have other users now than when they were backed up.

A snapshot keeps the numbers that files had on the server; `first_id` in its `about.json` says which
of them the containers knew as 0 (`docker.userns_remap`).
"""

from __future__ import annotations

import json

from ronron.backup.app import BACKUPS
from ronron.backup.restic import Snapshot
from ronron.servers.runner import Runner
from ronron.site.userns import IDS

SECONDS = 3600.0

# A file with several names is met more than once: its owner is out of the old range then. Taking
# owner from a file takes setuid and setgid away too.
_SETTLE = """
import os, stat, sys
folder, before, after, ids = sys.argv[1], *map(int, sys.argv[2:])
def new(number):
    return number - before + after if before <= number < before + ids else number
def settle(path):
    about = os.lstat(path)
    if (new(about.st_uid), new(about.st_gid)) != (about.st_uid, about.st_gid):
        os.lchown(path, new(about.st_uid), new(about.st_gid))
        if not stat.S_ISLNK(about.st_mode):
            os.chmod(path, stat.S_IMODE(about.st_mode))
settle(folder)
for place, folders, files in os.walk(folder):
    for name in (*folders, *files):
        settle(os.path.join(place, name))
"""


def first_id(runner: Runner, snapshot: Snapshot, work: str) -> int:
    """The server's own number for the containers' 0 when `snapshot` was made, which was restored
    into the folder `work`."""
    about = runner.run(["cat", f"{work}{BACKUPS}/{snapshot.app}/about/about.json"]).text
    return int(json.loads(about).get("first_id", 0))


def settle(runner: Runner, folder: str, before: int, after: int) -> None:
    """Give what is in `folder` to those whom containers know by the same numbers, where their 0 was
    `before` and is `after`; what belongs to others stays as it is."""
    if before != after:
        argv = ["python3", "-c", _SETTLE, folder, str(before), str(after), str(IDS)]
        runner.run(argv, timeout=SECONDS)

"""What a restore is about to do to an app that stands still: kept until it is done.

Written on the manager before the app is stopped, so that whoever comes after a restore that was
killed, or whose servers were, can put everything back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from ronron.servers.runner import Runner

FOLDER = "/var/lib/ronron/restoring"
"""On the manager: one file an app, whose name and `.json` is the file's."""

# Prints each journal, one a line: they are written so. Each backup looks, so it must be quick.
_READ = 'for file in "$1"/*.json; do [ ! -e "$file" ] || { cat "$file" && echo; }; done'


@dataclass(frozen=True)
class Swap:
    """A volume's live folder, the one that takes its place, and where what was live is kept."""

    server: str
    live: str
    new: str
    old: str


@dataclass(frozen=True)
class Journal:
    """The restore of one app: how many tasks each of its services had, and the folders."""

    app: str
    replicas: Mapping[str, int]
    swaps: tuple[Swap, ...]


def write(manager: Runner, journal: Journal) -> None:
    """Keep a journal, on the disk."""
    path = f"{FOLDER}/{journal.app}.json"
    manager.put(path, json.dumps(asdict(journal)).encode(), mode=0o600, folder=0o700)
    manager.run(["sync", path, FOLDER])


def remove(manager: Runner, app: str) -> None:
    """Nothing is left to put back."""
    manager.run(["rm", "-f", "--", f"{FOLDER}/{app}.json"])


def read(manager: Runner) -> tuple[Journal, ...]:
    """The journals of restores that go on, or were interrupted."""
    lines = manager.run(["sh", "-ec", _READ, "sh", FOLDER]).text.splitlines()
    found = (json.loads(line) for line in lines)
    return tuple(
        Journal(one["app"], one["replicas"], tuple(Swap(**swap) for swap in one["swaps"]))
        for one in found
    )


def exchange(runner: Runner, swap: Swap) -> None:
    """Move `live` to `old` and `new` to `live`; a volume that was not there is no fault."""
    runner.run(["install", "-d", "-m", "0700", str(PurePosixPath(swap.old).parent)])
    script = 'if [ -e "$1" ]; then mv -T "$1" "$3"; fi; mv -T "$2" "$1"'
    runner.run(["sh", "-ec", script, "sh", swap.live, swap.new, swap.old])


def put_back(runner: Runner, swap: Swap) -> None:
    """The other way round, as far as it had come; done twice, the second does nothing."""
    script = (
        'if [ -e "$3" ]; then if [ -e "$1" ]; then mkdir -p "${2%/*}"; mv -T "$1" "$2"; fi;'
        ' mv -T "$3" "$1"; fi'
    )
    runner.run(["sh", "-ec", script, "sh", swap.live, swap.new, swap.old])

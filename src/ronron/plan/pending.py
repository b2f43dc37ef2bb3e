"""The apps whose data a rebuild has still to bring back, kept in a file on the manager.

Until then nothing is backed up of them: it would be the newest snapshot, and hold nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from threading import Lock

from ronron.servers.carry.manager import STATE
from ronron.servers.runner import Runner

PENDING = f"{STATE}/waiting.json"
"""Not among the data: that may be brought into a pool of disks once this is written."""

_WRITING = Lock()


def waiting(manager: Runner) -> tuple[str, ...]:
    """The apps that wait for their data."""
    return tuple(json.loads(manager.run(["cat", PENDING], check=False).text or "[]"))


def begin(manager: Runner, declared: Collection[str], missing: Iterable[str]) -> tuple[str, ...]:
    """Take what an interrupted rebuild left, and the apps that are `missing`; all of them.

    What was taken out of the site since then is not waited for.
    """
    before = (name for name in waiting(manager) if name in declared)
    apps = tuple(dict.fromkeys((*before, *missing)))
    _write(manager, apps)
    return apps


def done(manager: Runner, name: str) -> None:
    """An app has its data, or is gone. The caller holds the site's lock."""
    with _WRITING:
        left = waiting(manager)
        if name in left:
            _write(manager, [one for one in left if one != name])


def _write(manager: Runner, names: Collection[str]) -> None:
    if names:
        manager.put(PENDING, json.dumps(sorted(names)).encode(), mode=0o600, folder=0o700)
    else:
        manager.run(["rm", "-f", PENDING])

"""Old copies of apps' data: what moves left and what was fenced, kept until told otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ronron.catalog.stack import SHARED
from ronron.events import step
from ronron.plan.lock import lock
from ronron.plan.observe import Reality
from ronron.plan.session import Session
from ronron.servers.copying.aside import remove_command

_NAME = re.compile(r"(?P<app>.+)-(?P<when>\d{8}T\d{6}Z)")


@dataclass(frozen=True)
class Copy:
    """An old copy: of which app, since when, why, where.

    `moved`, `fenced` after a failover, or `moving`: what a ronron that was killed has not finished.
    """

    app: str
    why: str
    when: str
    server: str
    path: str


def copies(reality: Reality, app: str | None = None) -> Iterator[Copy]:
    """The old copies on the servers that answered, of all apps or of one, oldest first.

    What all servers have, since it is on the shared storage, is one copy: the first server's.
    """
    found: list[Copy] = []
    shared: set[str] = set()
    for server, facts in reality.facts.items():
        for folder in facts.folders:
            path = PurePosixPath(folder)
            match = _NAME.fullmatch(path.name)
            why = path.parent.name.removeprefix(".")
            if folder in shared or match is None or app not in (None, match["app"]):
                continue
            if path.is_relative_to(SHARED):
                shared.add(folder)
            if why in ("moved", "fenced", "moving"):
                found.append(Copy(match["app"], why, match["when"], server, folder))
    yield from sorted(found, key=lambda copy: (copy.when, copy.server))


def forget(session: Session, found: Iterable[Copy]) -> None:
    """Delete old copies for good; nothing is moved meanwhile."""
    with lock(session.manager, "ronron move --forget"):
        for copy in found:
            with step(session.report, "delete", f"{copy.server}: {copy.path}"):
                session.servers[copy.server].run(remove_command(copy.path))

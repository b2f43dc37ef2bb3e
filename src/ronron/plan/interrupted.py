"""Restores that were killed half-way: seen on the manager, and taken back."""

from __future__ import annotations

from ronron.backup import journal
from ronron.backup.restore import undo
from ronron.errors import RonronError
from ronron.plan.observe import Reality
from ronron.plan.session import Session
from ronron.swarm.engines import engine_of


def apps(reality: Reality) -> tuple[str, ...]:
    """The apps whose restore goes on, or was interrupted, as the servers' facts tell."""
    named = (facts.kept.get("restoring", "").split() for facts in reality.facts.values())
    return tuple(sorted({name.removesuffix(".json") for names in named for name in names}))


def take_back(session: Session) -> tuple[str, ...]:
    """Put the data of interrupted restores back; the apps. The caller holds the site's lock.

    Raises RonronError with what stands in the way.
    """
    found = journal.read(session.manager)
    if not found:
        return ()
    with engine_of(session.manager) as engine:
        for one in found:
            missing = {swap.server for swap in one.swaps} - set(session.loaded.site.servers)
            if missing:
                raise RonronError(
                    f"{one.app}: its restore was interrupted, and {min(missing)} is no server of "
                    "the site any more",
                    remedy=f"look at {journal.FOLDER}/{one.app}.json on {session.manager.name}",
                )
            undo(engine, session.manager, session.servers, one, session.report)
    return tuple(one.app for one in found)

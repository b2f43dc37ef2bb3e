"""Managers that locked themselves, opened with the key in the vault; and the key's way there."""

from __future__ import annotations

from collections.abc import Iterable

from ronron.errors import RonronError
from ronron.events import step
from ronron.plan.session import Session
from ronron.site.vault import Secrets
from ronron.swarm import autolock
from ronron.swarm.engines import engine_of


def keep(session: Session) -> None:
    """Put the swarm's present key into the vault, where it is not there yet."""
    with engine_of(session.manager) as engine:
        present = autolock.key(engine)
    vault, name = session.vault, autolock.VAULT_NAME
    kept = vault.read(name) if vault.exists(name) else Secrets()
    if present.reveal() and kept.values.get(autolock.KEY) != present:
        vault.write(name, kept.set(autolock.KEY, present))


def unlock(session: Session, names: Iterable[str]) -> list[str]:
    """Unlock those of the servers `names` that are locked; returns which.

    Raises ServerError for one that does not answer or whose key is another, RonronError when the
    vault has no key.
    """
    asked, failures = session.servers.on_each(autolock.is_locked, names)
    locked = [name for name, is_locked in asked.items() if is_locked]
    if locked and not session.vault.exists(autolock.VAULT_NAME):
        raise RonronError(
            f"{locked[0]} is locked, and the vault has no key for it",
            remedy="docker swarm unlock there, with the key that docker swarm unlock-key showed",
        )
    for name in locked:
        with step(session.report, "unlock", name):
            secrets = session.vault.read(autolock.VAULT_NAME)
            autolock.unlock(session.servers[name], secrets.values[autolock.KEY])
    for error in failures.values():
        raise error
    return locked

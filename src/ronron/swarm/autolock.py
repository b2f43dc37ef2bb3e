"""Autolock: a manager that restarts has its keys shut until it is given the one that opens them.

Without it the keys to the swarm's traffic and state, and its secrets, lie open on each manager's
disk. https://docs.docker.com/engine/swarm/swarm_manager_locking/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ronron.errors import ServerError
from ronron.servers.runner import Runner
from ronron.site.secret import Secret
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

VAULT_NAME = "swarm"
"""The vault file that holds the key, and what it is called there."""
KEY = "unlock_key"

LOCKED = "locked"
"""The engine's word for the state of a manager whose keys are shut."""

SECONDS = 60


def is_on(details: dict[str, Any]) -> bool:
    """Whether a swarm, as the engine describes it, locks its managers."""
    return bool((details["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers"))


def turn(engine: DockerClient, on: bool) -> None:
    """Turn it on or off."""
    details = engine.api.inspect_swarm()
    spec = details["Spec"] | {"EncryptionConfig": {"AutoLockManagers": on}}
    engine.api.update_swarm(details["Version"]["Index"], spec)


def key(engine: DockerClient) -> Secret:
    """The key that opens a manager's keys; empty while autolock is off."""
    return Secret(engine.api.get_unlock_key()["UnlockKey"])


def is_locked(runner: Runner) -> bool:
    """Whether a server is a manager whose keys are shut."""
    return state_of(runner) == LOCKED


def unlock(runner: Runner, secret: Secret) -> None:
    """Open a manager's keys, and wait until it is in the swarm. Raises ServerError when it is not
    the key."""
    given = secret.reveal().encode() + b"\n"
    done = runner.run(["docker", "swarm", "unlock"], stdin=given, check=False)
    if done.status:
        raise ServerError(
            runner.name,
            f"cannot be unlocked with the key in vault/{VAULT_NAME}.age",
            remedy="on a manager that is not locked: docker swarm unlock-key",
        )
    until(lambda: state_of(runner) == "active", SECONDS, f"{runner.name} to be in the swarm")


def state_of(runner: Runner) -> str:
    """The engine's word for a server's part in the swarm; empty where no engine answers."""
    words = ["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]
    return runner.run(words, check=False).text

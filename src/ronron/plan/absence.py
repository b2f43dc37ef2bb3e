"""Since when servers are gone, kept on the manager where ronron itself changes their nodes.

The swarm says when a node last changed, and the labels of a failover are changes too. What is kept
holds for the node as those left it: any later change, such as that it came back, makes it void.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ronron.errors import RonronError
from ronron.servers.carry.manager import STATE
from ronron.swarm import state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

    from ronron.servers.runner import Runner
    from ronron.swarm.state import Node

PATH = f"{STATE}/gone.json"


def gone_since(node: Node, now: datetime, known: Mapping[str, str]) -> float:
    """Seconds for which the swarm has not reached a node: at least so many.

    `known` is what `read` has returned.
    """
    return (now - moment(known.get(_key(node), node.updated))).total_seconds()


def moment(text: str) -> datetime:
    """A time as Docker writes it, with nanoseconds, which Python does not read."""
    found = datetime.fromisoformat(re.sub(r"\.\d+", "", text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read(manager: Runner) -> Mapping[str, str]:
    """Since when nodes were gone before ronron changed them, by node and last change."""
    return dict(json.loads(manager.run(["cat", PATH], check=False).text or "{}"))


def keep(manager: Runner, engine: DockerClient, server: str, since: datetime) -> None:
    """Write down since when a server is gone whose node ronron has just changed.

    What was written before of nodes that are gone stays: who has looked at them before this change
    still needs it. Where it cannot be written, the server is taken to be gone for a shorter time.
    """
    with suppress(RonronError):
        down = [node for node in state.observe(engine).nodes if not node.ready]
        ids = {node.id for node in down}
        kept = {key: text for key, text in read(manager).items() if key.partition(" ")[0] in ids}
        kept |= {_key(node): since.isoformat() for node in down if node.name == server}
        manager.put(PATH, json.dumps(kept).encode(), mode=0o600, folder=0o700)


def _key(node: Node) -> str:
    return f"{node.id} {node.updated}"

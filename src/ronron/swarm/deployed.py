"""The volumes of an app as it was deployed last: what its newest record says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ronron.catalog.stack import SHARED
from ronron.swarm.state import SwarmState

PINNING = ("ronron.storage", "ronron.proxy")
"""Labels of the nodes that hold volumes of files, and those of the platform's own apps."""


@dataclass(frozen=True)
class Held:
    """A volume as deployed: its class, its folder, and the servers whose label says they have it.

    `servers` is empty where the folder is on shared storage: every server has it.
    """

    name: str
    kind: Literal["files", "database"]
    path: str
    servers: tuple[str, ...]


def volumes(app: str, swarm: SwarmState) -> dict[str, Held]:
    """The volumes of `app` by name; nothing when it is not deployed."""
    record = swarm.newest(app)
    if record is None:
        return {}
    stack: Mapping[str, Any] = json.loads(record.content["stack"])
    constraints = {
        constraint.removeprefix("node.labels.").removesuffix(" == true")
        for body in stack["services"].values()
        for constraint in body.get("deploy", {}).get("placement", {}).get("constraints") or ()
    }
    found = {}
    for name, body in (stack.get("volumes") or {}).items():
        path = ((body or {}).get("driver_opts") or {}).get("device", "")
        own = f"ronron.volume.{app}.{name}"
        kind: Literal["files", "database"] = "database" if own in constraints else "files"
        pinning = [label for label in (own, *PINNING) if label in constraints]
        pinned = swarm.with_label(pinning[0]) if pinning and not path.startswith(SHARED) else ()
        found[name] = Held(name, kind, path, tuple(node.name for node in pinned))
    return found

"""What a plan is: typed changes that can be shown, and carried out in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ronron.catalog.render import Stack, Volume
from ronron.servers.gluster import StorageChange
from ronron.servers.provision.model import ProvisioningPlan
from ronron.swarm.nodes import NodeChange

DRIFT = "changed by hand"


@dataclass(frozen=True)
class Change:
    """One field that would change: where (`server worker-1`, `app blog`), from what, to what.

    `before` is None where nothing is there yet, `after` where nothing will be.
    """

    where: str
    field: str
    before: str | None
    after: str | None
    why: str = ""


@dataclass(frozen=True)
class AppChange:
    """What would be done to one app, and the fields that differ.

    `stack` is the app as it would be deployed, None for a removal. `volumes` are those whose
    folders do not exist yet. A `repair` deploys again what was deployed, against drift.
    """

    app: str
    action: Literal["create", "update", "repair", "remove"]
    changes: tuple[Change, ...]
    stack: Stack | None = None
    volumes: tuple[Volume, ...] = ()
    new_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything that would change, in the order in which it is carried out.

    `unreachable` maps servers that could not be looked at to the reason.
    """

    provisioning: ProvisioningPlan
    defence: tuple[Change, ...] = ()
    nodes: tuple[NodeChange, ...] = ()
    storage: tuple[StorageChange, ...] = ()
    network: tuple[Change, ...] = ()
    apps: tuple[AppChange, ...] = ()
    carry: tuple[Change, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every field that would change."""
        servers = [
            Change(f"server {item.server}", item.item, item.before, item.after, item.why)
            for item in self.provisioning.changes
        ]
        storage = [
            Change(f"server {item.server}", item.item, item.before, item.after, item.why)
            for item in self.storage
        ]
        nodes = [
            Change(f"server {item.server}", item.item, item.before, item.after, item.why)
            for item in self.nodes
        ]
        apps = [change for app in self.apps for change in app.changes]
        return (*servers, *self.defence, *storage, *nodes, *self.network, *apps, *self.carry)

    @property
    def failures(self) -> Mapping[str, str]:
        """The servers that could not be looked at, or not be planned for, with the reason."""
        return {e.server: str(e) for e in self.provisioning.failures} | dict(self.unreachable)

    @property
    def empty(self) -> bool:
        """Whether nothing would be done."""
        servers = (self.provisioning.changes, self.defence, self.storage, self.nodes)
        return not any((*servers, self.network, self.apps, self.carry))

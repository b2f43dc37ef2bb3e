"""What a plan is: typed changes that can be shown, and carried out in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ronron.catalog.stack import VOLUMES, Stack, Volume
from ronron.servers.copying.aside import aside
from ronron.servers.gluster import StorageChange
from ronron.servers.provision.model import ProvisioningPlan
from ronron.swarm.nodes import NodeChange

DRIFT = "changed by hand"
FENCED = "ronron.fenced."
"""How the labels of nodes begin that hold copies of volumes which are out of date."""


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
class Relocation:
    """A volume that is at `path` on `source` as one of class `kind`, and shall be on `target`."""

    volume: Volume
    kind: str
    source: str
    path: str
    target: str

    @property
    def before(self) -> str:
        """Server and folder where its data is."""
        return f"{self.source}:{self.path}"

    @property
    def after(self) -> str:
        """Server and folder where its data shall be."""
        return f"{self.target}:{self.volume.path}"


@dataclass(frozen=True)
class AppChange:
    """What would be done to one app, and the fields that differ.

    `stack` is the app as it would be deployed, None for a removal. `volumes` are those whose
    folders do not exist yet, `moves` those whose data goes elsewhere, `quotas` those
    that get another limit, with their servers. A `repair` deploys again what
    was deployed, against drift.
    """

    app: str
    action: Literal["create", "update", "repair", "remove"]
    changes: tuple[Change, ...]
    stack: Stack | None = None
    volumes: tuple[Volume, ...] = ()
    new_secrets: tuple[str, ...] = ()
    moves: tuple[Relocation, ...] = ()
    quotas: tuple[tuple[str, Volume], ...] = ()


@dataclass(frozen=True)
class Fence:
    """A copy of a volume that is out of date on `server`, since `when`.

    `folder` is False when it is aside already: only the label is left to remove.
    """

    server: str
    app: str
    volume: str
    when: str
    folder: bool = True

    @property
    def label(self) -> str:
        """The label of its node."""
        return f"{FENCED}{self.app}.{self.volume}"

    @property
    def path(self) -> str:
        """Where the copy is until it is moved aside."""
        return f"{VOLUMES}/{self.app}/{self.volume}"

    @property
    def change(self) -> Change:
        """What the plan shows."""
        to = aside(self.path, "fenced", self.when) if self.folder else None
        where, why = f"server {self.server}", "failed over: this copy is out of date"
        return Change(where, f"{self.app}'s {self.volume}", self.path, to, why)


@dataclass(frozen=True)
class Plan:
    """Everything that would change, in the order in which it is carried out.

    `unreachable` maps servers that could not be looked at to the reason. Where the swarm could not
    be seen, `unseen` says why, and the plan has servers alone.
    """

    provisioning: ProvisioningPlan
    defence: tuple[Change, ...] = ()
    nodes: tuple[NodeChange, ...] = ()
    storage: tuple[StorageChange, ...] = ()
    network: tuple[Change, ...] = ()
    apps: tuple[AppChange, ...] = ()
    carry: tuple[Change, ...] = ()
    fences: tuple[Fence, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What is declared and cannot be done, though nothing else waits for it."""
    unseen: str = ""

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
        fences = [fence.change for fence in self.fences]
        apps = [change for app in self.apps for change in app.changes]
        parts = (*servers, *self.defence, *storage, *nodes, *fences, *self.network, *apps)
        return (*parts, *self.carry)

    @property
    def failures(self) -> Mapping[str, str]:
        """The servers that could not be looked at, or not be planned for, and the swarm likewise,
        with the reason."""
        servers = {e.server: str(e) for e in self.provisioning.failures} | dict(self.unreachable)
        return servers | ({"the swarm": self.unseen} if self.unseen else {})

    @property
    def empty(self) -> bool:
        """Whether nothing would be done."""
        servers = (self.provisioning.changes, self.defence, self.storage, self.nodes)
        return not any((*servers, self.fences, self.network, self.apps, self.carry))

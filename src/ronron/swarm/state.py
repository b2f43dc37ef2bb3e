"""The swarm as it is: nodes, services, and what was last deployed. Reading only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ronron.swarm import autolock, record, spec

if TYPE_CHECKING:
    from docker import DockerClient

STACK_LABEL = "com.docker.stack.namespace"

REMAPPED = "name=userns"
"""What Docker says of itself where containers have users apart from the server's."""


@dataclass(frozen=True)
class Node:
    """A node of the swarm: `role` manager or worker, `availability` active, pause or drain."""

    id: str
    name: str
    role: str
    availability: str
    state: str
    address: str
    leader: bool
    labels: Mapping[str, str]
    updated: str = ""
    """When the swarm last changed what it knows of the node, such as that it lost it: RFC 3339."""

    @property
    def ready(self) -> bool:
        """Whether the swarm can reach it."""
        return self.state == "ready"


@dataclass(frozen=True)
class SwarmState:
    """What the swarm holds.

    `services` maps each app to the canonical specification of its services by their short names;
    `records` maps each app to its revisions, oldest first; `recipes` to the recipe's name in the
    services' labels. `present` is false where no swarm exists yet.
    """

    present: bool = False
    nodes: tuple[Node, ...] = ()
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    records: Mapping[str, tuple[record.Record, ...]] = field(default_factory=dict)
    secrets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    configs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    autolock: bool = False
    """Whether managers that restart are locked."""
    remapped: bool = False
    """Whether its manager's Docker gives containers users apart from the server's."""

    @property
    def apps(self) -> set[str]:
        """Every app that has something in the swarm."""
        return {*self.services, *self.records, *self.secrets, *self.configs} - {""}

    def newest(self, app: str) -> record.Record | None:
        """The record of what was last deployed."""
        revisions = self.records.get(app, ())
        return revisions[-1] if revisions else None

    def node(self, name: str) -> Node | None:
        """The node of that name: the one that is ready where a dead one bears it too."""
        found = [node for node in self.nodes if node.name == name]
        return max(found, key=lambda node: node.ready, default=None)

    def with_label(self, label: str) -> tuple[Node, ...]:
        """The nodes on which `label` is `true`."""
        return tuple(node for node in self.nodes if node.labels.get(label) == "true")


def observe(engine: DockerClient) -> SwarmState:
    """Read the state through a manager's engine."""
    api = engine.api
    found = from_api(
        nodes=api.nodes(),
        services=api.services(),
        configs=api.configs(),
        secrets=api.secrets(),
        networks=api.networks(filters={"scope": "swarm"}),
    )
    remapped = REMAPPED in (api.info().get("SecurityOptions") or ())
    return replace(found, autolock=autolock.is_on(api.inspect_swarm()), remapped=remapped)


def from_api(
    *,
    nodes: Iterable[Mapping[str, Any]],
    services: Iterable[Mapping[str, Any]],
    configs: Iterable[Mapping[str, Any]],
    secrets: Iterable[Mapping[str, Any]],
    networks: Iterable[Mapping[str, Any]],
) -> SwarmState:
    """Build the state from the Engine API's own lists (or from a recording of them)."""
    by_app: dict[str, dict[str, str]] = {}
    for service in services:
        details = service["Spec"]
        labels = details.get("Labels") or {}
        app = labels.get("ronron.app")
        if app is not None and labels.get(STACK_LABEL) == app:
            by_app.setdefault(app, {})[short_name(details["Name"], app)] = spec.canonical(details)
    records: dict[str, list[record.Record]] = {}
    others = []
    for config in configs:
        if (found := record.parse(config)) is not None:
            records.setdefault(found.app, []).append(found)
        else:
            others.append(config)
    return SwarmState(
        present=True,
        nodes=tuple(_node(node) for node in nodes),
        services=by_app,
        records={
            app: tuple(sorted(revisions, key=lambda item: item.revision))
            for app, revisions in records.items()
        },
        secrets=_names(secrets),
        configs=_names(others),
        networks={
            network["Name"]: {**(network.get("Options") or {}), "subnet": _subnet(network)}
            for network in networks
        },
    )


def short_name(name: str, app: str) -> str:
    """A service's name without the stack's: `blog_web` is `web`."""
    return name.removeprefix(f"{app}_")


def fields(canonical: str) -> spec.Flat:
    """The fields of a specification in canonical form."""
    return spec.flatten_spec(json.loads(canonical))


def _names(items: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    names: dict[str, set[str]] = {}
    for item in items:
        labels = item["Spec"].get("Labels") or {}
        if "ronron.app" in labels:
            names.setdefault(labels["ronron.app"], set()).add(item["Spec"]["Name"])
    return {app: frozenset(found) for app, found in names.items()}


def _subnet(network: Mapping[str, Any]) -> str:
    ranges = (network.get("IPAM") or {}).get("Config") or [{}]
    return str(ranges[0].get("Subnet", ""))


def _node(node: Mapping[str, Any]) -> Node:
    manager = node.get("ManagerStatus") or {}
    return Node(
        node["ID"],
        node["Description"]["Hostname"],
        node["Spec"]["Role"],
        node["Spec"]["Availability"],
        node["Status"]["State"],
        node["Status"].get("Addr", ""),
        bool(manager.get("Leader")),
        node["Spec"].get("Labels") or {},
        node.get("UpdatedAt", ""),
    )

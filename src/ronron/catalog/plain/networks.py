"""Networks: the proxy's under whatever name, and the app's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ronron.catalog.interpolate import Step
from ronron.catalog.plain.reading import Reading, listing
from ronron.catalog.routing import PROXY_NETWORK


def translate(
    reading: Reading, tree: dict[str, Any], services: dict[str, Any], joined: set[str]
) -> None:
    """Rewrite `networks` at the top and in every service; `joined` services join the proxy's.

    The web service is not among them: rendering joins it.
    """
    declared: dict[str, Any] = tree.pop("networks", None) or {}
    members: dict[str, list[str]] = {}
    for service, body in services.items():
        _alias(reading, service, body, services)
        _service(reading, service, body, declared)
        for name in body.get("networks") or ["default"]:
            members.setdefault(name, []).append(service)
    kept: dict[str, Any] = {}
    for name, raw in declared.items():
        body = raw or {}
        if not body.get("external"):
            kept[name] = _own(reading, name, body)
            continue
        external = body["external"]
        full = external.get("name") if isinstance(external, Mapping) else body.get("name")
        full = reading.value(full or name, ("networks", name))
        steps = ("networks", name)
        if name != "default" and len(members.get(name, [])) < 2:
            reading.note(steps, f"network {full}: the proxy's is {PROXY_NETWORK} here")
            for service in members.get(name, []):
                _leave(services[service], name)
        else:
            text = f"network {full}: private to the app; only web services join {PROXY_NETWORK}"
            reading.note(steps, text)
            kept[name] = {}
    used = {n for body in services.values() for n in body.get("networks") or ["default"]}
    for service in sorted(joined):
        body = services[service]
        body["networks"] = {**_mapping(body.get("networks")), PROXY_NETWORK: None}
        kept[PROXY_NETWORK] = {"external": True}
    tree_networks = {
        name: body for name, body in kept.items() if name in used or name == PROXY_NETWORK
    }
    if tree_networks:
        tree["networks"] = tree_networks


def _mapping(networks: Any) -> dict[str, Any]:  # noqa: ANN401 - Compose allows two types
    if isinstance(networks, Mapping):
        return dict(networks)
    return dict.fromkeys(networks or ["default"])


def _leave(body: dict[str, Any], name: str) -> None:
    networks = body.get("networks")
    if isinstance(networks, dict):
        networks.pop(name, None)
    elif isinstance(networks, list):
        networks.remove(name)
    if not networks:
        body.pop("networks", None)


def _service(
    reading: Reading, service: str, body: dict[str, Any], declared: Mapping[str, Any]
) -> None:
    networks = body.get("networks")
    for name in listing(networks) if not isinstance(networks, Mapping) else list(networks):
        if name != "default" and name not in declared:
            steps: tuple[Step, ...] = ("services", service, "networks")
            reading.refuse(steps, f"network {name} is not declared", "add it under networks:")
    if not isinstance(networks, Mapping):
        return
    plain: dict[str, Any] = {}
    for name, raw in networks.items():
        steps = ("services", service, "networks", name)
        options = dict(raw or {})
        aliases = options.pop("aliases", None)
        if dropped := [key for key in options if not key.startswith("x-")]:
            text = f"{service}: {', '.join(dropped)} left out: the swarm gives addresses"
            reading.note(steps, text)
        plain[name] = {"aliases": aliases} if aliases else None
    body["networks"] = plain


def _alias(
    reading: Reading, service: str, body: dict[str, Any], services: Mapping[str, Any]
) -> None:
    """Keep the names that others may call a service by: its container's, and those of links."""
    aliases: list[str] = []
    steps: tuple[Step, ...] = ("services", service, "container_name")
    name = reading.value(body.pop("container_name", None), steps)
    if name and name != service:
        aliases.append(name)
        reading.note(steps, f"{service}: container_name became a name on the app's networks")
    for other, other_body in services.items():
        for i, raw in enumerate(listing(other_body.get("links"))):
            steps = ("services", other, "links", i)
            target, _, alias = reading.value(raw, steps).partition(":")
            if target == service and alias and alias != service:
                aliases.append(alias)
                reading.note(steps, f"{service}: the link {alias} became a name on its networks")
    if not aliases:
        return
    networks = _mapping(body.get("networks"))
    for network, raw in networks.items():
        options = dict(raw or {})
        known = listing(options.get("aliases"))
        options["aliases"] = [*known, *(a for a in dict.fromkeys(aliases) if a not in known)]
        networks[network] = options
    body["networks"] = networks


def _own(reading: Reading, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    steps = ("networks", name)
    driver = reading.value(body.get("driver"), steps)
    if driver not in ("", "overlay", "bridge", "default"):
        remedy = "use an overlay network: leave the driver out"
        reading.refuse(
            (*steps, "driver"), f"networks of driver {driver} cannot span servers", remedy
        )
    elif driver == "bridge":
        reading.note((*steps, "driver"), f"network {name}: bridge became overlay")
    if body.get("ipam"):
        text = f"network {name}: its subnet is left out, the swarm chooses one"
        reading.note((*steps, "ipam"), text)
    return {
        key: value
        for key, value in body.items()
        if key in ("internal", "attachable", "labels") and value is not None
    }

"""An app's stack as a plain Compose file: what Docker Compose alone can start, without the site."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ronron.catalog.routing import PROXY_NETWORK
from ronron.catalog.stack import REGISTRY

PORT = 8080
"""On the computer that starts it: where the app answers, for that computer alone."""


def upstream(service: str, reference: str, images: Mapping[str, str]) -> str:
    """An image by the name that it has everywhere; `images` are those by service, as recorded."""
    if service in images:
        return images[service]
    return re.sub(r"-[0-9a-f]{12}$", "", reference.removeprefix(f"{REGISTRY}/"))


def compose(
    app: str,
    stack: Mapping[str, Any],
    images: Mapping[str, str],
    files: Collection[str],
    hidden: Iterable[str],
) -> dict[str, Any]:
    """The Compose file of `app`, from its `stack` as it was handed to Docker.

    `files` names the volumes of files, which lie beside it in `volumes/`; the others are Docker's
    own. Variables whose value is one of `hidden`, names of the site, are left empty.
    """
    private = set(hidden) - {""}
    services = {}
    for name, body in stack["services"].items():
        services[name] = _service(name, body, images, files, private)
    found: dict[str, Any] = {"name": app, "services": services}
    networks = {
        key: {"internal": True} if (body or {}).get("internal") else {}
        for key, body in (stack.get("networks") or {}).items()
        if key not in (PROXY_NETWORK, "default")
    }
    parts = {
        "networks": networks,
        "volumes": {name: {} for name in stack.get("volumes") or {} if name not in files},
        "secrets": {n: {"file": f"./secrets/{n}"} for n in stack.get("secrets") or {}},
        "configs": {n: {"file": f"./configs/{n}"} for n in stack.get("configs") or {}},
    }
    return found | {key: part for key, part in parts.items() if part}


def _service(
    name: str,
    body: Mapping[str, Any],
    images: Mapping[str, str],
    files: Collection[str],
    private: Collection[str],
) -> dict[str, Any]:
    found = dict(body)
    deploy = found.pop("deploy", {})
    labels = deploy.get("labels") or {}
    found["image"] = upstream(name, str(body["image"]), images)
    limits = (deploy.get("resources") or {}).get("limits")
    if limits:
        found["deploy"] = {"resources": {"limits": limits}}
    condition = (deploy.get("restart_policy") or {}).get("condition", "any")
    if condition != "none":
        found["restart"] = "on-failure" if condition == "on-failure" else "unless-stopped"
    environment = found.get("environment") or {}
    if isinstance(environment, Mapping):
        found["environment"] = {
            key: "" if str(value) in private else value for key, value in environment.items()
        }
    attached = found.pop("networks", None) or {}
    attached = attached if isinstance(attached, Mapping) else dict.fromkeys(attached)
    attached = {key: options for key, options in attached.items() if key != PROXY_NETWORK}
    if attached:
        found["networks"] = attached
    if "volumes" in found:
        found["volumes"] = [_mount(mount, files) for mount in found["volumes"]]
    ports: list[Any] = [
        {key: value for key, value in port.items() if key != "mode"}
        for port in found.pop("ports", ())
    ]
    inside = [value for key, value in labels.items() if key.endswith("loadbalancer.server.port")]
    if inside:
        ports.append(f"127.0.0.1:{PORT}:{inside[0]}")
    return found | ({"ports": ports} if ports else {})


def _mount(mount: Any, files: Collection[str]) -> Any:  # noqa: ANN401 - Compose allows two types
    if not isinstance(mount, Mapping):
        source, colon, rest = str(mount).partition(":")
        return f"./volumes/{source}:{rest}" if colon and source in files else mount
    found = {key: value for key, value in mount.items() if key != "volume"}
    if mount.get("source") in files:
        found |= {"type": "bind", "source": f"./volumes/{mount['source']}"}
    return found

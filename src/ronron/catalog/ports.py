"""Ports that an app publishes beside the proxy, on the server itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ronron.catalog.recipe import Recipe
from ronron.errors import Problem, SiteError


def on_server(ports: Iterable[Any], recipe: Recipe, where: str) -> list[dict[str, Any]]:
    """Published ports as the swarm takes them; `where` is their place in the recipe's stack.

    Raises SiteError for what it would take and not do: an address, a range, two ports with one
    target, of which it publishes the last alone.
    """
    found: dict[str, dict[str, Any]] = {}
    for port in ports:
        entry = _entry(port, recipe, where)
        target = f"{entry['target']}/{entry.get('protocol', 'tcp')}"
        if target in found:
            text = f"{target} is published twice: on a server the swarm publishes the last alone"
            raise _refused(recipe, where, text, "let the program listen on a second port")
        found[target] = entry
    return list(found.values())


def _entry(port: Any, recipe: Recipe, where: str) -> dict[str, Any]:  # noqa: ANN401 - Compose allows three types
    """A port in its long form. A short one is a single one: on a server the swarm publishes on all
    addresses and knows no ranges."""
    if isinstance(port, dict):
        return {**port, "mode": "host"}
    match = re.fullmatch(r"(?:(\d+):)?(\d+)(?:/(tcp|udp|sctp))?", str(port))
    if match is None:
        text = f"{port}: neither an address nor a range of ports can be published on a server"
        raise _refused(recipe, where, text, "write each port as PUBLISHED:TARGET")
    entry: dict[str, Any] = {"target": int(match[2]), "mode": "host", "protocol": match[3] or "tcp"}
    if match[1]:
        entry["published"] = int(match[1])
    return entry


def _refused(recipe: Recipe, where: str, text: str, remedy: str) -> SiteError:
    return SiteError([Problem(f"recipes/{recipe.name}/stack.yml", where, text, remedy)])

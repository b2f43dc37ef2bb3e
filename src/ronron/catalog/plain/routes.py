"""Where a stack file's labels say that requests go, whatever version of Traefik they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ronron.catalog.interpolate import Step
from ronron.catalog.plain.reading import Reading, listing, pairs, scalar_text

Middlewares = dict[str, dict[str, str]]
"""By name, the options of each (`basicauth.users`), as version 3 has them."""


@dataclass(frozen=True)
class Label:
    """A label's value as written, and where it is."""

    raw: object
    steps: tuple[Step, ...]


@dataclass
class Route:
    """Requests that one router sends to one service of the stack.

    `options` are those of the load balancer. Values of middlewares and options are as written,
    with their variables.
    """

    service: str
    name: str
    steps: Sequence[Step]
    hosts: tuple[str, ...] = ()
    rest: str = ""
    port: int | None = None
    middlewares: Middlewares = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    priority: str = ""


def take_labels(reading: Reading, service: str, body: dict[str, Any]) -> dict[str, Label]:
    """Take the labels for proxies out of a service, from both places where they may stand.

    The keys are in lower case and filled in.
    """
    found: dict[str, Label] = {}
    places: list[tuple[dict[str, Any], tuple[Step, ...]]] = [
        (body, ("services", service)),
        (body.get("deploy") or {}, ("services", service, "deploy")),
    ]
    for holder, steps in places:
        raw = holder.get("labels")
        kept: dict[str, object] = {}
        for key, value, where in _entries(raw, (*steps, "labels")):
            name = reading.value(key, where) if isinstance(raw, list) else key
            if name.lower().startswith(("traefik.", "caddy.")) or name.lower() == "caddy":
                found[name.lower()] = Label(value, where)
            else:
                kept[key] = value
        if raw is not None:
            holder["labels"] = kept
            if not kept:
                del holder["labels"]
    return found


def _entries(raw: object, steps: tuple[Step, ...]) -> list[tuple[str, object, tuple[Step, ...]]]:
    if isinstance(raw, Mapping):
        return [(str(key), value, (*steps, str(key))) for key, value in raw.items()]
    return [
        (key, value, (*steps, i))
        for i, entry in enumerate(listing(raw))
        for key, value in pairs([entry]).items()
    ]


def port_of(reading: Reading, label: Label) -> int | None:
    """Return the port that a label names."""
    text = reading.value(label.raw, label.steps)
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    reading.refuse(label.steps, f"“{text}” is not a port", "write a number from 1 to 65535")
    return None


def entry_points(reading: Reading, label: Label) -> set[str]:
    """Return which of `http` and `https` a router listens on; others are refused."""
    found = set()
    for name in reading.value(label.raw, label.steps).split(","):
        plain = name.strip().lower().replace("-", "").replace("_", "")
        if plain in ("web", "http", "insecure"):
            found.add("http")
        elif plain in ("websecure", "https", "secure"):
            found.add("https")
        elif plain:
            remedy = "use web or websecure, or publish the port"
            reading.refuse(label.steps, f"there is no entry point {name.strip()} here", remedy)
    return found


def text_of(label: Label) -> str:
    """Return a label's value as text, with its variables."""
    return scalar_text(label.raw)

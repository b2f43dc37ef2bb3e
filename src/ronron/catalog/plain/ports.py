"""Published ports, in all the ways that Compose has of writing them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ronron.catalog.interpolate import Step
from ronron.catalog.plain import images
from ronron.catalog.plain.reading import Reading, listing

_LOCAL = ("127.", "::1", "localhost")


@dataclass(frozen=True)
class Port:
    """One port: in the container, on the server (None when left to chance), and the address."""

    target: int
    published: int | None
    protocol: str
    address: str
    steps: tuple[Step, ...]

    @property
    def is_local(self) -> bool:
        """Whether only programs on the server itself were meant to reach it."""
        return self.address.startswith(_LOCAL)

    def entry(self) -> dict[str, Any]:
        """The port as the long syntax has it."""
        entry: dict[str, Any] = {"target": self.target, "published": self.published}
        return {**entry, "protocol": self.protocol, "mode": "host"}


def read(reading: Reading, service: str, body: Mapping[str, Any]) -> list[Port]:
    """Read `ports` of a service, ranges spread out; what is not a port is refused."""
    found: list[Port] = []
    for i, raw in enumerate(listing(body.get("ports"))):
        steps = ("services", service, "ports", i)
        if isinstance(raw, Mapping):
            pieces = [
                reading.value(raw.get(key), (*steps, key))
                for key in ("host_ip", "published", "target")
            ]
            protocol = reading.value(raw.get("protocol"), steps)
        else:
            text = reading.value(raw, steps)
            text, _, protocol = text.partition("/")
            bracket = re.match(r"\[([^\]]*)\]:(.*)", text)
            address, rest = (bracket[1], bracket[2]) if bracket else ("", text)
            parts = rest.split(":")
            if not bracket and len(parts) > 2:
                address, parts = ":".join(parts[:-2]), parts[-2:]
            pieces = [address, parts[0] if len(parts) == 2 else "", parts[-1]]
        found += _spread(reading, pieces, protocol.lower() or "tcp", steps)
    return found


def _spread(
    reading: Reading, pieces: Sequence[str], protocol: str, steps: tuple[Step, ...]
) -> list[Port]:
    address, published, target = pieces
    targets, numbers = _range(target), _range(published) if published else []
    fits = not numbers or len(numbers) == len(targets) or len(targets) == 1
    if not targets or (published and not numbers) or not fits:
        text = f"{published}:{target}" if published else target
        reading.refuse(steps, f"“{text}” is not a port", "write PUBLISHED:TARGET")
        return []
    if len(targets) == 1 and len(numbers) > 1:
        numbers = numbers[:1]
    return [
        Port(port, numbers[i] if numbers else None, protocol, address, steps)
        for i, port in enumerate(targets)
    ]


def _range(text: str) -> list[int]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text.strip())
    if match is None:
        return []
    first, last = int(match[1]), int(match[2] or match[1])
    return list(range(first, last + 1)) if 0 < first <= last < 65536 else []


def web_candidates(reading: Reading, service: str, body: Mapping[str, Any]) -> list[int]:
    """Return the ports on which a service may speak HTTP, the likeliest first.

    From what it publishes, else from what it exposes, else from what is known of its image.
    """
    published = [port for port in read(reading, service, body) if port.protocol == "tcp"]
    likely = [port.target for port in published if port.target not in images.NOT_WEB]
    by_80 = [port.target for port in published if port.published in (80, 8080)]
    if by_80 and len(likely) > 1:
        likely = [*by_80, *likely]
    if not published:
        for i, raw in enumerate(listing(body.get("expose"))):
            text = reading.value(raw, ("services", service, "expose", i)).partition("/")[0]
            likely += [port for port in _range(text) if port not in images.NOT_WEB]
    image = reading.value(body.get("image"), ("services", service, "image"))
    if not likely and (known := images.known_port(image)):
        likely = [known]
    plain = [port for port in likely if port not in (443, 8443)] or likely
    return list(dict.fromkeys(plain))


def likeliest(ports: Sequence[int]) -> int | None:
    """Return the port among several that speaks HTTP, None when it cannot be told."""
    if len(ports) <= 1:
        return ports[0] if ports else None
    known = [port for port in images.WEB_PORTS if port in ports]
    return known[0] if known else None


def keep(reading: Reading, service: str, body: dict[str, Any], web_port: int | None) -> list[Port]:
    """Leave in `body` only the ports that stay published beside the proxy; return them.

    `web_port` is the port that the proxy serves, None when the service is not the web one.
    """
    kept: list[Port] = []
    dropped: list[Port] = []
    for port in read(reading, service, body):
        proxied = port.target == web_port or port.target in (80, 443, 8443)
        name = f"{service}: port {port.target}"
        if web_port is not None and proxied and port.protocol == "tcp":
            dropped.append(port)
        elif port.is_local:
            reading.note(
                port.steps,
                f"{name} was for the server itself ({port.address}), which a swarm "
                "does not have: not published",
            )
        elif port.published is None:
            reading.note(port.steps, f"{name} had no fixed number outside: not published")
        elif port.published in (80, 443):
            if web_port is not None and port.protocol == "udp":
                dropped.append(port)
                continue
            remedy = f"make it the web service (--web {service}:{port.target}), or remove the port"
            reading.refuse(port.steps, f"port {port.published} is the proxy's", remedy)
        else:
            if port.address not in ("", "0.0.0.0", "::"):  # noqa: S104 - what files say
                reading.note(port.steps, f"{name} is published on every address of its server")
            kept.append(port)
    for port in dropped:
        number = port.published if port.published is not None else port.target
        reading.note(port.steps, f"{service}: port {number} is not published: the proxy serves it")
    for port in kept:
        reading.note(
            port.steps, f"{service}: port {port.published}/{port.protocol} is published as it was"
        )
    body.pop("ports", None)
    if kept:
        body["ports"] = [port.entry() for port in kept]
    return kept

"""The Engine API behind the socket proxy: GET requests of what the manager knows."""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
import urllib.request
from typing import Any

from .swarm import Swarm

BASE = "http://docker:2375/v1.41"
SECONDS = 5.0


def read() -> Swarm:
    """The swarm as it is. Raises OSError when the manager does not answer, or has no quorum."""
    return Swarm(
        nodes=tuple(_get("/nodes")),
        services=tuple(_get("/services")),
        tasks=tuple(_get("/tasks")),
        networks=tuple(_get("/networks?filters=" + urllib.parse.quote('{"scope":["swarm"]}'))),
    )


def last_lines(service: str, count: int) -> list[str]:
    """The last lines of a service's output, empty when there is none to be had."""
    path = f"/services/{urllib.parse.quote(service, safe='')}/logs?stdout=1&stderr=1&tail={count}"
    try:
        return unframed(_fetch(path))[-count:]
    except (OSError, http.client.HTTPException):
        return []


def unframed(raw: bytes) -> list[str]:
    """The lines of a stream of log frames: 8 bytes of header, the last 4 of them the length."""
    pieces = []
    while len(raw) >= 8:
        length = int.from_bytes(raw[4:8], "big")
        pieces.append(raw[8 : 8 + length])
        raw = raw[8 + length :]
    lines = b"".join(pieces).decode("utf-8", "replace").splitlines()
    return [re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", line) for line in lines if line.strip()]


def _get(path: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(_fetch(path))
    return answer


def _fetch(path: str) -> bytes:
    with urllib.request.urlopen(BASE + path, timeout=SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content

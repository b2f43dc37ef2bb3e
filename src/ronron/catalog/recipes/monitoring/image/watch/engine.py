"""The Engine API behind the socket proxy: GET requests of what the manager knows."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.parse
import urllib.request
from collections import deque
from typing import IO, Any

from .swarm import Swarm

BASE = "http://docker:2375/v1.41"
SECONDS = 5.0
LOOK_BACK = 600.0
"""Seconds back from now in which a service's last lines are looked for."""

FRAMES = 100
"""What is kept of a service's output: a long line comes in several frames."""


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
    # Asked for a number of lines, a journal that has fewer does not end (Docker 26).
    since = int(time.time() - LOOK_BACK)
    name = urllib.parse.quote(service, safe="")
    path = f"/services/{name}/logs?stdout=1&stderr=1&since={since}"
    try:
        with urllib.request.urlopen(BASE + path, timeout=SECONDS) as answer:  # noqa: S310
            return unframed(answer, FRAMES)[-count:]
    except (OSError, http.client.HTTPException):
        return []


def lines(url: str) -> list[str]:
    """The lines of a text. Raises OSError where nobody answers with one."""
    try:
        return _fetch(url).decode("utf-8", "replace").splitlines()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error


def unframed(stream: IO[bytes], frames: int) -> list[str]:
    """The lines of the last `frames` of a stream of log frames: 8 bytes of header, the last 4 of
    them the length."""
    pieces: deque[bytes] = deque(maxlen=frames)
    while len(header := stream.read(8)) == 8:
        pieces.append(stream.read(int.from_bytes(header[4:], "big")))
    lines = b"".join(pieces).decode("utf-8", "replace").splitlines()
    return [re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", line) for line in lines if line.strip()]


def _get(path: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(_fetch(BASE + path))
    return answer


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content

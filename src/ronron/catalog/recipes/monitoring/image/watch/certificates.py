"""From when until when the certificates of the apps' domains are valid."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .swarm import Sample

EVERY = 300.0
SECONDS = 5.0


class Certificates:
    """The last answer of each domain, asked for again after EVERY seconds."""

    def __init__(self, authority: Path) -> None:
        self._context = ssl.create_default_context()
        if authority.is_file() and authority.read_text().strip():
            self._context.load_verify_locations(authority)
        self._known: dict[str, tuple[float, float, float]] = {}

    def samples(self, pages: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
        """Both dates of each page's certificate; none for one that cannot be verified."""
        now = time.monotonic()
        labels = {urlsplit(page["targets"][0]).hostname or "": page["labels"] for page in pages}
        due = [name for name in labels if now - self._known.get(name, (-EVERY,))[0] >= EVERY]
        with ThreadPoolExecutor(8) as threads:
            for name, dates in zip(due, threads.map(self._ask, due), strict=True):
                self._known.pop(name, None)
                if dates is not None:
                    self._known[name] = (now, *dates)
        for name, about in labels.items():
            if name in self._known:
                _, begins, ends = self._known[name]
                of = {"app": about["app"], "domain": name}
                yield Sample("ronron_certificate_not_before_seconds", of, begins)
                yield Sample("ronron_certificate_not_after_seconds", of, ends)

    def _ask(self, domain: str) -> tuple[float, float] | None:
        try:
            with (
                socket.create_connection((domain, 443), SECONDS) as raw,
                self._context.wrap_socket(raw, server_hostname=domain) as connection,
            ):
                found = connection.getpeercert() or {}
        except OSError:
            return None
        dates = [ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter")]
        return dates[0], dates[1]

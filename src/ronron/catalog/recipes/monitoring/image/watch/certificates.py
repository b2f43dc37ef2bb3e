"""From when until when the certificates of the apps' domains are valid."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .swarm import Sample

EVERY = 300.0
SECONDS = 5.0
AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """What a domain's server showed last: whether its certificate verifies, None without an answer
    in TLS, and the dates of the last one that did."""

    at: float
    verifies: bool | None = None
    begins: float = 0
    ends: float = 0


class Certificates:
    """The last answer of each domain, asked for again after EVERY seconds, beside who asks for
    figures: servers that do not answer keep nobody waiting."""

    def __init__(self, authority: Path, port: int = 443) -> None:
        self._context = ssl.create_default_context()
        if authority.is_file() and authority.read_text().strip():
            self._context.load_verify_locations(authority)
        self._port = port
        self._lock = threading.Lock()
        self._known: dict[str, Answer] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def samples(self, domains: Mapping[str, str]) -> Iterator[Sample]:
        """Whether the certificate of each domain verifies, and its dates; `domains` says of which
        app each is. What is due is asked for now, and is in the samples of a later call."""
        now = time.monotonic()
        with self._lock:
            known = dict(self._known)
            for name in domains:
                last = known.get(name, Answer(-EVERY))
                if now - last.at >= EVERY:
                    self._known[name] = replace(last, at=now)
                    self._threads.submit(self._learn, name)
        for name, app in domains.items():
            last = known.get(name, Answer(0))
            of = {"app": app, "domain": name}
            if last.verifies is not None:
                yield Sample("ronron_certificate_verifies", of, last.verifies)
            if last.ends:
                yield Sample("ronron_certificate_not_before_seconds", of, last.begins)
                yield Sample("ronron_certificate_not_after_seconds", of, last.ends)

    def _learn(self, domain: str) -> None:
        answer = self._ask(domain)
        with self._lock:
            last = self._known[domain]
            self._known[domain] = replace(last, **answer)

    def _ask(self, domain: str) -> dict[str, Any]:
        try:
            with (
                socket.create_connection((domain, self._port), SECONDS) as raw,
                self._context.wrap_socket(raw, server_hostname=domain) as connection,
            ):
                found = connection.getpeercert() or {}
        except ssl.SSLCertVerificationError:
            return {"verifies": False}
        except OSError:
            return {"verifies": None}
        begins, ends = (ssl.cert_time_to_seconds(str(found[k])) for k in ("notBefore", "notAfter"))
        return {"verifies": True, "begins": begins, "ends": ends}

"""Rolling updates of `hello` under load: how many requests fail.

The requests come at a fixed rate, whatever the answers take, each over a new connection with
verified TLS, from before the first update until after the last. A request fails when it is not
answered with 200 within ten seconds.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from laboratory import Laboratory
from measure import Result, say

from ronron.servers.names import lookup
from ronron.site.load import load_site

RATE = 50.0
"""Requests a second."""

UPDATES = 3
AROUND = 3.0
"""Seconds for which requests come before the updates begin, and after they have ended."""

THREADS = 64
APP = "rolling"
VERSION = re.compile(rb'id="version">([^<]*)<')


class Load:
    """Requests for `/` of one domain: the answers by the version of the app, and the failures."""

    def __init__(self, domain: str, address: str, trust: Path) -> None:
        self.domain = domain
        self.address = address
        self.context = ssl.create_default_context(cafile=str(trust))
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.seconds = 0.0

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return self.answers.total() + len(self.failures)

    @contextmanager
    def going(self) -> Iterator[None]:
        """Make requests while the context lasts."""
        over = threading.Event()
        began = time.monotonic()
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(self.pace, over)
            try:
                yield
            finally:
                over.set()
                self.seconds += time.monotonic() - began
            running.result()

    def pace(self, over: threading.Event) -> None:
        """Start a request whenever one is due."""
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as threads:
            for number in count():
                if over.wait(max(0.0, began + number / RATE - time.monotonic())):
                    return
                threads.submit(self.request)

    def request(self) -> None:
        """Make one request, and note what became of it."""
        connection = http.client.HTTPConnection(self.domain, timeout=10)
        try:
            raw = socket.create_connection((self.address, 443), 10)
            connection.sock = self.context.wrap_socket(raw, server_hostname=self.domain)
            connection.request("GET", "/", headers={"Connection": "close"})
            response = connection.getresponse()
            found = VERSION.search(response.read())
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        finally:
            connection.close()
        if response.status == 200 and found:
            self.answers[found[1].decode()] += 1
        else:
            self.failures.append(f"HTTP status {response.status}")


def measure(laboratory: Laboratory) -> list[Result]:
    """Failed requests, and how many a second there were."""
    say("updating: deploying")
    laboratory.deploy("hello", APP, "--replicas", "web=2", "--set", "version=1")
    loaded = load_site(laboratory.site)
    address = lookup(loaded.site.manager.address, loaded.site.resolver)
    load = Load(laboratory.domain(APP), address, loaded.path(str(loaded.site.acme.trust)))
    say("updating: measuring")
    with load.going():
        threading.Event().wait(AROUND)
        for version in range(2, 2 + UPDATES):
            laboratory.deploy("hello", APP, "--set", f"version={version}")
        threading.Event().wait(AROUND)
    laboratory.remove([APP])
    if len(load.answers) != 1 + UPDATES:
        raise RuntimeError(f"not every version answered: {dict(load.answers)}")
    for failure in load.failures:
        say(f"  {failure}")
    return [
        Result("failed requests, rolling updates of hello", len(load.failures), "requests", 0),
        Result("requests, rolling updates of hello", load.requests, "requests"),
        Result("requests a second, rolling updates of hello", load.requests / load.seconds, "1/s"),
    ]

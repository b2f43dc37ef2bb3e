"""What it costs to watch a site: memory of the platform on each server, and the proxy's rate.

Memory is that of every container of the platform and of the programs that ship log lines, without
caches of files, after ten minutes under load. The rate is that of requests to `hello` over
connections that stay, as many as are answered, from two processes; in turn with the proxy as it is,
and with one that has neither access log nor figures.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from laboratory import Laboratory
from measure import Result, say

from ronron.catalog.recipe import builtin_folder
from ronron.events import ignore
from ronron.plan.session import open_session
from ronron.servers.names import lookup
from ronron.servers.runner import Runner
from ronron.site.load import load_site

APP = "watched"
MINUTES = 10.0
ROUNDS = 3
SECONDS = 20.0
PROCESSES = 2
CONNECTIONS = 32
"""Of each process, all busy at once."""

PLATFORM = re.compile(r"^(proxy|registry|socket-proxy|monitoring|logs)_")
UNITS = {"B": 1 / 2**20, "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
MOST = {True: 700.0, False: 120.0}
"""MiB on the manager, and on each worker."""


def measure(laboratory: Laboratory) -> list[Result]:
    """Memory of each kind of server, and the ratio of the rates."""
    say("watching: deploying")
    laboratory.deploy("hello", APP, "--replicas", "web=2")
    laboratory.ronron("deploy", "logs", "--yes", "--timeout", "900")
    laboratory.ronron("deploy", "monitoring", "--yes", "--timeout", "900")
    laboratory.ronron("apply", "--yes")
    say(f"watching: {MINUTES:.0f} minutes under load")
    with loaded(laboratory):
        threading.Event().wait(MINUTES * 60)
        found = memory(laboratory)
    say("watching: rates")
    rates: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS):
        for watched in (True, False) if number % 2 == 0 else (False, True):
            proxy(laboratory, watched=watched)
            rates[watched].append(rate(laboratory, SECONDS))
    proxy(laboratory, watched=True)
    laboratory.remove([APP, "logs", "monitoring"])
    on, off = (statistics.median(rates[watched]) for watched in (True, False))
    return [
        Result("memory of the platform, the manager", found[True], "MiB", MOST[True]),
        Result("memory of the platform, a worker", found[False], "MiB", MOST[False]),
        # A rate of at least nine tenths.
        Result("requests a second, without figures and access log / with them", off / on, "ratio",
               1 / 0.9),
        Result("requests a second, with figures and access log", on, "1/s"),
    ]  # fmt: skip


def memory(laboratory: Laboratory) -> dict[bool, float]:
    """MiB on the manager (True), and on the worker that has most of it."""
    site = load_site(laboratory.site)
    found: dict[bool, float] = {True: 0.0, False: 0.0}
    with open_session(site, ignore) as session:
        for name, server in site.site.servers.items():
            used = containers(session.servers[name]) + programs(session.servers[name])
            found[server.is_manager] = max(found[server.is_manager], used)
    return found


def containers(runner: Runner) -> float:
    """MiB of the platform's containers on a server."""
    lines = runner.run(["docker", "stats", "--no-stream", "--format", "{{json .}}"]).text
    used = 0.0
    for one in map(json.loads, lines.splitlines()):
        if PLATFORM.match(one["Name"]):
            number, unit = re.findall(r"([0-9.]+)([KMG]?i?B)", one["MemUsage"])[0]
            used += float(number) * UNITS[unit]
    return used


def programs(runner: Runner) -> float:
    """MiB of what ships log lines: rsyslog, and what it asks for addresses."""
    listed = runner.run(["ps", "-eo", "rss=,args="]).text.splitlines()
    rows = (line.split(None, 1) for line in listed)
    return sum(int(rss) for rss, args in rows if re.search(r"rsyslogd|addresses\.py", args)) / 1024


def proxy(laboratory: Laboratory, *, watched: bool) -> None:
    """The proxy as it is, or without access log and figures."""
    own = laboratory.site / "recipes" / "proxy"
    shutil.rmtree(own, ignore_errors=True)
    if not watched:
        shutil.copytree(builtin_folder() / "proxy", own)
        file = own / "traefik.yml"
        blocks = re.compile(r"^(accessLog|metrics):\n(?: .*\n)+", re.M)
        text, count = blocks.subn("", file.read_text())
        if count != 2:
            raise RuntimeError(f"{file}: of access log and figures {count} were found, not both")
        file.write_text(text)
    laboratory.ronron("apply", "--yes")


@contextmanager
def loaded(laboratory: Laboratory) -> Iterator[None]:
    """Requests come while the context lasts."""
    over = threading.Event()

    def go() -> None:
        while not over.is_set():
            rate(laboratory, 5.0)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def entrance(laboratory: Laboratory) -> tuple[str, Path]:
    """The proxy's address, and the file of the authority that its certificates are verified by."""
    site = load_site(laboratory.site)
    address = lookup(site.site.manager.address, site.site.resolver)
    return address, site.path(str(site.site.acme.trust))


def rate(laboratory: Laboratory, seconds: float) -> float:
    """How many requests a second are answered."""
    address, trust = entrance(laboratory)
    with ProcessPoolExecutor(PROCESSES) as processes:
        waiting = [
            processes.submit(requests, laboratory.domain(APP), address, trust, seconds)
            for _ in range(PROCESSES)
        ]
        return sum(one.result() for one in waiting) / seconds


def requests(domain: str, address: str, trust: Path, seconds: float) -> int:
    """Ask as often as is answered; raises RuntimeError for another status."""
    context = ssl.create_default_context(cafile=str(trust))
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        waiting = [
            threads.submit(ask, domain, address, context, time.monotonic() + seconds)
            for _ in range(CONNECTIONS)
        ]
        return sum(one.result() for one in waiting)


def ask(domain: str, address: str, context: ssl.SSLContext, end: float) -> int:
    """How many requests one connection makes until `end`, one after the other."""
    done = 0
    asked = f"GET /health HTTP/1.1\r\nHost: {domain}\r\n\r\n".encode()
    with (
        socket.create_connection((address, 443), 10) as raw,
        context.wrap_socket(raw, server_hostname=domain) as connection,
        connection.makefile("rb") as answers,
    ):
        while time.monotonic() < end:
            connection.sendall(asked)
            if (status := answers.readline()) and b" 200 " not in status:
                raise RuntimeError(f"answered {status!r}")
            length = 0
            while (line := answers.readline().lower()) not in (b"\r\n", b""):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
            done += 1
    return done

"""Log lines that are lost when the store is away for ten minutes: there must be none.

A worker's journal gets lines at a steady rate, and the proxy requests; the store's services are
scaled to none meanwhile. Then every line is counted in the store, once: some may be there twice,
and would stand for others that are not.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from heap import there
from laboratory import Laboratory
from measure import Result, say
from watching import ask, entrance

APP = "outage"
MINUTES = 10.0
SERVICES = ("logs_gate", "logs_access", "logs_app", "logs_system")
BACK_SECONDS = 300.0

# Writes lines into the journal, as programs do, and says how many.
WRITE = """
import socket, sys, time
tag, seconds, rate = sys.argv[1], float(sys.argv[2]), 50
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
began, number = time.monotonic(), 0
while time.monotonic() - began < seconds:
    line = "SYSLOG_IDENTIFIER=outage\\nPRIORITY=6\\nMESSAGE=%s number %d\\n" % (tag, number)
    journal.send(line.encode())
    number += 1
    time.sleep(max(0, began + number / rate - time.monotonic()))
print(number)
"""


def measure(laboratory: Laboratory) -> list[Result]:
    """The lines and requests that the store does not have after it was away, and how many there
    were."""
    say("outage: deploying")
    laboratory.deploy("hello", APP)
    laboratory.ronron("deploy", "logs", "--yes", "--timeout", "900")
    laboratory.ronron("apply", "--yes")
    address, trust = entrance(laboratory)
    context = ssl.create_default_context(cafile=str(trust))
    tag, seconds = uuid.uuid4().hex, MINUTES * 60
    argv = ("python3", "-c", WRITE, tag, f"{seconds}")
    # One request after the other: no two began at the same nanosecond.
    ours = ("access", f'app:="{APP}"', "_time")
    before = _stored(laboratory, *ours)
    say(f"outage: {MINUTES:.0f} minutes without a store")
    with _away(laboratory), ThreadPoolExecutor(1) as threads:
        end = time.monotonic() + seconds
        asking = threads.submit(_steadily, laboratory.domain(APP), address, context, end)
        written = int(there(laboratory, *argv, server="worker-1")[1])
        asked = asking.result()
    say("outage: counting")
    lines = _arrived(laboratory, ("system", f'_msg:"{tag}"', "_msg"), written)
    requests = _arrived(laboratory, ours, before + asked) - before
    laboratory.remove([APP, "logs"])
    return [
        Result("log lines lost, the store away for ten minutes", written - lines, "lines", 0),
        Result("log lines written meanwhile", written, "lines"),
        Result("requests lost, the store away for ten minutes", asked - requests, "requests", 0),
        Result("requests answered meanwhile", asked, "requests"),
    ]


def _steadily(domain: str, address: str, context: ssl.SSLContext, end: float) -> int:
    """A few requests twenty times a second until `end`; how many were answered."""
    done = 0
    while time.monotonic() < end:
        done += ask(domain, address, context, time.monotonic() + 0.005)
        threading.Event().wait(0.05)
    return done


@contextmanager
def _away(laboratory: Laboratory) -> Iterator[None]:
    scale = ("docker", "service", "scale", "--detach")
    there(laboratory, *scale, *(f"{name}=0" for name in SERVICES))
    try:
        yield
    finally:
        there(laboratory, *scale, *(f"{name}=1" for name in SERVICES))


def _arrived(laboratory: Laboratory, what: tuple[str, str, str], all_of_them: int) -> int:
    """How many lines the store has, once it has so many or the time for that is over."""
    deadline = time.monotonic() + BACK_SECONDS
    found = 0
    while found < all_of_them and time.monotonic() < deadline:
        threading.Event().wait(2)
        with suppress(RuntimeError, ValueError):  # It is starting.
            found = _stored(laboratory, *what)
    return found


def _stored(laboratory: Laboratory, kind: str, query: str, field: str) -> int:
    """How many lines a class' store has that differ in `field`."""
    url = f"http://127.0.0.1:9428/{kind}/select/logsql/query"
    script = 'docker exec "$(docker ps -qf name=$1)" wget -qO- --post-data "$2" "$3"'
    asked = f"query={query} | stats count_uniq({field}) lines"
    words = ("sh", "-c", script, "sh", f"logs_{kind}", asked, url)
    return int(json.loads(there(laboratory, *words)[1])["lines"])

"""Measure a file system that the three servers of a lab share, and cut one of them off.

    python bench/shared_storage.py LAB [--path /srv/ronron/shared] [--processes gluster]
        [--cut worker-1] [--only-cut]

Not a part of `make bench`: it takes minutes, and wants the file system mounted on all three, such
as by an apply of a site with `storage: {shared: glusterfs}`. `--cut` names the server whose link is
cut, `--only-cut` leaves the rates out. Writes one JSON object. The servers share one computer:
compare what was measured in one go.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SERVERS = ("manager", "worker-1", "worker-2")
SECONDS = 10
CUT_SECONDS = 90.0
"""How long the link stays cut: longer than any of the file systems' own deadlines."""

BACK_SECONDS = 300.0
"""How long a writer may take to go on, and the server that was cut off to see what it wrote."""

SEEN_SECONDS = 30.0
"""How long a server may take to see the last line that another wrote; later it counts as lost."""

COUNT = """
import sqlite3, sys, time
path, seconds = sys.argv[1], float(sys.argv[2])
base = sqlite3.connect(path, timeout=30, isolation_level=None)
acknowledged, failed, end = 0, 0, time.time() + seconds
while time.time() < end:
    try:
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE counter SET n = n + 1")
        base.execute("COMMIT")
        acknowledged += 1
    except sqlite3.Error:
        failed += 1
        if base.in_transaction:
            base.execute("ROLLBACK")
print(acknowledged, failed)
"""
MAKE = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("PRAGMA journal_mode = " + sys.argv[2])
base.execute("CREATE TABLE counter (n)")
base.execute("INSERT INTO counter VALUES (0)")
"""
STORED = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=30)
print(*base.execute("SELECT n FROM counter").fetchone())
print(*base.execute("PRAGMA integrity_check").fetchone())
"""
SMALL = """
import os, sys, time
folder, count, verb = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.makedirs(folder, exist_ok=True)
began = time.time()
for n in range(count):
    if verb == "write":
        with open("%s/%d" % (folder, n), "wb") as file:
            file.write(b"x" * 4096)
    else:
        with open("%s/%d" % (folder, n), "rb") as file:
            assert len(file.read()) == 4096
print(count / (time.time() - began))
"""
LARGE = """
import os, sys, time
path, megabytes, verb = sys.argv[1], int(sys.argv[2]), sys.argv[3]
began = time.time()
with open(path, "wb" if verb == "write" else "rb") as file:
    for _ in range(megabytes):
        if verb == "write":
            file.write(os.urandom(1024) * 1024)
        else:
            assert len(file.read(1 << 20)) == 1 << 20
    if verb == "write":
        os.fsync(file.fileno())
print(megabytes / (time.time() - began))
"""
# Appends numbered lines, each acknowledged after fsync; opens the file again after an error. Prints
# the longest wait between two acknowledgements, its beginning, the number of the last line, how
# many errors there were, and the first. Ends when its standard input does.
APPEND = """
import os, select, sys, time
longest, at, number, errors, first, last = 0.0, 0.0, 0, 0, "-", time.time()
file = None
while not select.select([sys.stdin], [], [], 0.02)[0]:
    try:
        file = file or open(sys.argv[1], "ab", buffering=0)
        os.write(file.fileno(), b"%d\\n" % (number + 1))
        os.fsync(file.fileno())
    except OSError as error:
        errors, first = errors + 1, first if errors else str(error)
        try:
            file and file.close()
        except OSError:
            pass
        file = None
        continue
    number += 1
    now = time.time()
    if now - last > longest:
        longest, at = now - last, last
    last = now
print(longest, at, number, errors, first)
"""
MEMORY = """
import os, sys
total = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/comm" % pid) as name, open("/proc/%s/status" % pid) as status:
            if name.read().strip().startswith(sys.argv[1]):
                total += sum(int(l.split()[1]) for l in status if l.startswith("RssAnon"))
    except OSError:
        pass
print(total // 1024)
"""


class Servers:
    """The servers of a lab, by Docker: their network may be cut, so not by SSH."""

    def __init__(self, lab: str) -> None:
        self.lab = lab

    def argv(self, server: str, *command: str) -> list[str]:
        """The command that runs `command` on a server."""
        return ["docker", "exec", "-i", f"ronron-lab-{self.lab}-{server}", *command]

    def run(self, server: str, *command: str) -> list[str]:
        """What `command` wrote on a server, by words. Raises CalledProcessError."""
        done = subprocess.run(
            self.argv(server, *command), check=True, capture_output=True, text=True
        )
        return done.stdout.split()

    def python(self, server: str, program: str, *arguments: object) -> list[str]:
        """What a Python program wrote on a server, by words."""
        return self.run(server, "python3", "-c", program, *map(str, arguments))

    def cut(self, server: str) -> list[str]:
        """Cut a server's link; returns the default route, which is lost with it."""
        route = self.run(server, "ip", "route", "show", "default")
        self.run(server, "ip", "link", "set", "eth0", "down")
        return route

    def mend(self, server: str, route: list[str]) -> None:
        """Let a server have its link and its route again."""
        self.run(server, "ip", "link", "set", "eth0", "up")
        self.run(server, "ip", "route", "add", *route)


def counter(servers: Servers, folder: str) -> dict[str, Any]:
    """Two servers increment one SQLite counter: what they were told, and what is stored."""
    path = f"{folder}/counter"
    servers.python(SERVERS[0], MAKE, path, "DELETE")
    with ThreadPoolExecutor() as threads:
        told = list(threads.map(lambda s: servers.python(s, COUNT, path, SECONDS), SERVERS[:2]))
    stored, whole = servers.python(SERVERS[2], STORED, path)
    return {"acknowledged": sum(int(one[0]) for one in told), "stored": int(stored), "check": whole}


def write_ahead(servers: Servers, folder: str) -> float:
    """Transactions a second of one writer in WAL mode."""
    path = f"{folder}/wal"
    servers.python(SERVERS[0], MAKE, path, "WAL")
    return int(servers.python(SERVERS[0], COUNT, path, SECONDS)[0]) / SECONDS


def written(servers: Servers, server: str, path: str, more: int) -> None:
    """Wait until a server sees that a log has grown by so many lines. Raises TimeoutError."""
    deadline = time.monotonic() + BACK_SECONDS
    before = None
    while time.monotonic() < deadline:
        done = subprocess.run(
            servers.argv(server, "timeout", "20", "wc", "-l", path), capture_output=True, text=True
        )
        if done.returncode == 0:
            lines = int(done.stdout.split()[0])
            before = lines if before is None else before
            if lines >= before + more:
                return
        threading.Event().wait(0.2)
    raise TimeoutError(f"{path} does not grow on {server}")


def cut(servers: Servers, folder: str, other: str) -> dict[str, Any]:
    """A writer on one server while another's link is cut, and comes back.

    `went_on` says when the longest wait ended: while the other was cut off, or after it was back.
    """
    path, (writer, reader) = f"{folder}/log", [s for s in SERVERS if s != other]
    process = subprocess.Popen(
        servers.argv(writer, "python3", "-c", APPEND, path),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    written(servers, reader, path, 50)
    route = servers.cut(other)
    time.sleep(CUT_SECONDS)  # how long it is cut off is what is measured
    mended = time.time()
    servers.mend(other, route)
    for one in (other, reader):
        written(servers, one, path, 50)
    longest, at, number, errors, first = process.communicate("end")[0].split(maxsplit=4)
    lost, deadline = {0}, time.monotonic() + SEEN_SECONDS
    while lost and time.monotonic() < deadline:  # a reader may be behind
        lines = servers.run(reader, "cat", path)
        lost = set(range(1, int(number) + 1)) - {int(line) for line in lines if line.isdigit()}
    return {
        "stall_s": round(float(longest), 1),
        "went_on": "while cut" if float(at) + float(longest) < mended else "after",
        "acknowledged": int(number), "lost": len(lost),
        "errors": int(errors), "first_error": first.strip(),
    }  # fmt: skip


def rates(servers: Servers, folder: str, processes: Sequence[str]) -> dict[str, Any]:
    """What a file system does, and needs in memory, while all servers are there."""
    found: dict[str, Any] = {"counter": counter(servers, folder)}
    found["wal_per_s"] = write_ahead(servers, folder)
    for verb, server in (("write", SERVERS[0]), ("read", SERVERS[1])):
        small = servers.python(server, SMALL, f"{folder}/small", 500, verb)
        found[f"small_{verb}_per_s"] = round(float(small[0]))
        large = servers.python(server, LARGE, f"{folder}/large", 128, verb)
        found[f"large_{verb}_mb_per_s"] = round(float(large[0]))
    found["memory_mb"] = {
        server: sum(int(servers.python(server, MEMORY, name)[0]) for name in processes)
        for server in SERVERS
    }
    return found


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lab")
    parser.add_argument("--path", default="/srv/ronron/shared")
    parser.add_argument("--processes", default="gluster", help="names begin so; several by commas")
    parser.add_argument("--cut", choices=SERVERS, default=SERVERS[1], help="whose link is cut")
    parser.add_argument("--only-cut", action="store_true", help="leave the rates out")
    options = parser.parse_args()
    servers = Servers(options.lab)
    folder = f"{options.path}/.measured-{int(time.time())}"
    servers.run(SERVERS[0], "mkdir", folder)
    before = os.getloadavg()[1]
    found = {} if options.only_cut else rates(servers, folder, options.processes.split(","))
    found["cut"] = cut(servers, folder, options.cut)
    found["load"] = [round(load, 1) for load in (before, os.getloadavg()[1])]
    servers.run(SERVERS[0], "rm", "-rf", folder)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

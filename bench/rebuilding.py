"""`ronron rebuild` of a lab whose three servers are gone: ten apps, 2 GiB, images cached.

The repository is behind an S3 server (rclone's) on this computer, which stays. Making the new
servers is not counted: they are there before a rebuild begins.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heap import declare, fill
from laboratory import SERVERS, laboratory
from measure import RONRON, ROOT, Result, say, timed

from ronron.swarm.waiting import until

APPS, FILES, SIZE = 10, 2_000, (2 << 30) // 20_000
KEY, SECRET = "thekey", "thesecret"
LAB = "bench-rebuild"
NETWORK = "ronron-bench-far"


def measure() -> list[Result]:
    """How long it took, and what of it was for servers and platform."""
    names = [f"heap-{number}" for number in range(APPS)]
    with laboratory(LAB) as made, _far() as repository:
        declare(made.site, names, repository)
        for name, value in (("s3_key", KEY), ("s3_secret", SECRET)):
            words: list[str | Path] = [
                RONRON,
                "--site",
                made.site,
                "secrets",
                "set",
                "backup",
                name,
                "--yes",
            ]
            timed(words, stdin=value.encode())
        made.ronron("apply", "--yes")
        made.ronron("backup", "init")
        for name in names:
            fill(made, name, FILES, SIZE)
        say("rebuilding: backing up")
        made.ronron("backup")
        say("rebuilding: new servers")
        made.lab("down", "--keep-images")
        made.lab("up", "--servers", str(SERVERS))
        made.lab("site", str(made.site))
        say("rebuilding: measuring")
        report = json.loads(made.output("rebuild", "--yes", "--json")[1])
        if sorted(one["app"] for one in report["apps"]) != sorted(names):
            raise RuntimeError("the rebuild did not bring every app back")
    return [
        Result("rebuild of 10 apps with 2 GiB", report["seconds"], "s", 600),
        Result("rebuild, servers and platform", report["platform_seconds"], "s"),
    ]


@contextmanager
def _far() -> Iterator[str]:
    """An S3 server that is none of the lab's: the repository's address."""
    import docker

    client = docker.from_env()
    network = client.networks.create(NETWORK)
    network.reload()
    subnet = network.attrs["IPAM"]["Config"][0]["Subnet"]
    address = str(next(ipaddress.ip_network(subnet).hosts()))
    with tempfile.TemporaryDirectory(prefix="ronron-bench-") as folder:
        (Path(folder) / "bucket").mkdir()
        with socket.socket() as free:
            free.bind((address, 0))
            port = free.getsockname()[1]
        rclone = ROOT / ".venv" / "bin" / "rclone"
        serve = ("serve", "s3", "--addr", f"{address}:{port}", "--auth-key", f"{KEY},{SECRET}")
        process = subprocess.Popen([rclone, *serve, folder])

        def listens() -> bool:
            with socket.socket() as there:
                return there.connect_ex((address, port)) == 0

        try:
            until(listens, 60, "the S3 server")
            yield f"s3:http://{address}:{port}/bucket/site"
        finally:
            process.terminate()
            process.wait(30)
            network.remove()
            client.close()

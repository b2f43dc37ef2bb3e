"""Who is outside of the site, and an app that wants to be seen from there."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from e2e.cloud import Operator
from ronron.catalog.recipe import builtin_folder

APP_PORT = 3306
"""The port that the app `open` publishes."""

PUBLISHED = f"""\
    ports:
      - {{target: 8080, published: {APP_PORT}, protocol: tcp, mode: host}}
"""


@dataclass(frozen=True)
class Stranger:
    """A computer that keeps its address, and how a command is run on it."""

    enter: tuple[str, ...]
    address: str

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", *self.enter, *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def reaches(self, ip: str, port: int) -> bool:
        connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
        return self.run("python3", "-c", connect, ip, str(port)).returncode == 0


@contextmanager
def a_stranger(operator: Operator) -> Iterator[Stranger]:
    """Somebody with an SSH client, whom no server knows."""
    name = f"ronron-stranger-{uuid.uuid4().hex[:8]}"

    def docker(*argv: str) -> str:
        done = subprocess.run(["docker", *argv], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    image = docker("inspect", "-f", "{{.Image}}", operator.lab.server("worker-1").container)
    label = f"ronron.lab={operator.lab.name}"
    docker(
        *("run", "--detach", "--rm", "--name", name, "--label", label),
        *("--network", operator.lab.network, "--entrypoint", "sleep", image, "infinity"),
    )
    try:
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = docker("inspect", "-f", template, name)
        yield Stranger((name,), address)
        operator.ronron("bans", "lift", address)  # others get the same address
    finally:
        docker("rm", "--force", name)


@contextmanager
def an_open_app(operator: Operator) -> Iterator[None]:
    """The app `open`: it publishes a port, declares none, and asks for a password."""
    own = operator.folder / "recipes" / "open"
    shutil.copytree(builtin_folder() / "hello", own)
    text = (own / "stack.yml").read_text().replace("    build: .\n", PUBLISHED)
    why = "  published_ports: To be seen from outside.\n"
    (own / "stack.yml").write_text(text.replace("  verified: run\n", why))
    app = operator.folder / "apps" / "open.yml"
    # One on each server: the port that it publishes is the server's.
    app.write_text("recipe: open\naccess: {users: [cat]}\nreplicas: {web: 3}\n")
    operator.ronron("apply", "--yes")
    try:
        yield
    finally:
        operator.ronron("remove", "open", "--yes")
        shutil.rmtree(own)

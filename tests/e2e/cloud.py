"""What the end-to-end tests share: an operator who types commands, and waiting with a deadline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ronron import lab
from ronron.lab import Lab
from ronron.lab.site import write_site
from ronron.site import yamltext
from ronron.site.yamltext import Change
from ronron.swarm import probe

Found = TypeVar("Found")


@dataclass(frozen=True)
class Operator:
    """Somebody at a computer with a site of `lab` in `folder`."""

    lab: Lab
    folder: Path
    home: Path

    def start(self, *arguments: str, stdin: str = "") -> subprocess.Popen[str]:
        """Type `ronron …` and do not wait; `stdin` is what it reads."""
        argv = [sys.executable, "-m", "ronron", "--site", str(self.folder), *arguments]
        home = str(self.home)
        with tempfile.TemporaryFile() as text:
            text.write(stdin.encode())
            text.seek(0)
            return subprocess.Popen(
                argv,
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home},
            )

    def ronron(self, *arguments: str, status: int = 0, seconds: float = 1200) -> tuple[str, str]:
        """Type `ronron …`; return what it printed and what it said; its status must be `status`."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == status, f"ronron {arguments}: {process.returncode}\n{out}{err}"
        return out, err

    def plan(self) -> list[dict[str, Any]]:
        """What `ronron plan` says would change."""
        changes: list[dict[str, Any]] = json.loads(self.ronron("plan", "--json")[0])["changes"]
        return changes

    def deploy(self, source: str, name: str, *options: str) -> dict[str, Any]:
        """Deploy an app and return what it answered."""
        out, _ = self.ronron("deploy", source, name, "--yes", "--json", *options)
        answer: dict[str, Any] = json.loads(out)["answer"]
        return answer

    def on(self, server: str, *argv: str) -> str:
        """Run a command on a server, past ronron, as somebody with a shell there would."""
        container = self.lab.server(server).container
        done = subprocess.run(["docker", "exec", container, *argv], capture_output=True, text=True)
        assert done.returncode == 0, f"{argv} on {server}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def mount(self, server: str, file: str, folder: str) -> None:
        """Mount the file system in a file; its loop device goes with the last that mounts it."""
        self.on(server, "sh", "-ec", MOUNT, "sh", file, folder)


MOUNT = """
for n in $(seq 0 31); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done
mkdir -p "$2"
mount -o loop "$1" "$2"
"""


@contextmanager
def lab_alone(
    name: str, servers: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    """An operator with bare servers that no other test uses; home and site are in `folder`."""
    name, home, site = f"{name}-{os.getpid()}", folder / "home", folder / "site"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    home.mkdir()
    site.mkdir()
    try:
        found = lab.up(name, servers)
        write_site(found, site)
        yield Operator(found, site, home)
    finally:
        lab.down(name, keep_images=True)


@contextmanager
def another_server(operator: Operator) -> Iterator[tuple[Operator, str]]:
    """A bare server more, added as an operator does it; who has it, and its name. It goes again."""
    more = replace(operator, lab=lab.up(operator.lab.name, len(operator.lab.servers) + 1))
    server = more.lab.servers[-1]
    assert server.host_key is not None
    try:
        key = server.host_key.fingerprint
        more.ronron("server", "add", server.address, "--fingerprint", key, "--yes")
        more.ronron("apply", "--yes")
        yield more, server.name
        more.ronron("server", "remove", server.name, "--yes")
        more.ronron("apply", "--yes")
    finally:
        subprocess.check_call(["docker", "rm", "--force", "--volumes", server.container])


REPOSITORY = "/srv/repository"


def configure(operator: Operator, repository: str) -> None:
    """Name another repository for backups in the site's file."""
    path = operator.folder / "ronron.yml"
    change = Change(("backup",), {"repository": repository})
    path.write_text(yamltext.apply(path.read_text(), [change], "ronron.yml"))


def eventually(look: Callable[[], Found | None], seconds: float = 60) -> Found:
    """Look until there is something, and return that; fail when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {look}"
        threading.Event().wait(0.2)
    return found


def ask(operator: Operator, name: str, path: str = "/") -> probe.Answer:
    """One request to an app, over TLS verified against the lab's authority."""
    return probe.ask(
        f"{name}.{operator.lab.domain}",
        path,
        address=operator.lab.server("manager").ip,
        trust=operator.folder / "acme-root.pem",
    )


def answers(operator: Operator, name: str, path: str = "/health") -> bool:
    try:
        return ask(operator, name, path).status < 400
    except OSError:
        return False


def page(operator: Operator, name: str) -> str:
    """What the app's page says, as somebody outside of the site reads it."""
    script = (
        "import ssl, sys, urllib.request\n"
        "context = ssl._create_unverified_context()\n"
        "page = urllib.request.urlopen('https://' + sys.argv[1], context=context)\n"
        "sys.stdout.write(page.read().decode())\n"
    )
    domain = f"{name}.{operator.lab.domain}"
    _, out = lab.client(operator.lab, ["python3", "-c", script, domain])
    return out


def sql(operator: Operator, statement: str, app: str = "blog", user: str = "ghost") -> str:
    """What the app's MariaDB answers to a statement: the database is called as its user."""
    login = f"MYSQL_PWD=`cat /run/secrets/db_password` exec mariadb --user={user} --host=db"
    return told(operator, app, f"{login} --batch --skip-column-names {user}", statement)


def told(operator: Operator, app: str, script: str, statement: str, seconds: float = 300) -> str:
    """What a client in the app's container `db` prints; the statement is no argument of it."""
    words = ("sh", "-c", script)
    process = operator.start("shell", app, "--service", "db", *words, stdin=statement)
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return out.strip()


def version_of(operator: Operator, service: str) -> int:
    """The version of a service's specification in the swarm: it grows with each update."""
    found = operator.on("manager", "docker", "service", "inspect", service)
    index: int = json.loads(found)[0]["Version"]["Index"]
    return index

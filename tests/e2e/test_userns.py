"""Containers whose users are none of the server's: how a site gets them, and what works then."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cloud import REPOSITORY, Operator, configure, eventually, lab_alone, page
from ronron import lab
from ronron.lab.site import write_site
from ronron.site import yamltext
from ronron.site.userns import FIRST_ID, IDS, SOCKET
from ronron.site.yamltext import Change

pytestmark = [pytest.mark.lab, pytest.mark.long]
DATA = "/srv/ronron/volumes/ledger/data"
FILES = "/srv/ronron/volumes/ledger/files"
DAEMON = "/etc/docker/daemon.json"
OURS = "65534:65534"
THEIRS = f"{FIRST_ID + 65534}:{FIRST_ID + 65534}"
"""The user of the ledger's recipe, as the server counts without and with it."""


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An operator with one bare server, and a recipe with a volume of each class."""
    with lab_alone("userns", 1, tmp_path, monkeypatch) as operator:
        folder = operator.folder
        configure(operator, REPOSITORY)
        recipe = folder / "recipes" / "ledger"
        shutil.copytree(Path(__file__).parent / "ledger", recipe)
        text = (recipe / "stack.yml").read_text()
        for old, new in (
            ("  databases:\n", '    files: {uid: 65534, gid: 65534, mode: "0700"}\n  databases:\n'),
            ('["data:/data"]', '["data:/data", "files:/files"]'),
            ("\n  data: {}\n", "\n  data: {}\n  files: {}\n"),
        ):
            assert old in text
            text = text.replace(old, new)
        (recipe / "stack.yml").write_text(text)
        yield operator


def remap(operator: Operator, value: bool) -> None:
    """Set it in the site's file."""
    path = operator.folder / "ronron.yml"
    change = Change(("docker", "userns_remap"), value)
    path.write_text(yamltext.apply(path.read_text(), [change], "ronron.yml"))


def owners(operator: Operator, *paths: str) -> list[str]:
    """Who owns these files on the server."""
    return operator.on("manager", "stat", "-c", "%u:%g", *paths).split()


def processes(operator: Operator) -> dict[str, int]:
    """The containers that run, with the user of each one's first process on the server."""
    form = "{{.Name}} {{.State.Pid}}"
    script = f"docker inspect -f '{form}' $(docker ps -q) | while read name process; do "
    script += 'echo "$name $(ps -o uid= -p "$process")"; done'
    lines = operator.on("manager", "sh", "-c", script).splitlines()
    return {name.strip("/").partition(".")[0]: int(uid) for name, uid in map(str.split, lines)}


def reaches(operator: Operator, user: int, socket: str) -> bool:
    """Whether a user of the server that has lost all capabilities gets an answer from Docker."""
    script = (
        "import os, socket, sys; user = int(sys.argv[1]); os.setgroups([]); os.setgid(user);"
        "os.setuid(user); socket.socket(socket.AF_UNIX).connect(sys.argv[2])"
    )
    container = operator.lab.server("manager").container
    argv = ["docker", "exec", container, "python3", "-c", script, str(user), socket]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def add(operator: Operator, word: str) -> None:
    """Write a word into the ledger."""
    program = (
        "import urllib.request as r, sys; r.urlopen('http://127.0.0.1:8080/add?' + sys.argv[1])"
    )
    operator.ronron("shell", "ledger", "--service", "web", "python3", "-c", program, word)


def anew(operator: Operator, tmp_path: Path) -> Operator:
    """The same site with a new server, to which its repository of backups was brought."""
    repository = tmp_path / "repository"
    old = operator.lab.server("manager").container
    subprocess.run(["docker", "cp", "-q", f"{old}:{REPOSITORY}", repository], check=True)
    lab.down(operator.lab.name, keep_images=True)
    found = lab.up(operator.lab.name, 1)
    write_site(found, operator.folder)
    new = found.server("manager").container
    subprocess.run(["docker", "cp", "-q", repository, f"{new}:{REPOSITORY}"], check=True)
    return Operator(found, operator.folder, operator.home)


def test_a_sites_containers_get_users_of_their_own(alone: Operator, tmp_path: Path) -> None:
    paths = (DATA, f"{DATA}/words", FILES, f"{FILES}/cat")
    alone.ronron("apply", "--yes")
    alone.ronron("backup", "init")
    alone.deploy("ledger", "ledger")
    word = ("sh", "-c", "echo whiskers > /files/cat && chmod 0640 /files/cat")
    alone.ronron("shell", "ledger", "--service", "web", *word)
    add(alone, "one")
    assert owners(alone, *paths) == [OURS] * 4
    assert processes(alone)["socket-proxy_socket-proxy"] == 0
    alone.ronron("backup", "ledger")

    # Where servers run without it, it is refused before anything is changed.
    settings = alone.on("manager", "cat", DAEMON)
    remap(alone, True)
    for words in (("plan",), ("apply", "--yes")):
        _, err = alone.ronron(*words, status=2)
        assert "docker.userns_remap: manager is in the swarm without it" in err
    # A snapshot would say that its files' owners are counted as they are not.
    _, err = alone.ronron("backup", "ledger", status=1)
    assert "docker.userns_remap: the swarm runs without it" in err
    # A Docker that does not run has its place in the swarm, too.
    alone.on("manager", "systemctl", "stop", "docker.socket", "docker.service")
    _, err = alone.ronron("apply", "--yes", status=2)
    assert "docker.userns_remap: manager is in the swarm without it" in err
    assert alone.on("manager", "cat", DAEMON) == settings

    # New servers have it. A lab hides parts of its kernel's files, and a kernel gives nobody more
    # of them than he sees: that is told beforehand, too.
    operator = anew(alone, tmp_path)
    _, err = operator.ronron("rebuild", "--yes", status=2)
    assert "docker.userns_remap: manager has a kernel that does not let containers" in err
    script = "cd /run && mkdir proc sys && mount -t proc proc proc && mount -t sysfs -r sysfs sys"
    operator.on("manager", "sh", "-c", f"! command -v docker && {script}")
    operator.on("manager", "sh", "-c", f"echo ada:{FIRST_ID}:1 >> /etc/subuid")
    _, err = operator.ronron("rebuild", "--yes", status=2)
    assert "/etc/subuid gives ada users that containers have" in err
    operator.on("manager", "sed", "-i", "/^ada:/d", "/etc/subuid")
    operator.ronron("rebuild", "--yes")
    eventually(lambda: page(operator, "ledger") == "one", 60)
    assert operator.on("manager", "cat", f"{FILES}/cat") == "whiskers"
    assert owners(operator, *paths) == [THEIRS] * 4
    assert operator.plan() == []
    # The proxy's user may write into a file that the server's root made.
    asked = ("logs", "--access", "ledger", "--status", "200")
    eventually(lambda: operator.ronron(*asked)[0], 60)

    running = processes(operator)
    # Root without capabilities in its container.
    assert running["socket-proxy_socket-proxy"] == FIRST_ID
    assert {"ledger_web", "proxy_proxy"} <= set(running)
    assert all(FIRST_ID <= user < FIRST_ID + IDS for user in running.values()), running
    # Who broke out with those rights reaches neither Docker nor the socket that a container has.
    assert not reaches(operator, FIRST_ID, "/run/docker.sock")
    assert not reaches(operator, FIRST_ID, SOCKET)
    assert reaches(operator, 0, SOCKET)

    # Backed up and restored where it is.
    add(operator, "two")
    operator.ronron("backup", "ledger")
    add(operator, "three")
    operator.on("manager", "rm", f"{FILES}/cat")
    operator.ronron("restore", "ledger", "--yes")
    eventually(lambda: page(operator, "ledger") == "one two", 60)
    assert owners(operator, *paths) == [THEIRS] * 4
    assert operator.plan() == []

    remap(operator, False)
    _, err = operator.ronron("apply", "--yes", status=2)
    assert "docker.userns_remap: manager is in the swarm with it" in err

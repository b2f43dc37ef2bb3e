"""Files that three servers hold: brought there, one of the three lost, back, and lost for good."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import REPOSITORY, Operator, ask, configure, eventually
from ronron import lab
from ronron.catalog.recipe import builtin_folder
from ronron.catalog.stack import VOLUMES
from ronron.lab.site import write_site
from ronron.servers import gluster
from ronron.servers.gluster import BRICK, SHARED, STATE, UNIT
from ronron.site import yamltext
from ronron.site.yamltext import Change

pytestmark = [pytest.mark.lab, pytest.mark.long]

PREFIX = "shared"
SERVERS = ("manager", "worker-1", "worker-2")
RECIPE = f"""\
x-ronron:
  title: Writer
  license: AGPL-3.0-or-later
  web: {{service: web, port: 8080}}
  volumes: {{data: {{class: files, uid: 65534, gid: 65534, mode: "0700"}}}}
  checks: {{lines: {{about: It has lines, volume: data, file: log}}}}
services:
  web:
    image: hello:1.0
    build: {builtin_folder() / "hello"}
    command: [python3, -B, /writer.py]
    environment: {{SERVER: "{{{{.Node.Hostname}}}}"}}
    user: "65534:65534"
    configs: [{{source: writer, target: /writer.py}}]
    volumes: ["data:/data"]
    deploy:
      placement: {{constraints: [node.role == worker]}}
configs: {{writer: {{file: ./writer.py}}}}
volumes: {{data: {{}}}}
"""
# Appends a number, waits for the disk, tells it; what it told is what must be there.
APPEND = """
import os, sys
number = 0
with open(sys.argv[1], "ab", buffering=0) as file:
    while True:
        number += 1
        file.write(b"%d\\n" % number)
        os.fsync(file.fileno())
        print(number, flush=True)
        if not sys.stdin.readline():
            break
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Three servers, and `writer`, an app that has a volume of files on the storage server."""
    for name in lab.names():
        prefix, _, process = name.partition("-")
        if prefix == PREFIX and process.isdigit() and not Path("/proc", process).exists():
            lab.down(name, keep_images=True)
    name = f"{PREFIX}-{os.getpid()}"
    folder, home = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home))
        try:
            operator = Operator(lab.up(name, 3), folder, home)
            write_site(operator.lab, folder)
            # The writer runs on workers, one of which can be lost.
            declare(operator, ("servers", "manager", "roles"), ["manager"])
            declare(operator, ("servers", "worker-1", "roles"), ["storage", "worker"])
            recipe = folder / "recipes" / "writer"
            recipe.mkdir(parents=True)
            (recipe / "stack.yml").write_text(RECIPE)
            shutil.copy(Path(__file__).with_name("writer.py"), recipe)
            operator.ronron("apply", "--yes")
            operator.deploy("writer", "writer")
            for number in range(3):
                assert ask(operator, "writer", f"/add/{number}").status == 200
            yield operator
        finally:
            lab.down(name, keep_images=True)


def declare(operator: Operator, key: tuple[str, ...], value: object) -> None:
    """Write something into the site's file."""
    path = operator.folder / "ronron.yml"
    path.write_text(yamltext.apply(path.read_text(), [Change(key, value)], "ronron.yml"))


@dataclass(frozen=True)
class Move:
    """How the files got to the shared storage: the plan, what was said, what was there before."""

    plan: list[dict[str, Any]]
    said: str
    before: str


DESCRIBE = 'cd "$1" && stat -c "%a %u %g %Y" . log && sha256sum log'


@pytest.fixture(scope="module")
def move(local: Operator) -> Move:
    """The site's files brought from the storage server's disk to GlusterFS."""
    before = local.on("worker-1", "sh", "-c", DESCRIBE, "sh", f"{VOLUMES}/writer/data")
    declare(local, ("storage",), {"shared": "glusterfs"})
    plan = local.plan()
    _, said = local.ronron("apply", "--yes")
    return Move(plan, said, before)


@pytest.fixture(scope="module")
def cloud(local: Operator, move: Move) -> Operator:
    """Three servers with shared storage, and `writer`, an app that has a volume there."""
    return local


class Writing:
    """A visitor who adds one line after the other, and remembers those that were acknowledged."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.acknowledged: set[int] = set()
        self.over = threading.Event()
        self.number = 0

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.number += 1
            with suppress(OSError):
                if ask(self.operator, "writer", f"/add/{self.number}").status == 200:
                    self.acknowledged.add(self.number)

    def more(self, since: int = 0) -> int:
        """How many lines beyond number `since` were acknowledged."""
        return sum(1 for number in list(self.acknowledged) if number > since)


@contextmanager
def writing(operator: Operator) -> Iterator[Writing]:
    """A visitor writes while the context lasts."""
    visitor = Writing(operator)
    thread = threading.Thread(target=visitor.run)
    thread.start()
    try:
        yield visitor
    finally:
        visitor.over.set()
        thread.join()


def node_of(operator: Operator) -> str:
    """The server on which the writer runs."""
    form = ("--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
    listing = operator.on("manager", "docker", "service", "ps", "writer_web", *form)
    running = [line.split()[0] for line in listing.splitlines() if " Running" in line]
    return running[0] if running else ""


def copies(operator: Operator) -> set[str]:
    """The digests of the log in the three copies: one when they are equal."""
    found = set()
    for server in SERVERS:
        command = f"cat {BRICK}/writer/data/log | sha256sum"
        found.add(operator.on(server, "sh", "-c", command))
    return found


def healed(operator: Operator) -> bool:
    """Whether all three copies are connected, and none is behind."""
    with lab.connections(operator.lab) as servers:
        servers.open(["manager"])
        found = gluster.copies(servers["manager"])
    return len(found) == 3 and all(one.behind == 0 and one.split == 0 for one in found)


def lines(operator: Operator) -> set[int]:
    return {
        int(line) for line in operator.on("manager", "cat", f"{SHARED}/writer/data/log").split()
    }


def test_the_files_move_to_the_shared_storage_and_the_old_copy_is_kept(
    cloud: Operator, move: Move
) -> None:
    (change,) = (
        c for c in move.plan if c["where"] == "app writer" and c["field"] == "volumes.data"
    )
    assert change["before"] == f"worker-1:{VOLUMES}/writer/data"
    assert change["after"].endswith(f"{SHARED}/writer/data")
    for server in SERVERS:
        there = cloud.on(server, "sh", "-c", DESCRIBE, "sh", f"{SHARED}/writer/data")
        assert there == move.before, "content, owner, mode and times"
    old = cloud.on("worker-1", "sh", "-c", f"ls -d {VOLUMES}/.moved/writer-*/data")
    assert f"writer: the old copy of its data is kept on worker-1: {old}" in move.said
    assert cloud.on("worker-1", "sh", "-c", DESCRIBE, "sh", old) == move.before
    told = json.loads(cloud.ronron("storage", "status", "--json")[0])
    assert [(one["server"], one["connected"]) for one in told["copies"]] == [
        (server, True) for server in SERVERS
    ]
    uses = [use for one in told["servers"] for use in one["uses"] if use["app"] == "writer"]
    assert sorted((use["kind"], use["path"]) for use in uses) == [
        ("moved", str(Path(old).parent)),
        ("volume", f"{SHARED}/writer/data"),
    ]
    _, said = cloud.ronron("storage", "status")
    assert "old copies of writer are deleted by: ronron move writer --forget" in said


def test_the_second_apply_changes_nothing_and_every_server_has_the_files(cloud: Operator) -> None:
    assert cloud.plan() == []
    for server in SERVERS:
        assert cloud.on(server, "stat", "-c", "%a %u", f"{SHARED}/writer/data") == "700 65534"
    assert ask(cloud, "writer", "/add/0").status == 200
    eventually(lambda: len(copies(cloud)) == 1)


def test_shared_files_are_backed_up_restored_and_drilled(cloud: Operator) -> None:
    log = f"{SHARED}/writer/data/log"
    configure(cloud, REPOSITORY)
    cloud.ronron("apply", "--yes")
    cloud.ronron("backup", "init")
    before = cloud.on("worker-2", "sh", "-c", DESCRIBE, "sh", f"{SHARED}/writer/data")
    cloud.ronron("backup", "writer")
    assert ask(cloud, "writer", "/add/after-it").status == 200
    assert "after-it" in cloud.on("worker-2", "cat", log)
    cloud.ronron("drill", "writer")
    assert "after-it" in cloud.on("worker-2", "cat", log)
    cloud.ronron("restore", "writer", "--yes")
    after = cloud.on("worker-2", "sh", "-c", DESCRIBE, "sh", f"{SHARED}/writer/data")
    assert after == before, "content, owner, mode and times"
    (old,) = cloud.on("manager", "sh", "-c", f"ls -d {SHARED}/.replaced/writer-*/data").split()
    assert "after-it" in cloud.on("worker-2", "cat", f"{old}/log")
    assert ask(cloud, "writer", "/add/0").status == 200
    eventually(lambda: len(copies(cloud)) == 1)
    assert cloud.plan() == []


def test_only_the_sites_servers_can_have_the_files(cloud: Operator) -> None:
    """Without the site's certificate a stranger gets neither the files nor who has them."""
    script = (
        "mkdir -p /tmp/stolen; mv /etc/ssl/glusterfs.pem /tmp/; "
        "timeout 20 glusterfs --volfile-server=manager --volfile-id=/ronron /tmp/stolen; "
        "ls /tmp/stolen; umount /tmp/stolen; mv /tmp/glusterfs.pem /etc/ssl/"
    )
    assert cloud.on("worker-2", "sh", "-c", f"({script}) 2>/dev/null") == ""


def test_nothing_is_written_and_no_container_starts_where_the_storage_is_not_mounted(
    cloud: Operator,
) -> None:
    server = node_of(cloud)
    other = next(name for name in SERVERS[1:] if name != server)
    image = cloud.on(
        server, "docker", "ps", "--filter", "name=writer_web", "--format", "{{.Image}}"
    )
    cloud.on(other, "docker", "pull", image)
    cloud.on(other, "systemctl", "stop", UNIT)
    try:
        options = "volume-opt=type=none,volume-opt=o=bind,volume-opt=device="
        mount = f"type=volume,dst=/data,volume-driver=local,{options}{SHARED}/writer/data"
        run = ("docker", "run", "--rm", "--mount", mount, image, "touch", "/data/beneath")
        inside = ["docker", "exec", cloud.lab.server(other).container, *run]
        started = subprocess.run(inside, capture_output=True, text=True)
        assert started.returncode != 0
        assert f"{SHARED}/writer/data" in started.stderr
        assert "no such file or directory" in started.stderr
        with pytest.raises(AssertionError, match="not permitted"):
            cloud.on(other, "mkdir", f"{SHARED}/writer")
        shown = [(c["where"], c["field"], c["after"]) for c in cloud.plan()]
        assert shown == [(f"server {other}", SHARED, "mounted")]
    finally:
        cloud.ronron("apply", "--yes")
    assert cloud.on(other, "ls", f"{SHARED}/writer") == "data"
    assert cloud.plan() == []


def test_a_server_is_lost_while_its_app_writes_and_comes_back(cloud: Operator) -> None:
    victim = node_of(cloud)
    log = f"{SHARED}/.beside"
    append = ("sh", "-c", 'yes | python3 -c "$1" "$2"', "sh", APPEND, log)
    inside = ["docker", "exec", cloud.lab.server("manager").container, *append]
    beside = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)
    told: list[int] = []
    reading = threading.Thread(target=lambda: told.extend(map(int, beside.stdout or ())))
    reading.start()
    try:
        with writing(cloud) as visitor:
            eventually(lambda: visitor.more() > 20 and len(told) > 20, 120)
            lab.stop_server(cloud.lab, victim)
            before, number = len(told), visitor.number
            # What was written on a server that is left goes on after a stall.
            eventually(lambda: len(told) > before + 20, 120)
            # And the app comes back by itself, on the other one, with what it had.
            eventually(lambda: visitor.more(number) > 20, 180)
            assert node_of(cloud) not in ("", victim)
            lab.start_server(cloud.lab, victim)
    finally:
        cloud.on("manager", "pkill", "-x", "yes")
        beside.wait()
        reading.join()
        if not cloud.lab.server(victim).running:
            lab.start_server(cloud.lab, victim)
    assert visitor.acknowledged <= lines(cloud), "every line that was acknowledged is there"
    assert set(told) <= {int(line) for line in cloud.on("manager", "cat", log).split()}
    cloud.ronron("apply", "--yes")
    eventually(lambda: healed(cloud), 180)
    assert len(copies(cloud)) == 1
    assert cloud.plan() == []


def test_a_server_that_lost_everything_gets_its_copy_again(cloud: Operator) -> None:
    cloud.on("worker-2", "systemctl", "stop", "glusterd")
    script = f"pkill -9 -x glusterfsd; rm -rf {STATE}/* {BRICK} && : > {STATE}/secure-access"
    cloud.on("worker-2", "sh", "-c", script)
    cloud.on("worker-2", "systemctl", "reset-failed", "glusterd")
    cloud.on("worker-2", "systemctl", "start", "glusterd")
    changes = [(c["where"], c["field"]) for c in cloud.plan()]
    assert ("server worker-2", "copy of the shared files") in changes
    cloud.ronron("apply", "--yes")
    eventually(lambda: len(copies(cloud)) == 1, 180)
    eventually(lambda: healed(cloud), 180)
    assert cloud.plan() == []


def test_the_files_move_back_to_the_storage_servers_disk(cloud: Operator) -> None:
    shared = f"{SHARED}/writer/data"
    before = cloud.on("worker-2", "sh", "-c", DESCRIBE, "sh", shared)
    declare(cloud, ("storage",), {"shared": "local"})
    (change,) = (c for c in cloud.plan() if c["field"] == "volumes.data")
    assert (change["where"], change["why"]) == (
        "app writer", "storage.shared in ronron.yml; its data moves",
    )  # fmt: skip
    assert change["before"].endswith(shared)
    assert change["after"] == f"worker-1:{VOLUMES}/writer/data"
    _, said = cloud.ronron("apply", "--yes")
    there = cloud.on("worker-1", "sh", "-c", DESCRIBE, "sh", f"{VOLUMES}/writer/data")
    assert there == before, "content, owner, mode and times"
    (old,) = cloud.on("worker-2", "sh", "-c", f"ls -d {SHARED}/.moved/writer-*/data").split()
    assert f"writer: the old copy of its data is kept on worker-1: {old}" in said
    assert cloud.on("worker-2", "sh", "-c", DESCRIBE, "sh", old) == before
    assert ask(cloud, "writer", "/add/1000000").status == 200
    assert node_of(cloud) == "worker-1"
    assert cloud.on("worker-1", "tail", "-n1", f"{VOLUMES}/writer/data/log") == "1000000"
    assert cloud.on("worker-2", "sh", "-c", DESCRIBE, "sh", old) == before
    assert cloud.plan() == []
    cloud.ronron("move", "writer", "--forget", "--yes")
    assert cloud.on("worker-2", "sh", "-c", f"ls {SHARED}/.moved 2>/dev/null || :") == ""
    assert cloud.on("worker-1", "sh", "-c", f"ls {VOLUMES}/.moved 2>/dev/null || :") == ""

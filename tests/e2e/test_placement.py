"""Databases that move, servers that die or are cut off, and what then becomes of each copy."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import Operator, answers, eventually, sql
from e2e.stores import keep, kept_words
from ronron import lab
from ronron.engine.client import connect
from ronron.lab import Lab
from ronron.site import yamltext
from ronron.site.yamltext import Change

pytestmark = [pytest.mark.lab]
VOLUMES = "/srv/ronron/volumes"
HEALTH = "/ghost/api/admin/site/"


def title(operator: Operator) -> str:
    return sql(operator, "SELECT value FROM settings WHERE `key` = 'title'")


def write(operator: Operator, words: str) -> None:
    sql(operator, f"UPDATE settings SET value = '{words}' WHERE `key` = 'title'")  # noqa: S608


def words(operator: Operator, path: str = "/") -> str:
    """What the ledger answers to somebody outside."""
    context = ssl.create_default_context(cafile=str(operator.folder / "acme-root.pem"))
    domain = f"ledger.{operator.lab.domain}"

    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            http.client.HTTPConnection.connect(self)
            self.sock = context.wrap_socket(self.sock, server_hostname=domain)

    connection = Connection(operator.lab.server("manager").ip, timeout=20)
    connection.request("GET", path, headers={"Host": domain})
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, text
    return text


def says(operator: Operator, text: str) -> bool:
    """Whether the ledger tells these words: for a moment the proxy may not know where it is."""
    try:
        return words(operator) == text
    except (OSError, AssertionError, http.client.HTTPException):
        return False


def holder(operator: Operator, app: str, volume: str = "data") -> str:
    """The server that `ronron status` says has a volume."""
    process = operator.start("status", "--json")
    out, err = process.communicate(timeout=300)
    assert out, err
    return str(next(a for a in json.loads(out)["apps"] if a["name"] == app)["volumes"][volume])


def containers(operator: Operator, server: str, app: str) -> list[str]:
    """The containers with an app's database that run on a server."""
    words = ("docker", "ps", "-q", "--filter", f"volume={app}_data")
    return operator.on(server, *words).split()


def stored(operator: Operator, server: str, folder: str) -> str:
    """The words in a copy of the ledger's data, read on its server."""
    script = (
        "import sqlite3, sys;"
        "found = sqlite3.connect(sys.argv[1]).execute('SELECT word FROM words ORDER BY rowid');"
        "print(*[word for (word,) in found])"
    )
    return operator.on(server, "python3", "-c", script, f"{folder}/words")


def is_down(operator: Operator, server: str) -> bool:
    shown = operator.on("manager", "docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
    return f"{server} Down" in shown


@contextmanager
def cut_off(found: Lab, name: str) -> Iterator[None]:
    """A server that goes on by itself while no other reaches it, nor the operator."""
    server = found.server(name)
    with connect() as engine:
        network = engine.networks.get(found.network)
        network.disconnect(server.container)
        try:
            yield
        finally:
            network.connect(server.container, ipv4_address=server.ip, aliases=[server.address])


@pytest.fixture
def ledger(kept: Operator) -> Iterator[Operator]:
    """An operator with a `ledger` that has the words `one` in a dump, and `two` since."""
    recipe = kept.folder / "recipes" / "ledger"
    shutil.copytree(Path(__file__).parent / "ledger", recipe)
    try:
        kept.deploy("ledger", "ledger")
        words(kept, "/add?one")
        kept.ronron("backup", "ledger")
        words(kept, "/add?two")
        yield kept
    finally:
        kept.ronron("remove", "ledger", "--delete-data", "--yes")
        kept.ronron("move", "ledger", "--forget", "--yes")
        shutil.rmtree(recipe)


@pytest.mark.usefixtures("blog")
def test_a_blogs_database_moves_and_comes_back(kept: Operator) -> None:
    write(kept, "On the move")
    kept.ronron("move", "blog", "--to", "worker-1", "--yes")
    assert title(kept) == "On the move"
    assert answers(kept, "blog", HEALTH)
    assert holder(kept, "blog") == "worker-1"
    assert containers(kept, "worker-1", "blog")
    owner = kept.on("worker-1", "stat", "-c", "%u:%g %a", f"{VOLUMES}/blog/data")
    assert owner == "999:999 750"
    assert kept.plan() == []
    write(kept, "Elsewhere")
    out, _ = kept.ronron("move", "blog", "--to", "manager", "--yes", "--json")
    (old,) = json.loads(out)["kept"]
    assert old["server"] == "worker-1"
    assert "ibdata1" in kept.on("worker-1", "ls", old["path"])
    assert title(kept) == "Elsewhere"
    assert kept.plan() == []
    kept.ronron("move", "blog", "--forget", "--yes")
    assert kept.on("worker-1", "ls", f"{VOLUMES}/.moved") == ""


def test_a_move_that_fails_leaves_everything_as_it_was(ledger: Operator) -> None:
    source = holder(ledger, "ledger")
    target = next(name for name in ("worker-1", "worker-2") if name != source)
    before = ledger.on(source, "stat", "-c", "%i", f"{VOLUMES}/ledger/data")
    for arguments, said in (
        (("--to", "worker-9", "--yes"), "there is no server worker-9"),
        (("--to", target, "--volume", "dta", "--yes"), "has no database volume dta"),
        (("--to", target), "add --yes"),
        (("--forget", "--to", target), "--forget alone"),
    ):
        assert said in ledger.ronron("move", "ledger", *arguments, status=2)[1]
    # On the new server somebody's container has another folder under the volume's name.
    options = ("--opt", "type=none", "--opt", "o=bind", "--opt", "device=/srv/elsewhere")
    ledger.on(target, "mkdir", "-p", "/srv/elsewhere")
    ledger.on(target, "docker", "volume", "create", *options, "ledger_data")
    template = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
    image = ledger.on("manager", "docker", "service", "inspect", "-f", template, "ledger_web")
    own = ("--name", "elsewhere", "-v", "ledger_data:/data", "--entrypoint", "python3", image)
    ledger.on(target, "docker", "run", "-d", *own, "-c", "import time; time.sleep(900)")
    line = ("move", "ledger", "--to", target, "--yes")
    _, err = ledger.ronron(*line, status=1)
    assert "ledger: was not moved" in err
    eventually(lambda: says(ledger, "one two"), 120)
    assert holder(ledger, "ledger") == source
    assert ledger.on(source, "stat", "-c", "%i", f"{VOLUMES}/ledger/data") == before
    assert ledger.on(target, "ls", f"{VOLUMES}/ledger", f"{VOLUMES}/.moving").split() == [
        f"{VOLUMES}/.moving:",
        f"{VOLUMES}/ledger:",
    ]
    assert ledger.plan() == []
    # The name alone, with no container, is in nobody's way.
    ledger.on(target, "docker", "rm", "-f", "elsewhere")
    ledger.ronron("move", "ledger", "--to", target, "--yes")
    assert words(ledger) == "one two"


def test_a_move_that_is_killed_is_finished_by_the_next(ledger: Operator) -> None:
    source = holder(ledger, "ledger")
    target = next(name for name in ("worker-1", "worker-2") if name != source)
    big = f"{VOLUMES}/ledger/data/large"
    ledger.on(source, "dd", "if=/dev/urandom", f"of={big}", "bs=1M", "count=600")
    ledger.on(source, "chown", "65534:65534", big)
    digest = ledger.on(source, "sha256sum", big).split()[0]
    process = ledger.start("move", "ledger", "--to", target, "--yes")
    half = ("sh", "-c", f"ls {VOLUMES}/.moving/*/data/large 2> /dev/null || true")
    try:
        eventually(lambda: ledger.on(target, *half), 120)
    finally:
        process.kill()
        process.communicate()
    # Nothing is lost, the app stands still, and the plan says so.
    assert stored(ledger, source, f"{VOLUMES}/ledger/data") == "one two"
    assert [c["after"] for c in ledger.plan() if c["where"].startswith("app ledger")]
    _, err = ledger.ronron("move", "ledger", "--to", target, "--yes", status=1)
    assert "ronron apply starts it" in err
    ledger.ronron("apply", "--yes")
    assert eventually(lambda: says(ledger, "one two"), 120)
    assert holder(ledger, "ledger") == source
    ledger.ronron("move", "ledger", "--to", target, "--yes")
    assert words(ledger) == "one two"
    assert holder(ledger, "ledger") == target
    assert ledger.on(target, "sha256sum", big).split()[0] == digest
    assert ledger.on(target, "ls", f"{VOLUMES}/.moving") == ""
    assert ledger.plan() == []


def test_a_server_that_was_cut_off_is_fenced_and_never_merged(ledger: Operator) -> None:
    server = holder(ledger, "ledger")
    # While it answers by SSH nothing is given up: what it has is newer than any dump.
    ledger.on(server, "systemctl", "stop", "docker.socket", "docker")
    try:
        eventually(lambda: is_down(ledger, server), 120)
        _, err = ledger.ronron("failover", "ledger", "--now", "--yes", status=1)
        assert f"{server} answers, though the swarm does not reach it" in err
    finally:
        ledger.on(server, "systemctl", "start", "docker")
    eventually(lambda: not is_down(ledger, server), 120)
    (container,) = eventually(lambda: containers(ledger, server, "ledger"), 120)
    eventually(lambda: says(ledger, "one two"), 120)
    with cut_off(ledger.lab, server):
        eventually(lambda: is_down(ledger, server), 120)
        status = ledger.start("status", "--json").communicate(timeout=300)[0]
        (told,) = [a for a in json.loads(status)["apps"] if a["name"] == "ledger"]
        assert "ronron failover ledger" in told["problem"]
        _, err = ledger.ronron("failover", "ledger", "--yes", status=2)
        assert f"{server} has been gone for" in err
        _, err = ledger.ronron("failover", "ledger", "--now", status=2)
        assert "newest dump, on the storage server, is" in err
        assert "add --yes" in err
        out, _ = ledger.ronron("failover", "ledger", "--now", "--yes", "--json")
        (database,) = json.loads(out)["databases"]
        assert (database["from"], database["database"]) == (server, "db")
        assert database["to"] != server
        assert words(ledger) == "one"
        assert words(ledger, "/add?three") == "one three"
        # The other side takes writes all the while.
        add = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/add?lost')"
        ledger.on(server, "docker", "exec", container, "python3", "-c", add)
    eventually(lambda: not is_down(ledger, server), 120)
    eventually(lambda: not containers(ledger, server, "ledger"), 120)
    (change,) = [c for c in ledger.plan() if c["why"] == "failed over: this copy is out of date"]
    assert change["before"] == f"{VOLUMES}/ledger/data"
    ledger.ronron("apply", "--yes")
    assert stored(ledger, server, change["after"]) == "one two lost"
    assert words(ledger) == "one three"
    assert ledger.plan() == []
    status = json.loads(ledger.ronron("status", "--json")[0])
    assert {"why": "fenced", "path": str(Path(change["after"]).parent)}.items() <= next(
        copy for copy in status["copies"] if copy["server"] == server
    ).items()


def test_the_manager_brings_up_the_database_of_a_dead_server(ledger: Operator) -> None:
    settings = ledger.folder / "ronron.yml"
    before = settings.read_text()
    failover: dict[str, Any] = {"after": "1s", "automatic": True}
    change = Change(("storage",), {"failover": failover})
    settings.write_text(yamltext.apply(before, [change], "ronron.yml"))
    job = ("systemctl", "start", "ronron-failover.service")
    server = holder(ledger, "ledger")
    # The dump is lost as well: the newest snapshot has it.
    ledger.on("manager", "rm", "/srv/ronron/backups/ledger/db.dump")
    try:
        ledger.ronron("apply", "--yes")
        lab.stop_server(ledger.lab, server)
        eventually(lambda: is_down(ledger, server), 120)
        ledger.on("manager", *job)
        assert words(ledger) == "one"
        lab.start_server(ledger.lab, server)
        eventually(lambda: not is_down(ledger, server), 120)
        ledger.on("manager", *job)
        (old,) = ledger.on(server, "sh", "-c", f"ls -d {VOLUMES}/.fenced/ledger-*/data").split()
        assert stored(ledger, server, old) == "one two"
        assert words(ledger) == "one"
    finally:
        lab.start_server(ledger.lab, server)
        eventually(lambda: not is_down(ledger, server), 120)
        settings.write_text(before)
        ledger.ronron("apply", "--yes")
    assert ledger.plan() == []


def test_databases_that_are_files_come_up_elsewhere_too(kept: Operator, stores: str) -> None:
    """SQLite's and Redis': no program of theirs loads them over the network."""
    keep(kept, "dumped")
    kept.ronron("backup", stores)
    keep(kept, "lost")
    volumes = {name: holder(kept, stores, name) for name in ("notes", "memory")}
    (server,) = set(volumes.values())
    lab.stop_server(kept.lab, server)
    try:
        eventually(lambda: is_down(kept, server), 120)
        out, _ = kept.ronron("failover", stores, "--now", "--yes", "--json")
        assert {one["from"] for one in json.loads(out)["databases"]} == {server}
        assert kept_words(kept) == ("dumped", "dumped")
    finally:
        lab.start_server(kept.lab, server)
        eventually(lambda: not is_down(kept, server), 120)
        kept.ronron("apply", "--yes")
    assert kept_words(kept) == ("dumped", "dumped")
    kept.ronron("move", stores, "--forget", "--yes")
    assert kept.plan() == []


def test_a_volume_whose_class_changes_takes_its_data_along(ledger: Operator) -> None:
    source, path = holder(ledger, "ledger"), f"{VOLUMES}/ledger/data"
    recipe = ledger.folder / "recipes" / "ledger" / "stack.yml"
    text = recipe.read_text()
    files = text.replace("class: database", "class: files")
    try:
        # What does not start there runs as before, with its data where it was.
        recipe.write_text(files.replace("/ledger.py]\n    user", "/nothing.py]\n    user"))
        line = ("upgrade", "ledger", "--yes", "--timeout", "20")
        _, err = ledger.ronron(*line, status=1)
        assert "ledger: its data was not moved" in err
        eventually(lambda: says(ledger, "one two"), 120)
        recipe.write_text(text)
        assert holder(ledger, "ledger") == source
        assert ledger.plan() == []

        recipe.write_text(files)
        (change,) = [c for c in ledger.plan() if c["field"] == "volumes.data"]
        assert (change["before"], change["after"]) == (f"{source}:{path}", f"manager:{path}")
        ledger.ronron("apply", "--yes")
        assert words(ledger) == "one two"
        assert words(ledger, "/add?three") == "one two three"
        assert holder(ledger, "ledger") == "manager"
        (old,) = ledger.on(source, "sh", "-c", f"ls -d {VOLUMES}/.moved/ledger-*/data").split()
        assert stored(ledger, source, old) == "one two"
        assert ledger.plan() == []

        recipe.write_text(text)
        (change,) = [c for c in ledger.plan() if c["field"] == "volumes.data"]
        assert change["why"] == "files becomes database"
        ledger.ronron("apply", "--yes")
        assert words(ledger) == "one two three"
        assert holder(ledger, "ledger") == "manager"
        assert ledger.plan() == []
    finally:
        recipe.write_text(text)


LIMITED = """
apt-get install -y -q btrfs-progs > /dev/null
truncate -s 300M /srv/limited.img && mkfs.btrfs -q -f /srv/limited.img
"""


@pytest.fixture
def limited(ledger: Operator) -> Iterator[Operator]:
    """The folder of an app `limited` is on btrfs, on both workers."""
    folder = "/srv/ronron/volumes/limited"
    workers = ("worker-1", "worker-2")
    for server in workers:
        ledger.on(server, "sh", "-ec", LIMITED)
        ledger.mount(server, "/srv/limited.img", folder)
    try:
        yield ledger
    finally:
        ledger.ronron("remove", "limited", "--yes")
        (ledger.folder / "vault" / "limited.age").unlink(missing_ok=True)
        for server in workers:
            ledger.on(server, "sh", "-c", "umount $1; rm /srv/limited.*; rmdir $1", "sh", folder)


def fill(operator: Operator, server: str, size: int) -> bool:
    """Whether so many MiB can be written into the limited volume; they are deleted again."""
    script = "dd if=/dev/urandom of=$1/x bs=1M count=$2 conv=fsync && s=0 || s=1; rm $1/x; echo $s"
    words = ("sh", "-c", script, "sh", f"{VOLUMES}/limited/data", str(size))
    return operator.on(server, *words).endswith("0")


def test_a_volume_has_a_quota_that_can_be_raised(limited: Operator) -> None:
    apps = limited.folder / "apps"
    (apps / "limited.yml").write_text("recipe: ledger\nvolumes: {data: {quota: 8M}}\n")
    (apps / "ledger.yml").write_text("recipe: ledger\nvolumes: {data: {quota: 8M}}\n")
    _, err = limited.ronron("plan")
    assert f"ledger: data has no quota on {holder(limited, 'ledger')}: overlay has none" in err
    limited.ronron("apply", "--yes")
    server = holder(limited, "limited").split()[0]
    assert holder(limited, "limited") == f"{server} (quota 8M)"
    assert not fill(limited, server, 20)
    assert limited.plan() == []
    (apps / "limited.yml").write_text("recipe: ledger\nvolumes: {data: {quota: 64M}}\n")
    (change,) = limited.plan()
    assert (change["before"], change["after"]) == ("8M", "64M")
    limited.ronron("apply", "--yes")
    assert fill(limited, server, 20)
    assert limited.plan() == []

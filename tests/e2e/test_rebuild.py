"""Every server is lost: new ones, `ronron rebuild`, and everything is as it was."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest
from docker.types import IPAMConfig, IPAMPool

from e2e.cloud import Operator, answers, configure, eventually, lab_alone, sql
from ronron import lab
from ronron.lab import Lab
from ronron.lab.site import write_site
from ronron.site import yamltext
from ronron.site.yamltext import Change

pytestmark = pytest.mark.lab
HEALTH = "/ghost/api/admin/site/"
CONTENT = "/srv/ronron/volumes/blog/content/images"
KEY, SECRET = "thekey", "thesecret"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An operator with three bare servers that no other test uses."""
    with lab_alone("rebuild", 3, tmp_path, monkeypatch) as operator:
        yield operator


@pytest.fixture
def far(alone: Operator, tmp_path: Path) -> Iterator[str]:
    """An S3 server that is not one of the site's: its URL, as the servers reach it."""
    client = docker.from_env()
    # A network of its own: the lab's is gone with its servers. Not one that Docker picks: on the
    # servers the same range may be that of their own bridges.
    subnet = ipaddress.ip_network((198 << 24 | 18 << 16 | (os.getpid() % 512) << 8, 24))
    pools = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))])
    network = client.networks.create(f"ronron-far-{os.getpid()}", ipam=pools)
    address = str(next(subnet.hosts()))
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    with socket.socket() as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    rclone = Path(sys.executable).parent / "rclone"
    process = subprocess.Popen(
        [rclone, "serve", "s3", "--addr", f"{address}:{port}", "--auth-key", f"{KEY},{SECRET}",
         tmp_path / "s3"]
    )  # fmt: skip

    def listens() -> bool:
        with socket.socket() as there:
            return there.connect_ex((address, port)) == 0

    try:
        eventually(listens, 30)
        yield f"s3:http://{address}:{port}/bucket/site"
    finally:
        process.terminate()
        process.wait(30)
        network.remove()
        client.close()


def git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=Admin", "-c", "user.email=admin@example.org")
    subprocess.check_call(["git", "-C", folder, *name, *words])


@contextmanager
def replaced(old: Lab) -> Iterator[Lab]:
    """The lab's servers are gone; there are new ones, in another network."""
    lab.down(old.name, keep_images=True)
    with closing(docker.from_env()) as client:
        # Docker gives the range that came free to the next who asks.
        taken = client.networks.create(f"ronron-taken-{os.getpid()}")
        try:
            found = lab.up(old.name, 3)
            assert not {one.ip for one in found.servers} & {one.ip for one in old.servers}
            yield found
        finally:
            taken.remove()


def elsewhere(operator: Operator, found: Lab, folder: Path) -> Operator:
    """Another computer, with a clone of the site's repository and no key of the vault.

    The new servers' addresses are written into it, as numbers.
    """
    site, home = folder / "clone", folder / "other-home"
    home.mkdir()
    git(folder, "clone", "--quiet", str(operator.folder), str(site))
    write_site(found, site)
    file = site / "ronron.yml"
    changes = [Change(("servers", one.name, "address"), one.ip) for one in found.servers]
    changes.append(Change(("acme", "directory"), found.acme_directory))
    file.write_text(yamltext.apply(file.read_text(), changes, "ronron.yml"))
    return Operator(found, site, home)


def test_everything_comes_back_on_new_servers(alone: Operator, far: str, tmp_path: Path) -> None:
    configure(alone, far)
    recovery_key, _ = alone.ronron("secrets", "init")
    alone.ronron("apply", "--yes")
    for name, value in (("s3_key", KEY), ("s3_secret", SECRET)):
        setting = alone.start("secrets", "set", "backup", name, "--yes", stdin=value)
        assert setting.wait() == 0
    alone.ronron("backup", "init")
    alone.deploy("ghost", "blog", "--timeout", "500")
    alone.deploy("hello", "hi")
    sql(alone, "UPDATE settings SET value = 'Before the fire' WHERE `key` = 'title'")
    alone.on("manager", "dd", "if=/dev/urandom", f"of={CONTENT}/cat.bin", "bs=1024", "count=500")
    before = alone.on("manager", "sha256sum", f"{CONTENT}/cat.bin")
    alone.ronron("backup")
    secrets = alone.ronron("secrets", "show", "blog", "--reveal", "--json")[0]

    git(alone.folder, "add", "--all")
    git(alone.folder, "commit", "--quiet", "--message", "The site")

    with replaced(alone.lab) as found:
        comes_back(elsewhere(alone, found, tmp_path), recovery_key, before, secrets)


def comes_back(operator: Operator, recovery_key: str, before: str, secrets: str) -> None:
    """The recovery key lets the operator in, and the rebuild brings everything back."""
    recovering = operator.start("secrets", "init", "--recover", stdin=recovery_key)
    assert recovering.wait() == 0
    # The operator's computer dies half-way: the blog is there, and empty.
    process = operator.start("rebuild", "--yes")
    listed = ("sh", "-c", "docker service ls --format '{{.Name}}' 2> /dev/null || true")
    eventually(lambda: "blog_db" in operator.on("manager", *listed), 600)
    process.kill()
    process.communicate()
    out, _ = operator.ronron("rebuild", "--yes", "--json")
    report = json.loads(out)
    # The other may have been done.
    assert sorted([*(one["app"] for one in report["apps"]), *report["left"]]) == ["blog", "hi"]
    assert "blog" not in report["left"]
    assert all(one["snapshot"] for one in report["apps"])
    assert report["failed"] == []
    assert 0 < report["platform_seconds"] + report["servers_seconds"] < report["seconds"]
    phases = {one["app"]: set(one["phases"]) for one in report["apps"]}
    assert phases.pop("blog") == {"deploy", "fetch", "load", "start"}
    assert phases in ({}, {"hi": {"deploy", "fetch"}})
    kept = json.loads(operator.on("manager", "cat", "/var/lib/ronron/rebuild.json"))
    assert {key: kept[key] for key in report} == report

    query = "SELECT value FROM settings WHERE `key` = 'title'"
    assert sql(operator, query) == "Before the fire"
    assert operator.on("manager", "sha256sum", f"{CONTENT}/cat.bin") == before
    assert operator.ronron("secrets", "show", "blog", "--reveal", "--json")[0] == secrets
    assert answers(operator, "blog", HEALTH)
    assert answers(operator, "hi", "/")
    assert operator.plan() == []
    sql(operator, "UPDATE settings SET value = 'After it' WHERE `key` = 'title'")
    _, err = operator.ronron("rebuild", "--yes")
    assert "blog was there and was left alone" in err
    assert sql(operator, query) == "After it"

"""The lab itself: bare servers that behave like machines, and not a trace when it is down."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import docker
import pytest

from ronron import lab
from ronron.errors import OperatorError, RonronError
from ronron.lab import Lab
from ronron.lab.model import folder, resource
from ronron.servers.connections import Connections
from ronron.servers.names import lookup

PREFIX = "labtest"
FIRST = f"{PREFIX}-{os.getpid()}-a"
SECOND = f"{PREFIX}-{os.getpid()}-b"

pytestmark = pytest.mark.lab

Traces = dict[str, set[str]]


def traces(engine: docker.DockerClient) -> Traces:
    """Everything that Docker keeps, of other labs too."""
    return {
        "containers": {str(c.name) for c in engine.containers.list(all=True, ignore_removed=True)},
        "networks": {str(n.name) for n in engine.networks.list()},
        "volumes": {str(v.name) for v in engine.volumes.list()},
    }


def volumes_of(engine: docker.DockerClient, name: str) -> set[str]:
    """The volumes of a lab's containers."""
    found = engine.containers.list(all=True, filters={"label": f"ronron.lab={name}"})
    mounts = [mount for container in found for mount in container.attrs["Mounts"]]
    return {str(mount["Name"]) for mount in mounts if mount["Type"] == "volume"}


def image_tags(engine: docker.DockerClient) -> set[str]:
    images = engine.images.list(filters={"label": "ronron.lab.image"})
    return {tag for image in images for tag in image.tags}


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        Event().wait(0.1)
    return True


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module", autouse=True)
def no_leftovers() -> Iterator[None]:
    """Remove what runs that were killed have left, and at the end what this one has."""
    for name in lab.names():
        words = name.split("-")
        if words[0] == PREFIX and not Path("/proc", words[1]).exists():
            lab.down(name, keep_images=True)
    yield
    for name in (FIRST, SECOND):
        lab.down(name, keep_images=True)


@pytest.fixture(scope="module")
def first(no_leftovers: None) -> Lab:
    return lab.up(FIRST, 2)


@pytest.fixture
def runners(first: Lab) -> Iterator[Connections]:
    with lab.connections(first) as opened:
        yield opened


def test_servers_are_bare_and_logged_in_to_by_pinned_key(runners: Connections) -> None:
    for server in ("manager", "worker-1"):
        runner = runners[server]
        assert runner.run(["systemctl", "is-system-running"], check=False).text == "running"
        assert runner.run(["python3", "-c", "print(6 * 7)"]).text == "42"
        for missing in ("docker", "chronyd", "curl", "sudo", "pip"):
            assert runner.run(["sh", "-c", f"command -v {missing}"], check=False).status != 0
        assert runner.run(["hostname"]).text == "debian"


def test_every_name_in_the_domain_is_the_managers_but_for_the_servers(first: Lab) -> None:
    manager, worker = first.servers
    assert lookup(manager.address, first.resolver) == manager.ip
    assert lookup(worker.address, first.resolver) == worker.ip
    assert lookup(f"blog.{first.domain}", first.resolver) == manager.ip
    assert lookup(f"a.b.{first.domain}", first.resolver) == manager.ip
    assert lookup(f"acme.{first.domain}", first.resolver) == first.resolver
    with pytest.raises(RonronError):
        lookup("nothing.invalid", first.resolver)


def test_servers_ask_the_labs_name_server(first: Lab, runners: Connections) -> None:
    asked = ["getent", "ahostsv4", f"blog.{first.domain}"]
    assert runners["worker-1"].run(asked).text.split()[0] == first.server("manager").ip


ASK_DIRECTORY = """
import json, ssl, sys, urllib.request
context = ssl.create_default_context(cadata=sys.argv[1])
print(json.load(urllib.request.urlopen(sys.argv[2], context=context))["newOrder"])
"""


def test_the_acme_directory_answers_over_verified_tls(first: Lab) -> None:
    argv = ["python3", "-c", ASK_DIRECTORY, first.acme_ca_pem, first.acme_directory]
    assert lab.client(first, argv) == (0, f"https://acme.{first.domain}:14000/order-plz\n")
    argv[3] = first.acme_root_pem
    status, output = lab.client(first, argv)
    assert status == 1
    assert "CERTIFICATE_VERIFY_FAILED" in output


def test_the_hosts_clock_and_kernel_are_out_of_reach(runners: Connections) -> None:
    manager = runners["manager"]
    assert manager.run(["date", "-s", "now"], check=False).status != 0
    written = manager.run(["sh", "-c", "echo 60 > /proc/sys/vm/swappiness"], check=False)
    assert b"Read-only file system" in written.stderr
    assert manager.run(["sh", "-c", "echo b > /proc/sysrq-trigger"], check=False).status != 0
    manager.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])


def test_a_server_is_itself_again_after_a_power_cut(first: Lab, runners: Connections) -> None:
    worker = runners["worker-1"]
    worker.run(["hostnamectl", "set-hostname", "renamed"])
    # As tools do that replace files whole: this fails on a file that is a mount.
    worker.put("/etc/hosts", b"127.0.0.1 localhost\n192.0.2.7 marker\n")
    worker.put("/etc/resolv.conf", b"nameserver 192.0.2.9\n")
    lab.stop_server(first, "worker-1")
    stopped = lab.find(FIRST)
    assert stopped is not None
    assert not stopped.server("worker-1").running
    assert not stopped.running
    lab.start_server(first, "worker-1")
    assert lab.find(FIRST) == first
    assert worker.run(["hostname"]).text == "renamed"
    assert worker.run(["getent", "hosts", "marker"]).text.startswith("192.0.2.7")
    assert worker.run(["cat", "/etc/resolv.conf"]).text == f"nameserver {first.resolver}"


def test_the_managers_port_80_is_reached_from_this_computer(
    first: Lab, runners: Connections
) -> None:
    import httpx

    unit = ["systemd-run", "--unit=page", "--working-directory=/srv"]
    serve = [*unit, "python3", "-m", "http.server", "80"]
    url = f"http://127.0.0.1:{first.http_port}/page"

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(url).text == "a page"
        return False

    runners["manager"].put("/srv/page", b"a page")
    runners["manager"].run(serve)
    assert eventually(answers)
    lab.stop_server(first, "manager")
    lab.start_server(first, "manager")
    runners["manager"].run(serve)
    assert eventually(answers)


def test_a_server_that_moves_is_found_by_its_name(first: Lab) -> None:
    for server in ("worker-1", "manager"):
        address = lab.move_server(first, server)
        assert address not in {each.ip for each in first.servers}
        name = first.server(server).address
        assert eventually(lambda n=name, a=address: lookup(n, first.resolver) == a)  # type: ignore[misc]
    assert eventually(lambda: lookup(f"blog.{first.domain}", first.resolver) == address)
    moved = lab.find(FIRST)
    assert moved is not None
    assert moved.server("manager").ip == address
    with lab.connections(moved) as runners:
        assert runners["manager"].run(["hostname"]).text == "debian"


def test_up_again_reuses_what_is_there_and_completes_what_is_not(
    first: Lab, engine: docker.DockerClient
) -> None:
    before = lab.find(FIRST)
    assert lab.up(FIRST) == before
    with pytest.raises(OperatorError, match="has 2 servers already"):
        lab.up(FIRST, 1)
    # As an `up` that was killed leaves it: one server missing, another created but not started.
    engine.containers.get(resource(FIRST, "worker-1")).remove(force=True, v=True)
    lab.stop_server(first, "manager")
    completed = lab.up(FIRST, 2)
    assert completed.running
    assert completed.server("manager").host_key == first.server("manager").host_key
    assert completed.server("worker-1").host_key != first.server("worker-1").host_key


def test_a_lab_without_its_key_says_what_to_do(first: Lab, tmp_path: Path) -> None:
    key = folder(FIRST)
    shutil.move(key, tmp_path / "key")
    try:
        with pytest.raises(OperatorError, match=f"ronron lab down --name {FIRST}"):
            lab.up(FIRST)
    finally:
        shutil.move(tmp_path / "key", key)


def test_a_second_lab_is_up_beside_the_first_and_leaves_nothing(
    first: Lab, engine: docker.DockerClient
) -> None:
    tags = image_tags(engine)
    second = lab.up(SECOND, 3)
    assert [server.name for server in second.servers] == ["manager", "worker-1", "worker-2"]
    assert {FIRST, SECOND} <= set(lab.names())
    assert second.acme_root_pem != first.acme_root_pem
    assert not {second.http_port, second.https_port} & {first.http_port, first.https_port}
    made = volumes_of(engine, SECOND)
    assert len(made) >= 3
    assert lab.down(SECOND)
    left = traces(engine)
    assert {
        name for kind in ("containers", "networks") for name in left[kind] if SECOND in name
    } == set()
    assert not made & left["volumes"]
    assert not folder(SECOND).exists()
    # The other lab still needs the images.
    assert image_tags(engine) == tags
    assert lab.find(SECOND) is None
    assert not lab.down(SECOND)


def ronron(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ronron", "lab", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_line_from_up_to_down(no_leftovers: None) -> None:
    name = f"--name={SECOND}"
    missing = ronron("status", name)
    assert missing.returncode == 2
    assert f"ronron lab up --name {SECOND}" in missing.stderr
    up = ronron("up", name, "--servers=1")
    assert up.returncode == 0, up.stderr
    assert f"manager.{SECOND}.localhost: start … done" in up.stderr
    status = json.loads(ronron("status", name, "--json").stdout)
    assert status["running"] is True
    assert [server["name"] for server in status["servers"]] == ["manager"]
    shell = ronron("shell", name, "manager", "--", "sh", "-c", "echo $0 ok; exit 3")
    assert (shell.stdout, shell.returncode) == ("sh ok\n", 3)
    assert "it has manager" in ronron("shell", name, "worker-7").stderr
    down = ronron("down", name, "--keep-images")
    assert (down.stdout, down.returncode) == (f"removed: {SECOND}\n", 0)
    assert ronron("down", name, "--keep-images").stdout == "there was nothing to remove\n"


def test_the_images_go_with_the_last_lab(first: Lab, engine: docker.DockerClient) -> None:
    others = set(lab.names()) - {FIRST}
    assert image_tags(engine)
    assert lab.down(FIRST)
    assert not [name for name in traces(engine)["containers"] if FIRST in name]
    assert bool(image_tags(engine)) == bool(others)


@pytest.mark.parametrize(("name", "servers"), [("No", 3), ("labtest", 0), ("labtest", 6)])
def test_a_lab_that_cannot_be_is_refused(name: str, servers: int) -> None:
    with pytest.raises(OperatorError):
        lab.up(name, servers)
    assert name not in lab.names()

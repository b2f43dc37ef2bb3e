"""Pool, NFS and quotas on Debian's own kernel: made with what was there, extended under writers."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ronron.catalog.recipe import load
from ronron.catalog.render import render
from ronron.catalog.stack import VOLUMES, Volume
from ronron.errors import OperatorError
from ronron.events import ignore
from ronron.plan.apply import members
from ronron.plan.session import open_session
from ronron.servers.connections import connections
from ronron.servers.provision.model import Change
from ronron.servers.provision.run import apply_provisioning, plan_provisioning
from ronron.site.load import LoadedSite
from ronron.site.models import App
from ronron.site.vault import Secrets
from ronron.swarm import facts, nodes, quotas, stacks, state, volumes
from ronron.swarm.engines import engine_of
from vm.machines import Machines, eventually, machines, possible

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not possible(), reason="needs root, QEMU and mmdebstrap: scripts/machines"),
]

BY_ID = "/dev/disk/by-id/virtio"
ONE, TWO, THREE = f"{BY_ID}-one", f"{BY_ID}-two", f"{BY_ID}-three"
FOUR, FIVE = f"{BY_ID}-four", f"{BY_ID}-five"
CONTENT = "/srv/ronron/volumes/blog/content"

# What takes time there and is shown elsewhere.
OPEN = """\
network: {encrypted: false}
firewall: {enabled: false}
hardening: {ssh: false, bans: false, system: false}
"""

FILL = f"""
set -e
mkdir -p {CONTENT}
cd {CONTENT}
head -c 300000 /dev/urandom >image
chown 999:998 image
chmod 640 image
ln image same
ln -s image link
truncate -s 5M sparse
mkfifo pipe
touch -d 2020-02-02 image
python3 -c 'import os; os.setxattr("image", "user.colour", b"red")'
"""
FOUND = f"""
import hashlib, os, sys
os.chdir("{CONTENT}")
about = os.stat("image")
print(hashlib.sha256(open("image", "rb").read()).hexdigest(), oct(about.st_mode), about.st_uid)
print(about.st_gid, about.st_nlink, about.st_mtime, os.getxattr("image", "user.colour"))
print(sorted(os.listdir()), os.readlink("link"), os.stat("sparse").st_size)
"""
# An image of one program, since no registry is in reach.
BOX = """
set -e
systemctl start docker
mkdir -p /tmp/box/bin
cp /bin/busybox /tmp/box/bin/busybox
tar -C /tmp/box -c . | docker import - registry.ronron.internal:5000/box:1.0 >/dev/null
docker tag registry.ronron.internal:5000/box:1.0 box
"""
# It writes until it is told to end.
WRITE = f"""
docker run --detach --name writer --volume {CONTENT}:/data box /bin/busybox sh -c '
    n=0
    while [ ! -e /data/stop ]; do
        n=$((n + 1))
        echo $n | /bin/busybox dd of=/data/written oflag=append conv=notrunc,fsync || exit 1
        /bin/busybox usleep 50000
    done
    echo $n >/data/ended'
"""


# It writes 24 MiB, and begins again until that was possible.
QUOTA = 16 << 20
UPLOADED = Volume("shop", "uploads", "files", 999, 998, "0750", ("web",), quota=QUOTA)
FILL_UP = """
docker run --detach --name filler --user 999 --volume "$1":/data box /bin/busybox sh -c '
    until /bin/busybox dd if=/dev/zero of=/data/more bs=1M count=24 conv=notrunc,fsync; do
        /bin/busybox usleep 200000
    done'
"""

# An app: each line that it writes is the name of its server.
FILES = """\
x-ronron:
  title: Files
  license: AGPL-3.0-or-later
  volumes: {data: {class: files, uid: 65534, gid: 65534, mode: "0700"}}
services:
  main:
    image: box:1.0
    user: "65534:65534"
    environment: {SERVER: "{{.Node.Hostname}}"}
    command:
      - /bin/busybox
      - sh
      - -c
      - while echo $$SERVER | /bin/busybox dd of=/data/written oflag=append conv=notrunc,fsync; do
        /bin/busybox usleep 50000; done
    healthcheck: {test: [CMD, /bin/busybox, "true"]}
    volumes: ["data:/data"]
    deploy: {resources: {limits: {memory: 32M}}}
volumes: {data: {}}
"""

STRANGER = """
set -e
ip link add stranger link eth0 type macvlan mode bridge
ip netns add stranger
ip link set stranger netns stranger
ip netns exec stranger ip address add "$1" dev stranger
ip netns exec stranger ip link set stranger up
mkdir -p /tmp/stolen
! ip netns exec stranger \\
    mount -t nfs4 -o vers=4.2,retry=0,soft "$2:/srv/ronron/exported" /tmp/stolen
"""

# Writes on the NFS mount of another server, where every write must be kept.
UPLOADS = "/srv/ronron/shared/blog/uploads"
UPLOAD = f"""
import os, time
n = 0
with open("{UPLOADS}/written", "a") as file:
    while not os.path.exists("{UPLOADS}/stop"):
        n += 1
        print(n, file=file, flush=True)
        os.fsync(file.fileno())
        time.sleep(0.05)
with open("{UPLOADS}/ended", "w") as file:
    print(n, file=file)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    wanted = {"storage": ("one", "two", "three", "four", "five"), "worker": ()}
    folder = tmp_path_factory.mktemp("machines")
    with machines(folder, wanted, OPEN, "apparmor=0 audit=0") as found:
        yield found


def applied(loaded: LoadedSite) -> list[Change]:
    with connections(loaded) as opened:
        made = apply_provisioning(loaded, opened)
    assert made.failures == (), [(str(one), one.details) for one in made.failures]
    return list(made.changes)


def refused(loaded: LoadedSite) -> list[str]:
    with connections(loaded) as opened:
        made = plan_provisioning(loaded, opened)
    assert {change.server for change in made.changes} <= {"worker"}
    return [line for one in made.failures for line in (one.message, *one.details)]


def pool(*disks: str, more: str = "") -> str:
    return f"storage:\n  shared: nfs\n  pool:\n    disks: [{', '.join(disks)}]\n{more}"


def test_disks_that_hold_something_or_the_system_are_refused(machine: Machines) -> None:
    machine.on("storage", "mkfs.ext4", "-q", "-L", "photos", FIVE)
    faults = refused(machine.site(pool("/dev/vda", FIVE, f"{BY_ID}-nine")))
    assert [fault.partition(" (")[0] for fault in faults] == [
        "storage: storage.pool.disks: /dev/vda has the system on it",
        f"storage.pool.disks: {FIVE}",
        f"storage.pool.disks: {BY_ID}-nine is not a disk there",
    ]
    assert "holds ext4 photos" in faults[1]


def test_two_disks_become_one_space_with_what_was_there(machine: Machines) -> None:
    machine.on("storage", "sh", "-c", FILL)
    before = machine.on("storage", "python3", "-c", FOUND)
    loaded = machine.site(pool(ONE, TWO))
    items = {change.item for change in applied(loaded)}
    assert {f"disk {ONE}", f"disk {TWO}", "storage pool", "/srv/ronron"} <= items
    assert machine.on("storage", "python3", "-c", FOUND) == before
    told = json.loads(
        machine.on("storage", "findmnt", "-J", "-b", "-o", "SOURCE,SIZE", "/srv/ronron")
    )
    mounted = told["filesystems"][0]
    assert mounted["source"] == "/dev/mapper/ronron-pool"
    assert int(mounted["size"]) > 3 << 30
    assert machine.on("storage", "ls", "/srv/ronron.before/volumes/blog/content").split()
    assert applied(loaded) == []


def test_the_other_server_has_the_shared_files_by_nfs_4_2(machine: Machines) -> None:
    machine.on("worker", "ls", "/srv/ronron/shared")
    mounted = ("findmnt", "-n", "-t", "nfs4", "-o", "OPTIONS,SOURCE", "/srv/ronron/shared")
    told = machine.on("worker", *mounted)
    assert "vers=4.2" in told
    assert ",hard," in told
    assert "storage:/srv/ronron/exported" in told
    table = machine.on("storage", "cat", "/proc/fs/nfsd/versions")
    assert {"-3", "-4.0", "-4.1", "+4.2"} <= set(table.split())
    exported = machine.on("storage", "exportfs", "-s")
    assert exported.split()[1].startswith(machine.machines["worker"].address + "(")
    assert len(exported.splitlines()) == 1


def test_another_computer_on_the_network_is_refused(machine: Machines) -> None:
    """It asks from the worker's network card, by an address that is no server's."""
    own = ipaddress.ip_interface(f"{machine.machines['worker'].address}/16")
    other = f"{own.ip + 100}/16"
    words = ("sh", "-c", f"({STRANGER}) 2>&1", "sh", other, machine.machines["storage"].address)
    assert "access denied" in machine.on("worker", *words)


def test_the_pool_is_extended_while_a_container_writes(machine: Machines) -> None:
    machine.on("storage", "sh", "-c", BOX)
    machine.on("storage", "sh", "-c", WRITE)
    machine.on("worker", "mkdir", "-p", UPLOADS)
    start = ("systemd-run", "--unit", "upload", "python3", "-c", UPLOAD)
    machine.on("worker", *start)
    eventually(lambda: lines(machine), 300)
    eventually(lambda: lines(machine, UPLOADS), 300)
    machine.ronron("storage", "extend", FIVE, "--erase", FIVE, "--yes")
    written(machine, CONTENT)
    written(machine, UPLOADS)
    assert "erase" not in (machine.folder / "ronron.yml").read_text()
    status = json.loads(machine.ronron("storage", "status", "--json"))["servers"][0]
    assert status["total"] > 5 << 30
    assert {disk["path"] for disk in status["disks"]} == {ONE, TWO, FIVE}
    uses = {(use["kind"], use["app"], use["name"]) for use in status["uses"]}
    assert {("volume", "blog", "content"), ("before the pool", "", "")} <= uses


def written(machine: Machines, folder: str) -> None:
    """A writer has written all the time, and goes on; then it is told to end."""
    now = len(lines(machine, folder))
    eventually(lambda: len(lines(machine, folder)) > now, 300)
    machine.on("storage", "touch", f"{folder}/stop")
    ended = ("sh", "-c", f"cat {folder}/ended || :")
    last = int(eventually(lambda: machine.on("storage", *ended), 300))
    assert lines(machine, folder) == [str(number) for number in range(1, last + 1)]


def lines(machine: Machines, folder: str = CONTENT) -> list[str]:
    """What was written there, as the storage server sees it."""
    return machine.on("storage", "sh", "-c", f"cat {folder}/written || :").split()


def test_an_app_that_reaches_its_quota_goes_on_when_that_is_raised(machine: Machines) -> None:
    limited(machine)


def test_a_quota_holds_over_nfs_too(machine: Machines) -> None:
    machine.on("worker", "sh", "-c", BOX)
    limited(machine, replace(UPLOADED, shared=True), "worker")


def limited(machine: Machines, volume: Volume = UPLOADED, writer: str = "storage") -> None:
    """A container writes more than its volume may hold, is refused, and goes on by itself."""
    storage = machine.runners["storage"]
    for command in volumes.folder_commands(volume):
        storage.run(command)
    machine.on("storage", "sh", "-c", f"head -c 2000000 /dev/zero >{volume.path}/before; sync")
    quotas.set_limit(storage, volume)
    assert facts.read(storage).quotas == {volume.path: QUOTA}
    assert facts.read(storage).cannot_limit(volume.path) == ""
    machine.on(writer, "sh", "-c", FILL_UP, "sh", volume.path)

    def said() -> str:
        text = machine.on(writer, "sh", "-c", "docker logs filler 2>&1")
        return text if "uota exceeded" in text or "No space left" in text else ""

    eventually(said, 120)
    took = int(machine.on("storage", "du", "-s", "-B1", volume.path).split()[0])
    # Over it may go what the file system needs to know where the last blocks are.
    assert QUOTA - (4 << 20) < took <= QUOTA + (64 << 10)
    with pytest.raises(OperatorError, match=r"it takes [0-9]+ bytes already"):
        quotas.set_limit(storage, replace(volume, quota=1 << 20))
    # Another volume of the same pool has its room.
    machine.on(
        "storage", "sh", "-c", f"head -c 30000000 /dev/zero >{CONTENT}/large; rm {CONTENT}/large"
    )
    quotas.set_limit(storage, replace(volume, quota=64 << 20))
    assert machine.on(writer, "docker", "wait", "filler").strip() == "0"
    assert machine.on("storage", "stat", "-c", "%a %u %g", volume.path).split() == [
        "750",
        "999",
        "998",
    ]
    assert int(machine.on("storage", "stat", "-c", "%s", f"{volume.path}/more")) == 24 << 20
    quotas.set_limit(storage, replace(volume, quota=0))
    assert facts.read(storage).quotas == {}
    machine.on(writer, "docker", "rm", "filler")
    volumes.delete_folders(storage, "shop")
    machine.on("storage", "test", "!", "-e", f"{VOLUMES}/shop")


def test_an_app_with_shared_files_moves_when_its_server_dies(
    machine: Machines, tmp_path: Path
) -> None:
    recipe = tmp_path / "files"
    recipe.mkdir()
    (recipe / "stack.yml").write_text(FILES)
    loaded = machine.site(pool(ONE, TWO, FIVE))
    with open_session(loaded, ignore) as session:
        members(session)
        stack = render(App(name="files", recipe="files"), load(recipe), loaded.site, {})
        with engine_of(session.manager) as engine:
            nodes.drain(session.manager, "storage", ignore)
            swarm = state.observe(engine)
            volumes.create(engine, session.servers, stack.volumes, swarm, ignore)
            stacks.deploy(
                engine, session.manager, stack, Secrets(), about={}, seconds=300, report=ignore
            )
            nodes.activate(session.manager, "storage", ignore)
    folder = stack.volumes[0].path
    eventually(lambda: len(lines(machine, folder)) > 20, 120)
    assert set(lines(machine, folder)) == {"worker"}
    machine.kill("worker")
    before = len(lines(machine, folder))
    eventually(lambda: lines(machine, folder)[-1] == "storage", 600)
    found = lines(machine, folder)
    assert found[:before] == ["worker"] * before, "what was written is there"
    machine.on("storage", "docker", "swarm", "leave", "--force")


def test_a_pool_that_is_not_mounted_is_mounted_as_it_is(machine: Machines) -> None:
    machine.on("storage", "docker", "rm", "--force", "writer")
    before = machine.on("storage", "python3", "-c", FOUND)
    unmount(machine)
    assert "/srv/ronron" in {change.item for change in applied(machine.site(pool(ONE, TWO, FIVE)))}
    assert machine.on("storage", "python3", "-c", FOUND) == before


@pytest.mark.parametrize(
    ("kind", "first", "second", "about"),
    [
        pytest.param(
            *("xfs", THREE, FOUR, "    filesystem: xfs\n"), id="xfs", marks=pytest.mark.long
        ),
        # What is left of the first pool is on them: they are named again.
        pytest.param(
            *("btrfs", ONE, TWO, f"    kind: btrfs\n    erase: [{ONE}, {TWO}]\n"), id="btrfs"
        ),
    ],
)
def test_other_file_systems_grow_and_limit_too(
    machine: Machines, kind: str, first: str, second: str, about: str
) -> None:
    unmount(machine)
    machine.on("storage", "vgremove", "--yes", "ronron")
    applied(machine.site(pool(first, more=about.replace(f", {TWO}", ""))))
    machine.on("storage", "mkdir", "-p", CONTENT)
    machine.on("storage", "sh", "-c", WRITE)
    eventually(lambda: lines(machine), 300)
    loaded = machine.site(pool(first, second, more=about))
    assert f"disk {second}" in {change.item for change in applied(loaded)}
    written(machine, CONTENT)
    machine.on("storage", "docker", "rm", "--force", "writer")
    assert applied(loaded) == []
    shown = machine.on("storage", "findmnt", "-nbo", "FSTYPE,SIZE", "/srv/ronron").split()
    assert shown[0] == kind
    assert int(shown[1]) > 3 << 30
    limited(machine)


def unmount(machine: Machines) -> None:
    """As on a server that was installed anew: nothing mounts the pool."""
    units = ("docker.socket", "docker", "nfs-server", "srv-ronron-shared.mount", "srv-ronron.mount")
    machine.on("storage", "systemctl", "stop", *units)
    machine.on("storage", "systemctl", "disable", "srv-ronron.mount")
    machine.on("storage", "rm", "/etc/systemd/system/srv-ronron.mount")

"""Pool and NFS on Debian's own kernel: made, with what was there, and extended under writers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ronron.servers.connections import connections
from ronron.servers.provision.model import Change
from ronron.servers.provision.run import apply_provisioning, plan_provisioning
from ronron.site.load import LoadedSite
from vm.machines import Machines, eventually, machines, possible

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not possible(), reason="needs root, QEMU and mmdebstrap: scripts/machines"),
]

BY_ID = "/dev/disk/by-id/virtio"
ONE, TWO, THREE = f"{BY_ID}-one", f"{BY_ID}-two", f"{BY_ID}-three"
FOUR, FIVE = f"{BY_ID}-four", f"{BY_ID}-five"
CONTENT = "/srv/ronron/volumes/blog/content"

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
# A container of one program, since no registry is in reach. It writes until it is told to end.
WRITE = f"""
set -e
mkdir -p /tmp/box/bin
cp /bin/busybox /tmp/box/bin/busybox
tar -C /tmp/box -c . | docker import - box >/dev/null
docker run --detach --name writer --volume {CONTENT}:/data box /bin/busybox sh -c '
    n=0
    while [ ! -e /data/stop ]; do
        n=$((n + 1))
        echo $n | /bin/busybox dd of=/data/written oflag=append conv=notrunc,fsync || exit 1
        /bin/busybox usleep 50000
    done
    echo $n >/data/ended'
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
    with machines(tmp_path_factory.mktemp("machines"), wanted) as found:
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


def ronron(folder: Path, *arguments: str) -> str:
    argv = [sys.executable, "-m", "ronron", "--site", str(folder), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def test_the_pool_is_extended_while_a_container_writes(machine: Machines) -> None:
    machine.on("storage", "sh", "-c", WRITE)
    machine.on("worker", "mkdir", "-p", UPLOADS)
    start = ("systemd-run", "--unit", "upload", "python3", "-c", UPLOAD)
    machine.on("worker", *start)
    eventually(lambda: lines(machine), 300)
    eventually(lambda: lines(machine, UPLOADS), 300)
    ronron(machine.folder, "storage", "extend", FIVE, "--erase", FIVE, "--yes")
    now = len(lines(machine))
    eventually(lambda: len(lines(machine)) > now, 300)
    uploads = len(lines(machine, UPLOADS))
    eventually(lambda: len(lines(machine, UPLOADS)) > uploads, 300)
    for folder, why in ((CONTENT, "docker logs writer"), (UPLOADS, "true")):
        machine.on("storage", "touch", f"{folder}/stop")
        ended = f"cat {folder}/ended || {why} >&2"
        last = int(eventually(lambda ended=ended: machine.on("storage", "sh", "-c", ended), 300))  # type: ignore[misc]
        assert lines(machine, folder) == [str(number) for number in range(1, last + 1)]
    assert "erase" not in (machine.folder / "ronron.yml").read_text()
    status = json.loads(ronron(machine.folder, "storage", "status", "--json"))["servers"][0]
    assert status["total"] > 5 << 30
    assert [disk["path"] for disk in status["disks"]] == [ONE, FIVE, TWO]
    uses = {(use["kind"], use["app"], use["name"]) for use in status["uses"]}
    assert {("volume", "blog", "content"), ("before the pool", "", "")} <= uses


def lines(machine: Machines, folder: str = CONTENT) -> list[str]:
    """What was written there, as the storage server sees it."""
    return machine.on("storage", "sh", "-c", f"cat {folder}/written || :").split()


def test_a_pool_that_is_not_mounted_is_mounted_as_it_is(machine: Machines) -> None:
    machine.on("storage", "docker", "rm", "--force", "writer")
    before = machine.on("storage", "python3", "-c", FOUND)
    unmount(machine)
    assert "/srv/ronron" in {change.item for change in applied(machine.site(pool(ONE, TWO, FIVE)))}
    assert machine.on("storage", "python3", "-c", FOUND) == before


def test_btrfs_grows_too(machine: Machines) -> None:
    unmount(machine)
    machine.on("storage", "vgremove", "--yes", "ronron")
    btrfs = "    kind: btrfs\n"
    applied(machine.site(pool(THREE, more=btrfs)))
    loaded = machine.site(pool(THREE, FOUR, more=btrfs))
    assert [change.item for change in applied(loaded)] == [f"disk {FOUR}"]
    assert applied(loaded) == []
    assert int(machine.on("storage", "findmnt", "-nbo", "SIZE", "/srv/ronron")) > 3 << 30


def unmount(machine: Machines) -> None:
    """As on a server that was installed anew: nothing mounts the pool."""
    units = ("docker.socket", "docker", "nfs-server", "srv-ronron-shared.mount", "srv-ronron.mount")
    machine.on("storage", "systemctl", "stop", *units)
    machine.on("storage", "systemctl", "disable", "srv-ronron.mount")
    machine.on("storage", "rm", "/etc/systemd/system/srv-ronron.mount")

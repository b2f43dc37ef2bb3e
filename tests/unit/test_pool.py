"""The pool as pure values: what is refused, the steps to it, and the commands of each."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ronron.errors import OperatorError, SiteError
from ronron.servers.facts import Entry
from ronron.servers.provision.model import Declared, Pool, Run, Step, WriteFile
from ronron.servers.provision.steps import query, steps
from ronron.servers.storage import commands, units
from ronron.servers.storage.pool import LEAST, refused
from ronron.servers.storage.seen import BlockDevice, PoolFacts, Signature, StorageFacts
from ronron.site import edit
from unit.test_servers_steps import BARE, DECLARED, carried_out

ONE, TWO = "/dev/disk/by-id/ata-ONE", "/dev/disk/by-id/ata-TWO"
UUID = "6d0c8b54-6a5b-5e1f-9a51-f1d1d1a4a6a0"
LVM = Pool((ONE, TWO), "lvm", "ext4", (), UUID)
BTRFS = replace(LVM, kind="btrfs", filesystem="btrfs")
BLANK = {
    ONE: BlockDevice("/dev/sdb", 2 * LEAST),
    TWO: BlockDevice("/dev/sdc", 2 * LEAST),
}
MODULES = frozenset({"dm_mod", "ext4", "xfs", "btrfs"})
MADE = PoolFacts(
    "lvm", ("/dev/sdb", "/dev/sdc"), volume=True, filesystem="ext4", uuid=UUID, mounted=True
)


def storage(**other: BlockDevice) -> StorageFacts:
    return StorageFacts(disks={**BLANK, **{f"/dev/{name}": disk for name, disk in other.items()}})


def found(pool: Pool, seen: StorageFacts) -> list[Step]:
    """The steps of the pool on a server that is provisioned but for it."""
    plain = replace(DECLARED, pool=None)
    facts = carried_out(steps(plain, BARE), BARE)
    entries = dict(facts.entries)
    if seen.pool.mounted:
        for path, text in (
            (units.MOUNT, units.mount(seen.pool.uuid, pool.filesystem)),
            (units.DOCKER, units.docker()),
        ):
            written = WriteFile(path, text)
            entries |= carried_out([Step(written, ())], facts).entries
        entries |= {units.WANTED: Entry(0o644), str(Path(units.DOCKER).parent): Entry(0o755)}
    facts = replace(facts, storage=seen, modules=MODULES, entries=entries)
    return steps(replace(plain, pool=pool), facts)


def argvs(pool: Pool, seen: StorageFacts) -> list[tuple[str, ...]]:
    runs = [step.action for step in found(pool, seen) if isinstance(step.action, Run)]
    return [argv for run in runs for argv in run.commands]


def faults(pool: Pool, seen: StorageFacts) -> list[str]:
    facts = replace(BARE, storage=seen, modules=MODULES)
    return [str(one) for one in refused(pool, facts)]


def test_two_blank_disks_become_one_volume_that_is_mounted_before_docker_starts() -> None:
    assert argvs(LVM, storage()) == [
        ("vgcreate", "ronron", "/dev/sdb", "/dev/sdc"),
        (
            *("lvcreate", "--yes", "--wipesignatures", "y", "--extents", "100%FREE"),
            *("--name", "pool", "ronron"),
        ),
        (
            *("mkfs.ext4", "-q", "-L", "ronron", "-U", UUID, "-O", "project,quota"),
            *("-E", "quotatype=prjquota", "-m", "1", "/dev/ronron/pool"),
        ),
        ("python3", "-", UUID),
    ]
    written = {
        step.action.path: step.action.content
        for step in found(LVM, storage())
        if isinstance(step.action, WriteFile)
    }
    assert f"What=/dev/disk/by-uuid/{UUID}\n" in written[units.MOUNT]
    assert "RequiresMountsFor=/srv/ronron\n" in written[units.DOCKER]


def test_btrfs_is_one_file_system_over_all_disks() -> None:
    assert argvs(BTRFS, storage()) == [
        (
            *("mkfs.btrfs", "--quiet", "--label", "ronron", "--uuid", UUID, "--data", "single"),
            *("/dev/sdb", "/dev/sdc"),
        ),
        ("python3", "-", UUID),
    ]


def test_xfs_is_made_with_the_pools_uuid() -> None:
    assert commands.make_filesystem("xfs", UUID) == (
        ("mkfs.xfs", "-q", "-L", "ronron", "-m", f"uuid={UUID}", "/dev/ronron/pool"),
    )


@pytest.mark.parametrize("pool", [LVM, BTRFS])
def test_a_pool_that_is_made_and_mounted_changes_nothing(pool: Pool) -> None:
    made = replace(MADE, kind=pool.kind, filesystem=pool.filesystem)
    seen = replace(storage(), pool=made, mount="/dev/mapper/ronron-pool")
    assert found(pool, seen) == []
    assert faults(pool, seen) == []


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (
            LVM,
            [
                ("vgextend", "ronron", "/dev/sdc"),
                ("lvextend", "--extents", "+100%FREE", "ronron/pool"),
                ("resize2fs", "/dev/ronron/pool"),
            ],
        ),
        (
            replace(LVM, filesystem="xfs"),
            [
                ("vgextend", "ronron", "/dev/sdc"),
                ("lvextend", "--extents", "+100%FREE", "ronron/pool"),
                ("xfs_growfs", "/srv/ronron"),
            ],
        ),
        (BTRFS, [("btrfs", "device", "add", "/dev/sdc", "/srv/ronron")]),
    ],
)
def test_one_more_disk_extends_the_pool_where_it_is_mounted(
    pool: Pool, expected: list[tuple[str, ...]]
) -> None:
    made = replace(MADE, kind=pool.kind, filesystem=pool.filesystem, members=("/dev/sdb",))
    seen = replace(storage(), pool=made, mount="/dev/sdb")
    assert argvs(pool, seen) == expected


@pytest.mark.parametrize(
    ("pool", "first"),
    [
        (PoolFacts("lvm", ("/dev/sdb", "/dev/sdc"), free=LEAST), "lvcreate"),
        (PoolFacts("lvm", ("/dev/sdb", "/dev/sdc"), volume=True), "mkfs.ext4"),
        (replace(MADE, mounted=False), "python3"),
        (replace(MADE, free=LEAST), "lvextend"),
        (replace(MADE, grown=False), "resize2fs"),
    ],
)
def test_what_was_interrupted_is_finished(pool: PoolFacts, first: str) -> None:
    seen = replace(storage(), pool=pool, mount="/dev/ronron/pool" if pool.mounted else "")
    assert argvs(LVM, seen)[0][0] == first
    assert faults(LVM, seen) == []


HOLDING = BlockDevice(
    "/dev/sdb",
    2 * LEAST,
    (Signature("/dev/sdb", "gpt"), Signature("/dev/sdb1", "ext4", "photos")),
)


def test_a_disk_that_holds_anything_is_refused_until_it_is_named_again() -> None:
    seen = StorageFacts(disks={ONE: HOLDING, TWO: BLANK[TWO]})
    assert faults(LVM, seen) == [
        f"storage.pool.disks: {ONE} (2.0 GiB) holds gpt, ext4 photos "
        f"(name another disk; to lose what is on it: erase: [{ONE}])"
    ]
    named = replace(LVM, erase=(ONE,))
    assert faults(named, seen) == []
    assert argvs(named, seen)[:3] == [
        ("wipefs", "--all", "/dev/sdb1"),
        ("wipefs", "--all", "/dev/sdb"),
        ("vgcreate", "ronron", "/dev/sdb", "/dev/sdc"),
    ]
    changes = [change for step in found(named, seen) for change in step.changes]
    told = {(one.item, one.before, one.after) for one in changes}
    assert (f"disk {ONE}", "gpt, ext4 photos, 2.0 GiB", "erased") in told


def test_a_disk_of_the_pool_is_never_erased_though_it_is_named() -> None:
    member = replace(BLANK[ONE], signatures=(Signature("/dev/sdb", "LVM2_member"),), busy=True)
    seen = StorageFacts({ONE: member, TWO: BLANK[TWO]}, MADE, "/dev/mapper/ronron-pool")
    assert argvs(replace(LVM, erase=(ONE, TWO)), seen) == []


@pytest.mark.parametrize(
    ("disk", "fault"),
    [
        (None, f"{ONE} is not a disk there (compare with ls /dev/disk/by-id on the server)"),
        (BLANK[TWO], f"{ONE} and {TWO} are the same disk (name it once)"),
        (
            replace(BLANK[ONE], system=True, busy=True),
            f"{ONE} has the system on it (name another disk)",
        ),
        (
            replace(HOLDING, busy=True),
            f"{ONE} is in use: mounted, or part of LVM, RAID or swap (nothing in use is erased: "
            "take it out of use first, or name another disk)",
        ),
        (replace(BLANK[ONE], size=LEAST // 2), f"{ONE} is too small: 0.5 GiB (at least 1.0 GiB)"),
    ],
)
def test_a_disk_that_cannot_be_used_is_refused_even_if_it_may_be_erased(
    disk: BlockDevice | None, fault: str
) -> None:
    disks = {ONE: disk, TWO: BLANK[TWO]} if disk else {TWO: BLANK[TWO]}
    seen = StorageFacts(disks=disks)
    assert faults(replace(LVM, erase=(ONE,)), seen) == [f"storage.pool.disks: {fault}"]


@pytest.mark.parametrize(
    ("wanted", "seen", "fault"),
    [
        (
            LVM,
            replace(storage(), mount="/dev/sdz1"),
            "/srv/ronron is a mount of /dev/sdz1 already (umount /srv/ronron, and remove it there)",
        ),
        (
            BTRFS,
            replace(storage(), pool=MADE),
            "it is lvm, not btrfs (change it back: a pool keeps its kind)",
        ),
        (
            replace(LVM, filesystem="xfs"),
            replace(storage(), pool=MADE),
            "it has ext4, not xfs (change it back: a pool keeps its file system)",
        ),
        (
            LVM,
            replace(storage(), pool=replace(MADE, members=(*MADE.members, "/dev/sdd"))),
            "/dev/sdd is in it too (name it under disks: no disk is taken out of a pool)",
        ),
        (
            LVM,
            replace(storage(), pool=replace(MADE, missing=1)),
            "1 of its disks are gone (attach them again; ronron storage status shows which are "
            "there)",
        ),
    ],
)
def test_a_pool_that_cannot_become_what_is_wanted_is_refused(
    wanted: Pool, seen: StorageFacts, fault: str
) -> None:
    assert faults(wanted, seen) == [f"storage.pool: {fault}"]


def test_a_kernel_that_cannot_is_refused() -> None:
    facts = replace(BARE, storage=storage(), modules=frozenset({"ext4"}))
    assert [str(one) for one in refused(LVM, facts)] == [
        "storage.pool: its kernel has no dm_mod (install the distribution's own kernel)"
    ]


def test_all_that_is_compared_is_asked_for_on_the_storage_server_alone() -> None:
    asked = query(replace(DECLARED, pool=LVM))
    assert asked.disks == (ONE, TWO)
    assert asked.modules == ("dm_mod", "ext4")
    assert {units.MOUNT, units.DOCKER} <= set(asked.files)
    assert units.WANTED in asked.folders
    assert query(DECLARED).disks == ()
    assert isinstance(DECLARED, Declared)


SITE = """\
name: my-cloud
domain: example.org
contact: admin@example.org
storage:
  # The two that came with the server.
  pool:
    disks: [/dev/sdb]   # bay one
    kind: lvm
"""


def test_a_disk_is_written_into_the_sites_file_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "ronron.yml"
    path.write_text(SITE)
    site = edit.extend_pool(tmp_path, "/dev/sdc", erase=True)
    assert site.storage.pool is not None
    assert site.storage.pool.erase == ("/dev/sdc",)
    edit.forget_erased(tmp_path, "/dev/sdc")
    assert path.read_text() == SITE.replace("[/dev/sdb]", "[/dev/sdb, /dev/sdc]")


@pytest.mark.parametrize(
    ("text", "disk", "fault"),
    [
        (SITE, "/dev/sdb", "ronron.yml: storage.pool.disks: /dev/sdb is there already"),
        (SITE.partition("storage")[0], "/dev/sdb", "ronron.yml: storage.pool: there is none"),
        (SITE, "sdb", "ronron.yml: storage.pool.disks.1: 'sdb' is not the path of a disk"),
    ],
)
def test_what_cannot_be_a_disk_of_the_pool_is_refused_before_anything(
    tmp_path: Path, text: str, disk: str, fault: str
) -> None:
    (tmp_path / "ronron.yml").write_text(text)
    with pytest.raises(OperatorError) as raised:
        edit.extend_pool(tmp_path, disk, erase=False)
    assert str(raised.value).startswith(fault)
    assert (tmp_path / "ronron.yml").read_text() == text


@pytest.mark.parametrize(
    ("pool", "fault"),
    [
        ("{disks: [/dev/sdb, /dev/sdb]}", "storage.pool.disks: /dev/sdb is there twice"),
        ("{disks: []}", "storage.pool.disks"),
        ("{disks: [/dev/../etc/passwd]}", "storage.pool.disks.0: '/dev/../etc/passwd' is not"),
        (
            "{disks: [/dev/sdb], erase: [/dev/sdc]}",
            "storage.pool.erase: /dev/sdc is not one of the pool's disks",
        ),
        (
            "{disks: [/dev/sdb], kind: btrfs, filesystem: xfs}",
            "storage.pool.filesystem: is for lvm",
        ),
    ],
)
def test_what_the_file_alone_shows_to_be_wrong(tmp_path: Path, pool: str, fault: str) -> None:
    (tmp_path / "ronron.yml").write_text(
        SITE.partition("storage")[0] + f"storage: {{pool: {pool}}}"
    )
    with pytest.raises(SiteError) as raised:
        edit.forget_erased(tmp_path, "/dev/sdz")
    assert str(raised.value).startswith(f"ronron.yml: {fault}")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_nothing_in_the_pool_is_a_device_or_has_another_users_rights(kind: str) -> None:
    (options,) = re.findall(r"^Options=(.+)$", units.mount("7", kind), re.M)
    assert {"nodev", "nosuid"} <= set(options.split(","))

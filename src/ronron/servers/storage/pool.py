"""The pool of disks: what is refused, and the steps from the disks as they are to one space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources

from ronron.servers.check import Finding
from ronron.servers.facts import Facts
from ronron.servers.provision.model import Change, Pool, Run, Step
from ronron.servers.storage import commands
from ronron.servers.storage.look import PLACE
from ronron.servers.storage.seen import BlockDevice, PoolFacts, StorageFacts
from ronron.servers.storage.units import WANTED

LEAST = 1 << 30
"""Bytes that a disk of the pool has at least."""

MODULES = {"lvm": ("dm_mod",), "ext4": ("ext4",), "xfs": ("xfs",), "btrfs": ("btrfs",)}
PACKAGES = {"ext4": ("e2fsprogs",), "xfs": ("xfsprogs",), "btrfs": ("btrfs-progs",)}
BEFORE = f"{PLACE}.before"
"""Where the folder stays that was there before the pool."""


def packages(wanted: Pool | None) -> tuple[str, ...]:
    """The packages that a pool needs."""
    if wanted is None:
        return ()
    return (*(("lvm2",) if wanted.kind == "lvm" else ()), *PACKAGES[wanted.filesystem])


def modules(wanted: Pool | None) -> tuple[str, ...]:
    """The kernel's modules that a pool needs."""
    if wanted is None:
        return ()
    return tuple(dict.fromkeys((*MODULES[wanted.kind], *MODULES[wanted.filesystem])))


def refused(wanted: Pool | None, seen: Facts) -> tuple[Finding, ...]:
    """Why the disks cannot become the pool that is wanted; then nothing is touched."""
    if wanted is None or seen.storage is None:
        return ()
    at = "storage.pool"
    lacking = [name for name in modules(wanted) if name not in seen.modules]
    return (
        *(
            Finding(f"{at}: its kernel has no {name}", "install the distribution's own kernel")
            for name in lacking
        ),
        *(
            Finding(f"{at}.disks: {message}", remedy)
            for message, remedy in _disks(wanted, seen.storage)
        ),
        *(Finding(f"{at}: {message}", remedy) for message, remedy in _whole(wanted, seen.storage)),
    )


def _disks(wanted: Pool, seen: StorageFacts) -> Iterator[tuple[str, str]]:
    first: dict[str, str] = {}
    for path in wanted.disks:
        disk = seen.disks.get(path)
        if disk is None:
            yield f"{path} is not a disk there", "compare with ls /dev/disk/by-id on the server"
            continue
        if disk.device in first:
            yield f"{first[disk.device]} and {path} are the same disk", "name it once"
            continue
        first[disk.device] = path
        if disk.device in seen.pool.members:
            continue
        if disk.system:
            yield f"{path} has the system on it", "name another disk"
        elif disk.busy:
            yield (
                f"{path} is in use: mounted, or part of LVM, RAID or swap",
                "nothing in use is erased: take it out of use first, or name another disk",
            )
        elif disk.size < LEAST:
            yield f"{path} is too small: {size(disk.size)}", f"at least {size(LEAST)}"
        elif disk.signatures and path not in wanted.erase:
            yield (
                f"{path} ({size(disk.size)}) holds {held(disk)}",
                f"name another disk; to lose what is on it: erase: [{path}]",
            )


def _whole(wanted: Pool, seen: StorageFacts) -> Iterator[tuple[str, str]]:
    pool = seen.pool
    if seen.mount and not pool.mounted:
        yield f"{PLACE} is a mount of {seen.mount} already", f"umount {PLACE}, and remove it there"
    if not pool.kind:
        return
    if pool.kind != wanted.kind:
        yield f"it is {pool.kind}, not {wanted.kind}", "change it back: a pool keeps its kind"
    elif pool.filesystem and pool.filesystem != wanted.filesystem:
        yield (
            f"it has {pool.filesystem}, not {wanted.filesystem}",
            "change it back: a pool keeps its file system",
        )
    named = {disk.device for disk in seen.disks.values()}
    for device in pool.members:
        if device not in named:
            yield f"{device} is in it too", "name it under disks: no disk is taken out of a pool"
    if pool.missing:
        yield (
            f"{pool.missing} of its disks are gone",
            "attach them again; ronron storage status shows which are there",
        )


def steps(server: str, wanted: Pool, seen: Facts) -> Iterator[Step]:
    """What is to be done until the pool is mounted and covers its disks; nothing when it does.

    `wanted` was not refused. The units that mount it are written before.
    """
    facts = seen.storage or StorageFacts()
    pool = facts.pool
    new = {p: d for p, d in facts.disks.items() if d.device not in pool.members}
    devices = tuple(disk.device for disk in new.values())

    def change(item: str, before: str, after: str, why: str = "") -> Change:
        return Change(server, item, before, after, why)

    for path, disk in new.items():
        if disk.signatures:
            erased = change(f"disk {path}", f"{held(disk)}, {size(disk.size)}", "erased")
            on = dict.fromkeys(
                [*(one.device for one in disk.signatures if one.device != disk.device), disk.device]
            )
            yield Step(Run(f"erase {path}", commands.erase(tuple(on))), (erased,))
    joined = tuple(
        change(f"disk {path}", f"not used, {size(disk.size)}", "in the pool")
        for path, disk in new.items()
    )
    kind = wanted.kind if wanted.kind == "btrfs" else f"{wanted.kind}, {wanted.filesystem}"
    made = change("storage pool", "absent", f"{kind}, at {PLACE}")
    moved = change(PLACE, "on the system's disk", "in the pool", _why(facts))
    placed = Step(
        Run(f"bring {PLACE} into the pool", (commands.move_in(_uuid(wanted, pool)),), _program()),
        () if pool.mounted and WANTED in seen.entries else (moved,),
    )
    if wanted.kind == "btrfs":
        if not pool.kind:
            yield Step(
                Run("make the pool", commands.make_btrfs(devices, wanted.uuid)), (made, *joined)
            )
        if placed.changes:
            yield placed
        if pool.kind and devices:
            yield Step(Run("extend the pool", commands.extend_btrfs(devices)), joined)
        return
    yield from _lvm(wanted, pool, devices, made, joined)
    if placed.changes:
        yield placed
    if pool.uuid and (devices or pool.free or not pool.grown):
        larger = change("storage pool", "smaller than its disks", "as large as its disks")
        grow = commands.grow(wanted.filesystem)
        yield Step(Run("grow the pool's file system", grow), (larger,))


def _lvm(
    wanted: Pool, pool: PoolFacts, devices: Sequence[str], made: Change, joined: tuple[Change, ...]
) -> Iterator[Step]:
    if not pool.kind:
        yield Step(Run("make the volume group", commands.make_group(devices)), joined)
    elif devices:
        yield Step(Run("extend the volume group", commands.extend_group(devices)), joined)
    if not pool.volume:
        yield Step(Run("make the pool", commands.make_volume()), (made,))
    elif devices or pool.free:
        yield Step(Run("extend the pool", commands.extend_volume()), ())
    if not pool.uuid:
        again = () if not pool.volume else (made,)
        make = commands.make_filesystem(wanted.filesystem, wanted.uuid)
        yield Step(Run(f"make its file system, {wanted.filesystem}", make), again)


def _uuid(wanted: Pool, pool: PoolFacts) -> str:
    return pool.uuid or wanted.uuid


def _why(facts: StorageFacts) -> str:
    if not facts.used:
        return ""
    return f"copied and compared while Docker is stopped; {BEFORE} keeps the old files"


def _program() -> str:
    return resources.files("ronron.servers.storage").joinpath("move_in.py").read_text()


def held(disk: BlockDevice) -> str:
    """What a disk holds, in words."""
    return ", ".join(str(one) for one in disk.signatures)


def size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / (1 << 30):.1f} GiB"

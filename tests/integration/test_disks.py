"""What is read from real disks: loop devices of this computer, looked at as a server's are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ronron.servers.facts import Query, facts
from ronron.servers.local import LocalRunner
from ronron.servers.storage.look import UNKNOWN
from ronron.servers.storage.seen import BlockDevice, Signature


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A blank disk of 1 GiB."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(1 << 30)
    device = run("losetup", "--find", "--show", str(file))
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


def seen(*paths: str) -> dict[str, BlockDevice]:
    storage = facts(LocalRunner(), Query(disks=paths)).storage
    assert storage is not None
    return dict(storage.disks)


def test_a_blank_disk_holds_nothing_and_what_is_no_disk_is_not_there(
    loop: str, tmp_path: Path
) -> None:
    link = tmp_path / "by-id"
    link.symlink_to(loop)
    assert seen(str(link), str(tmp_path), "/dev/no-such-disk", "/dev/null") == {
        str(link): BlockDevice(loop, 1 << 30)
    }


def test_what_a_disk_holds_is_told_with_its_label(loop: str) -> None:
    run("mke2fs", "-q", "-t", "ext4", "-L", "photos", loop)
    assert seen(loop)[loop].signatures == (Signature(loop, "ext4", "photos"),)


@pytest.mark.parametrize("place", [0, (1 << 20) - 1, (1 << 30) - (1 << 20), (1 << 30) - 1])
def test_a_disk_with_data_of_no_known_kind_is_not_blank(loop: str, place: int) -> None:
    """Such as raw data, or what plain dm-crypt has written."""
    with Path(loop).open("r+b") as disk:
        disk.seek(place)
        disk.write(b"x")
    assert seen(loop)[loop].signatures == (Signature(loop, UNKNOWN),)


def test_a_disk_that_is_mounted_is_in_use(loop: str, tmp_path: Path) -> None:
    run("mke2fs", "-q", "-t", "ext4", loop)
    place = tmp_path / "mounted"
    place.mkdir()
    run("mount", loop, str(place))
    try:
        assert seen(loop)[loop].busy
    finally:
        run("umount", str(place))
    assert not seen(loop)[loop].busy

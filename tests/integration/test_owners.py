"""Restored files given to those whom containers know by the same numbers: needs root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ronron.backup.owners import settle
from ronron.servers.local import LocalRunner
from ronron.site.userns import FIRST_ID, IDS

OTHERS = IDS + 1


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder as a snapshot of a server whose containers have the server's own users holds it."""
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    folder = tmp_path / "volume"
    (folder / "sub").mkdir(parents=True)
    for name in ("file", "sub/program", "others"):
        (folder / name).write_text(name)
    (folder / "twice").hardlink_to(folder / "file")
    (folder / "link").symlink_to("/etc/passwd")
    for name, owner in (("", 33), ("sub", 0), ("file", 33), ("sub/program", 999), ("link", 33)):
        os.lchown(folder / name, owner, owner)
    os.lchown(folder / "others", OTHERS, 33)
    (folder / "sub/program").chmod(0o4750)
    return folder


def about(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {"": folder.lstat()}
    found |= {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    return {name: (one.st_uid, one.st_gid, one.st_mode) for name, one in found.items()}


def test_owners_move_into_the_range_and_back(volume: Path) -> None:
    before, passwd = about(volume), Path("/etc/passwd").stat()
    settle(LocalRunner(), str(volume), 0, FIRST_ID)
    after = about(volume)
    assert after == {
        name: (uid if uid == OTHERS else FIRST_ID + uid, FIRST_ID + gid, mode)
        for name, (uid, gid, mode) in before.items()
    }
    assert after["sub/program"][2] & 0o7777 == 0o4750
    assert Path("/etc/passwd").stat().st_uid == passwd.st_uid
    settle(LocalRunner(), str(volume), FIRST_ID, 0)
    assert about(volume) == before

"""Folders copied from place to place with real programs, and what is said when one differs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ronron.errors import RonronError, ServerError
from ronron.servers.copying import copy as copying
from ronron.servers.local import LocalRunner


@dataclass(frozen=True)
class Meddling(LocalRunner):
    """A server on which something else is started instead of tar."""

    script: str = ""

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start the script, with the folder of `tar --directory` as its argument."""
        folder = next(word for word in argv if word.startswith("--directory=")).partition("=")[2]
        return super().start(["sh", "-c", self.script, "sh", folder, *argv])


HERE, THERE = LocalRunner("worker-1"), LocalRunner("worker-2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with about everything that one can hold."""
    root = tmp_path / "data"
    (root / "deep" / "empty").mkdir(parents=True)
    (root / "text").write_text("hello")
    (root / "text").chmod(0o640)
    os.link(root / "text", root / "deep" / "the same")
    (root / "link").symlink_to("deep/nowhere")
    (root / "new\nline, é").write_bytes(os.urandom(3_000_000))
    with (root / "holes").open("wb") as file:
        file.seek(16 << 20)
        file.write(b"end")
    os.mkfifo(root / "fifo")
    os.utime(root / "text", ns=(0, 1_234_567_890_123_456_789))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "socket"))
    root.chmod(0o750)
    return root


@pytest.mark.parametrize("target", [HERE, THERE], ids=["one server", "two servers"])
def test_a_copy_has_everything(folder: Path, tmp_path: Path, target: LocalRunner) -> None:
    to = tmp_path / "copy"
    assert copying.copy(HERE, str(folder), target, str(to), lambda _: None) == 9
    assert copying.digests(HERE, str(folder)) == copying.digests(target, str(to))
    assert (to.stat().st_mode & 0o777, (to / "text").stat().st_mode & 0o777) == (0o750, 0o640)
    assert (to / "text").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (to / "text").stat().st_ino == (to / "deep" / "the same").stat().st_ino
    assert (to / "holes").stat().st_blocks * 512 < 1 << 20
    assert copying.size(target, str(to)) < 8 << 20


def test_extended_attributes_are_kept(folder: Path, tmp_path: Path) -> None:
    try:
        os.setxattr(folder / "text", "user.colour", b"blue")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    copying.copy(HERE, str(folder), THERE, str(tmp_path / "copy"), lambda _: None)
    assert os.getxattr(tmp_path / "copy" / "text", "user.colour") == b"blue"


@pytest.mark.parametrize(
    "meddle",
    [
        'printf x >> "$1/text"',
        'rm "$1/link"',
        'touch "$1/more"',
        'chmod 0600 "$1/text"',
        'touch "$1/text"',
        'cp "$1/text" "$1/t"; mv "$1/t" "$1/deep/the same"',
        'printf x | dd of="$1/holes" bs=1 seek=1000 conv=notrunc status=none',
    ],
)
def test_whatever_differs_is_found(folder: Path, tmp_path: Path, meddle: str) -> None:
    target = Meddling("worker-2", script=f'folder=$1; shift; "$@" && set -- "$folder" && {meddle}')
    with pytest.raises(RonronError, match="did not arrive whole on worker-2"):
        copying.copy(HERE, str(folder), target, str(tmp_path / "copy"), lambda _: None)


def test_a_copy_that_breaks_off_is_none(folder: Path, tmp_path: Path) -> None:
    full = Meddling("worker-2", script="head -c 100000 > /dev/null; echo disk full >&2; exit 3")
    with pytest.raises(ServerError, match="worker-2: tar ended with status 3") as caught:
        copying.copy(HERE, str(folder), full, str(tmp_path / "copy"), lambda _: None)
    assert caught.value.details == ("disk full",)
    cut = Meddling("worker-1", script='shift; "$@" | head -c 100000; exit 255')
    with pytest.raises(ServerError, match="tar ended with status"):
        copying.copy(cut, str(folder), THERE, str(tmp_path / "again"), lambda _: None)


def test_room_and_size_are_asked_for_before(folder: Path, tmp_path: Path) -> None:
    assert 3_000_000 < copying.size(HERE, str(folder)) < 8 << 20
    there = os.statvfs(tmp_path)
    room = copying.free(HERE, str(tmp_path / "not" / "there" / "yet"))
    assert room == pytest.approx(there.f_bavail * there.f_frsize, rel=0.2)
    with pytest.raises(ServerError):
        copying.size(HERE, str(tmp_path / "nothing"))

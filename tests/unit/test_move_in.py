"""What was in the folder is brought into the pool; a run that is killed is begun again.

Folders stand for file systems here: to mount the pool is to rename its folder.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ronron.servers.storage import move_in


class Killed(BaseException):
    """The program is gone."""


@dataclass
class Server:
    """A server with a folder that holds a file, and a pool that holds nothing."""

    folder: Path

    def __post_init__(self) -> None:
        for path in (self.place, self.pool):
            path.mkdir()
        self.write("one")

    @property
    def place(self) -> Path:
        return self.folder / "ronron"

    @property
    def pool(self) -> Path:
        return self.folder / "pool"

    def write(self, text: str) -> None:
        """An app writes into the folder."""
        (self.place / "app").mkdir(exist_ok=True)
        (self.place / "app" / "file").write_text(text)

    def run(self, *argv: str) -> None:
        """A command of the program's."""
        if argv[0] == "mount":
            self.pool.rename(argv[2])
        elif argv[0] == "umount":
            Path(argv[1]).rename(self.pool)
            Path(argv[1]).mkdir()
        else:
            subprocess.run(argv, check=True)

    def holds(self) -> dict[str, str]:
        """The files in the pool."""
        found = (path for path in self.pool.rglob("*") if path.is_file())
        return {str(path.relative_to(self.pool)): path.read_text() for path in found}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server(tmp_path)
    monkeypatch.setattr(move_in, "PLACE", found.place)
    monkeypatch.setattr(move_in, "BEFORE", tmp_path / "before")
    monkeypatch.setattr(move_in, "ASIDE", tmp_path / "aside")
    monkeypatch.setattr(move_in, "_run", found.run)
    return found


def killed_at(monkeypatch: pytest.MonkeyPatch, name: str, argument: str) -> None:
    """Run it, and kill it where it is about to do `name` (of pathlib's) with `argument`."""
    real = getattr(Path, name)

    def dying(self: Path, *arguments: object, **more: object) -> object:
        if argument in {one.name for one in (self, *arguments) if isinstance(one, Path)}:
            raise Killed
        return real(self, *arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Path, name, dying)
        with pytest.raises(Killed):
            move_in._take_in("/dev/pool")


def done(server: Server, text: str) -> None:
    assert server.holds() == {"app/file": text}
    assert (server.folder / "before" / "app" / "file").read_text() == text
    assert list(server.place.iterdir()) == []


def test_what_was_there_is_in_the_pool_and_kept(server: Server) -> None:
    move_in._take_in("/dev/pool")
    done(server, "one")


@pytest.mark.parametrize("where", [move_in.COMPARED, "before"])
def test_a_run_that_was_killed_before_the_folder_was_put_aside_is_begun_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Apps go on meanwhile: what they wrote is in the pool then."""
    killed_at(monkeypatch, "rename", where)
    assert (server.place / "app" / "file").read_text() == "one"
    server.write("two")
    move_in._take_in("/dev/pool")
    done(server, "two")


def test_a_run_that_was_killed_after_the_folder_was_put_aside_is_finished(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(monkeypatch, "unlink", move_in.COMPARED)
    move_in._take_in("/dev/pool")
    done(server, "one")


def test_a_pool_that_came_with_files_is_not_written_over(server: Server) -> None:
    (server.pool / "other").write_text("other")
    with pytest.raises(SystemExit, match="both hold files"):
        move_in._take_in("/dev/pool")
    assert server.holds() == {"other": "other"}

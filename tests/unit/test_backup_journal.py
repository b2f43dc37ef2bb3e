"""A restore that was interrupted at any point: the live data comes back; and files that travel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ronron.backup import dump, journal
from ronron.backup.journal import Journal, Swap
from ronron.errors import ServerError
from ronron.servers.local import LocalRunner


@pytest.fixture
def swap(tmp_path: Path) -> Swap:
    live, new = tmp_path / "live", tmp_path / "work" / "new"
    for folder, words in ((live, "live"), (new, "new")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(words)
    return Swap("here", str(live), str(new), str(tmp_path / "replaced" / "app" / "data"))


def words(folder: str) -> str:
    path = Path(folder) / "file"
    return path.read_text() if path.exists() else ""


def test_folders_change_places_and_back(swap: Swap) -> None:
    runner = LocalRunner()
    journal.exchange(runner, swap)
    assert (words(swap.live), words(swap.old), words(swap.new)) == ("new", "live", "")
    for _ in range(2):
        journal.put_back(runner, swap)
        assert (words(swap.live), words(swap.old), words(swap.new)) == ("live", "", "new")


def test_before_and_between_the_two_moves_nothing_is_lost(swap: Swap) -> None:
    runner = LocalRunner()
    journal.put_back(runner, swap)
    assert (words(swap.live), words(swap.new)) == ("live", "new")
    Path(swap.old).parent.mkdir(parents=True)
    Path(swap.live).rename(swap.old)
    journal.put_back(runner, swap)
    assert (words(swap.live), words(swap.new)) == ("live", "new")


def test_what_the_restore_left_may_be_gone(swap: Swap) -> None:
    runner = LocalRunner()
    journal.exchange(runner, swap)
    Path(swap.new).parent.rmdir()
    journal.put_back(runner, swap)
    assert (words(swap.live), words(swap.new)) == ("live", "new")


def test_a_journal_is_kept_until_it_is_removed(
    swap: Swap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FOLDER", str(tmp_path / "restoring"))
    runner = LocalRunner()
    assert journal.read(runner) == ()
    one = Journal("blog", {"blog_web": 2}, (swap,))
    two = dataclasses.replace(one, app="wiki")
    journal.write(runner, two)
    journal.write(runner, one)
    assert journal.read(runner) == (one, two)
    journal.remove(runner, "blog")
    assert journal.read(runner) == (two,)


def test_a_dump_travels_whole_or_is_told(tmp_path: Path) -> None:
    runner, source, target = LocalRunner(), tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 20_000)
    dump.carry(runner, str(source), runner, str(target))
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    for path, place in ((tmp_path / "none", target), (source, tmp_path / "none" / "target")):
        with pytest.raises(ServerError, match="was not copied"):
            dump.carry(runner, str(path), runner, str(place))

"""The program that tries settings on a server: what is left when it is confirmed, and when not."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from ronron.errors import ServerError
from ronron.servers.defend import guard
from ronron.servers.defend.attempt import attempt
from ronron.servers.recording import RecordingRunner
from ronron.servers.refusals import CannotConnect
from ronron.servers.ssh import SshRunner

STOP = ("systemctl", "stop", "ronron-undo.timer", "ronron-undo.service", "")


@dataclass
class Server:
    """A server's files in `folder`, and the commands that were run there."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    commands: list[tuple[str, ...]] = field(default_factory=list)
    refuses: str = ""
    sshd: str = "passwordauthentication no\n"

    def __post_init__(self) -> None:
        self.rules = self.folder / "firewall.nft"
        self.monkeypatch.setattr(guard, "STATE", self.folder / "state" / "before.json")
        self.monkeypatch.setattr(guard, "RULES", str(self.rules))
        self.monkeypatch.setattr(guard, "LOADED", str(self.folder / "loaded"))
        self.monkeypatch.setattr(subprocess, "run", self.run)

    def run(
        self, argv: list[str], **options: object
    ) -> subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]:
        self.commands.append((*map(str, argv), str(options.get("input") or "")))
        refused = bool(self.refuses) and self.refuses in " ".join(map(str, argv))
        if tuple(argv) == guard.ASK_SSHD:
            return subprocess.CompletedProcess(argv, 0, self.sshd, "")
        if "text" in options:
            return subprocess.CompletedProcess(argv, int(refused), "", "no such rule")
        return subprocess.CompletedProcess(argv, 0, b"as listed", b"")

    def attempt(self, files: dict[str, str | None]) -> None:
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(files)))
        guard.attempt(60)

    def ran(self, *words: str) -> list[tuple[str, ...]]:
        return [one for one in self.commands if one[: len(words)] == words]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


def test_what_is_confirmed_stays(server: Server) -> None:
    server.rules.write_text("old")
    server.attempt({str(server.rules): "new"})
    assert (guard.NFT, "-f", "-", "new") in server.commands
    guard.confirm()
    assert server.rules.read_text() == "new"
    assert (server.folder / "loaded").read_text() == "as listed"
    assert server.commands.count(STOP) == 2  # what an earlier attempt left, and the timer
    guard.undo()
    assert server.rules.read_text() == "new"


def test_the_way_back_is_there_before_anything_is_loaded(server: Server) -> None:
    server.attempt({str(server.rules): "new"})
    (timer,) = server.ran("systemd-run")
    assert "--on-active=60" in timer
    assert timer[-2] == "undo"
    assert {"--collect", "--property=Restart=on-failure"} <= {*timer}
    assert server.commands.index(STOP) < server.commands.index(timer)
    (load,) = server.ran(guard.NFT, "-f")
    assert server.commands.index(timer) < server.commands.index(load)


def test_what_nobody_confirms_is_undone(server: Server) -> None:
    settings = server.folder / "00-ronron.conf"
    server.rules.write_text("old")
    server.attempt({str(server.rules): "new", str(settings): "AllowUsers nobody\n"})
    guard.undo()
    assert server.rules.read_text() == "old"
    assert not settings.exists()
    assert server.ran(guard.NFT, "-f")[-1][-1] == "old"
    with pytest.raises(SystemExit, match="undone already"):
        guard.confirm()


def test_a_firewall_where_there_was_none_is_taken_away(server: Server) -> None:
    server.attempt({str(server.rules): "new"})
    guard.undo()
    assert not server.rules.exists()
    assert server.ran(guard.NFT, "-f")[-1][-1] == guard.NO_RULES


def test_a_refused_file_is_not_taken_and_nothing_is_loaded(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.rules.write_text("old")
    server.refuses = f"{guard.NFT} -c"
    with pytest.raises(SystemExit):
        server.attempt({str(server.rules): "nonsense"})
    assert server.rules.read_text() == "old"
    assert server.ran(guard.NFT, "-f") == []
    assert "no such rule" in capsys.readouterr().err
    assert not guard.STATE.exists()


def test_settings_that_sshd_does_not_read_are_not_taken(server: Server) -> None:
    settings = "PasswordAuthentication no\n"
    files = {"/etc/ssh/sshd_config.d/00-ronron.conf": settings}
    guard.check(dict(files))
    server.sshd = "passwordauthentication yes\n"
    with pytest.raises(SystemExit, match="let it begin with Include"):
        guard.check(dict(files))
    # What takes them away again need not be read.
    guard.check(dict.fromkeys(files))


def test_an_attempt_that_was_cut_off_is_undone_before_the_next(server: Server) -> None:
    server.rules.write_text("old")
    server.attempt({str(server.rules): "lost"})
    server.attempt({str(server.rules): "new"})
    guard.undo()
    assert server.rules.read_text() == "old"


def test_what_could_not_be_undone_is_undone_later(server: Server) -> None:
    server.rules.write_text("old")
    server.attempt({str(server.rules): "new"})
    server.refuses = f"{guard.NFT} -f"
    with pytest.raises(SystemExit):
        guard.undo()
    server.refuses = ""
    server.commands.clear()
    guard.undo()
    assert server.ran(guard.NFT, "-f")[-1][-1] == "old"
    assert not guard.STATE.exists()


def test_rules_that_load_no_more_do_not_keep_new_ones_away(server: Server) -> None:
    server.rules.write_text("old")
    server.attempt({str(server.rules): "lost"})
    load = guard.load

    def loading(files: guard.Files, *options: str) -> None:
        if files[str(server.rules)] == "old":
            raise SystemExit(1)
        load(files, *options)

    server.monkeypatch.setattr(guard, "load", loading)
    server.attempt({str(server.rules): "new"})
    guard.confirm()
    assert server.rules.read_text() == "new"


def test_without_a_way_back_nothing_is_kept(server: Server) -> None:
    settings = server.folder / "00-ronron.conf"
    server.refuses = "systemd-run"
    with pytest.raises(SystemExit):
        server.attempt({str(settings): "AllowUsers nobody\n"})
    assert not settings.exists()
    assert not guard.STATE.exists()


def test_what_is_being_undone_cannot_be_confirmed(server: Server) -> None:
    server.rules.write_text("old")
    server.attempt({str(server.rules): "new"})
    ended: list[str] = []

    def late() -> None:
        try:
            guard.confirm()
            ended.append("kept")
        except SystemExit:
            ended.append("undone")

    confirming, write = threading.Thread(target=late), guard.write

    def writing(path: str, text: str | None) -> None:
        if confirming.ident is None:
            confirming.start()
            confirming.join(0.2)
        write(path, text)

    server.monkeypatch.setattr(guard, "write", writing)
    guard.undo()
    confirming.join()
    assert ended == ["undone"]
    assert server.rules.read_text() == "old"


def test_a_slow_servers_ssh_may_refuse_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = RecordingRunner()
    refusals = [CannotConnect("a", "refused")]

    def proof(_: SshRunner) -> None:
        if refusals:
            raise refusals.pop()

    attempt(cast("SshRunner", runner), {"/a": "b"}, proof=proof)
    assert [call.argv[2] for call in runner.calls] == ["try", "confirm"]
    monkeypatch.setattr("ronron.servers.defend.attempt.LISTENS_SECONDS", 0.0)
    refusals += [CannotConnect("a", "refused")] * 2
    with pytest.raises(ServerError, match="they were undone"):
        attempt(cast("SshRunner", runner), {"/a": "b"}, proof=proof)
    assert runner.calls[-1].argv[2] == "undo"

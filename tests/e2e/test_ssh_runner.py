"""The SSH runner against a real sshd: what it runs, writes, forwards, and how it fails."""

import contextlib
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ronron import lab
from ronron.errors import ServerError
from ronron.lab import Lab
from ronron.servers.connections import connections_to
from ronron.servers.hostkeys import pin
from ronron.servers.refusals import CannotConnect
from ronron.servers.ssh import PAUSES, Reached, SshRunner

PREFIX = "sshtest"
NAME = f"{PREFIX}-{os.getpid()}"

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def cloud() -> Iterator[Lab]:
    for name in lab.names():
        prefix, _, process = name.partition("-")
        if prefix == PREFIX and not Path("/proc", process).exists():
            lab.down(name, keep_images=True)
    try:
        yield lab.up(NAME, 1)
    finally:
        lab.down(NAME, keep_images=True)


@pytest.fixture(scope="module")
def runner(cloud: Lab) -> Iterator[SshRunner]:
    with lab.connections(cloud) as opened:
        yield opened["manager"]


def test_words_arrive_as_they_are(runner: SshRunner) -> None:
    words = ["a b", "$HOME", "it's", '"', "*", "", "\n", "é", ";true", "--"]
    done = runner.run(["printf", "%s\\0", *words])
    assert done.stdout.decode().split("\0")[:-1] == words


def test_input_and_output_are_bytes(runner: SshRunner) -> None:
    data = bytes(range(256)) * 4096
    assert runner.run(["cat"], stdin=data).stdout == data


def test_a_failure_has_its_last_lines(runner: SshRunner) -> None:
    script = "for i in $(seq 20); do echo line $i >&2; done; exit 3"
    with pytest.raises(ServerError, match="manager: sh ended with status 3") as failure:
        runner.run(["sh", "-c", script])
    assert failure.value.details == tuple(f"line {number}" for number in range(11, 21))
    assert runner.run(["sh", "-c", "exit 255"], check=False).status == 255


def test_a_command_that_takes_too_long_is_ended_on_the_server_too(runner: SshRunner) -> None:
    with pytest.raises(ServerError, match="sleep was not done after 1 s"):
        runner.run(["sleep", "4321"], timeout=1)
    assert runner.run(["pgrep", "-f", "^sleep 4321"], check=False).status == 1


def test_output_is_streamed_as_it_comes(runner: SshRunner) -> None:
    lines = runner.stream(["sh", "-c", "echo one; echo two >&2; read x < /run/go; echo three"])
    runner.run(["mkfifo", "/run/go"])
    assert [next(lines), next(lines)] == ["one", "two"]
    runner.run(["sh", "-c", "echo > /run/go"])
    assert list(lines) == ["three"]
    with pytest.raises(ServerError, match="status 4"):
        list(runner.stream(["sh", "-c", "exit 4"]))


def test_files_are_written_whole_or_not_at_all(runner: SshRunner) -> None:
    runner.put("/root/a file", b"one", mode=0o640)
    runner.put("/root/a file", b"two\n" * 100_000, mode=0o600)
    about = runner.run(["stat", "-c", "%a %s", "/root/a file"]).text
    assert about == "600 400000"
    with pytest.raises(ServerError, match="/nowhere/file was not written"):
        runner.put("/nowhere/file", b"")
    half = [*runner.ssh("-T"), runner.remote(["cat", "/root/a file"])]
    assert subprocess.run(half, capture_output=True, check=True).stdout == b"two\n" * 100_000
    left = runner.run(["find", "/root", "-name", "a file.*"]).text
    assert left == ""


def test_a_folder_is_made_with_its_file(runner: SshRunner) -> None:
    for _ in range(2):
        runner.put("/srv/new/file", b"x", mode=0o600, folder=0o710)
    assert runner.run(["stat", "-c", "%a", "/srv/new", "/srv/new/file"]).text == "710\n600"
    with pytest.raises(ServerError, match="/srv/none/file was not written"):
        runner.put("/srv/none/file", b"x")


def test_more_commands_at_once_than_one_connection_takes(runner: SshRunner) -> None:
    with ThreadPoolExecutor(25) as threads:
        done = threads.map(lambda i: runner.run(["sh", "-c", f"sleep 0.2; echo {i}"]), range(25))
        assert [one.text for one in done] == [str(number) for number in range(25)]


def test_a_lost_connection_is_made_anew(runner: SshRunner) -> None:
    runner.run(["true"])
    with pytest.raises(ServerError, match="the connection was lost"):
        runner.run(["pkill", "-f", "^sshd-session: root"])
    assert runner.run(["echo", "back"]).text == "back"


def test_nothing_is_left_when_the_connections_are_closed(cloud: Lab) -> None:
    with lab.connections(cloud) as opened:
        runner = opened["manager"]
        runner.run(["true"])
        control = runner.ssh()
        folder = next(word for word in control if word.startswith("ControlPath="))
        folder = folder.removeprefix("ControlPath=").strip('"')
        running = subprocess.run(["pgrep", "-f", folder], capture_output=True, check=False)
        assert running.stdout
    running = subprocess.run(["pgrep", "-f", folder], capture_output=True, check=False)
    assert not running.stdout
    assert not Path(folder).parent.exists()


def test_another_key_is_refused(cloud: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    server = cloud.server("manager")
    assert server.host_key
    pin(tmp_path / "known_hosts", "manager", [server.host_key])
    with (
        connections_to(
            [server], tmp_path / "known_hosts", resolver=cloud.resolver, key=key
        ) as opened,
        pytest.raises(CannotConnect, match="root may not log in") as refused,
    ):
        opened["manager"].run(["true"])
    assert str(key) in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.fixture
def dropping(cloud: Lab) -> Iterator[tuple[Reached, list[int]]]:
    """A way to the manager that drops as many connections as the list says, and counts them off."""
    left = [0]

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if left[0]:
                left[0] -= 1
                return
            with socket.create_connection((cloud.server("manager").ip, 22)) as there:
                back = threading.Thread(target=carry, args=(there, self.request))
                back.start()
                carry(self.request, there)
                back.join()

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as door:
        threading.Thread(target=door.serve_forever).start()
        try:
            port = door.server_address[1]
            yield replace(cloud.server("manager"), address="127.0.0.1", port=port), left
        finally:
            door.shutdown()


def test_a_server_that_drops_a_connection_is_asked_again(
    cloud: Lab, dropping: tuple[Reached, list[int]], tmp_path: Path
) -> None:
    server, left = dropping
    left[0] = 2
    host_key = cloud.server("manager").host_key
    assert host_key
    pin(tmp_path / "known_hosts", "manager", [host_key])
    with connections_to([server], tmp_path / "known_hosts", key=cloud.ssh_key) as opened:
        assert opened["manager"].run(["echo", "here"]).text == "here"
    assert left == [0]
    left[0] = 100
    with (
        connections_to([server], tmp_path / "known_hosts", key=cloud.ssh_key) as opened,
        pytest.raises(CannotConnect, match=r"no connection to .* closed by remote"),
    ):
        opened["manager"].run(["true"])
    assert left == [100 - 1 - len(PAUSES)]


def test_where_nobody_answers_is_said(cloud: Lab, tmp_path: Path) -> None:
    server = replace(cloud.server("manager"), port=2)
    with (
        connections_to([server], tmp_path / "known_hosts", resolver=cloud.resolver) as opened,
        pytest.raises(CannotConnect) as refused,
    ):
        opened["manager"].run(["true"])
    place = f"{server.address} ({server.ip}) port 2"
    assert f"manager: no connection to {place}" in str(refused.value)
    assert "Connection refused" in str(refused.value)

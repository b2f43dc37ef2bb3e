"""`init`, `schema`, `inventory` and the `server` commands, as they are typed."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from ronron.cli import main
from ronron.servers.hostkeys import HostKey, pinned
from ronron.site.load import load_site
from ronron.site.vault import Secrets, Vault, recipient_of

SITE = """\
name: my-cloud
domain: example.org
contact: admin@example.org
servers:
  master: {address: master.example.net, roles: [manager, storage], labels: {zone: paris}}
  worker-1: {address: 10.0.0.2, user: admin, port: 2222}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of its own, and the current folder below them."""
    for name in ("RONRON_SITE", "RONRON_KEY_FILE", "RONRON_SSH_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a site"
    folder.mkdir()
    (folder / "ronron.yml").write_text(SITE)
    (folder / "known_hosts").touch()
    monkeypatch.chdir(folder)
    return folder


def test_a_new_site_loads_teaches_and_can_keep_secrets(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--domain", "example.org", "--contact", "admin@example.org"]
    assert main.run(["init", "my-cloud", *options]) == 0
    folder = tmp_path / "my-cloud"
    loaded = load_site(folder)
    assert (loaded.site.name, loaded.site.contact) == ("my-cloud", "admin@example.org")
    assert loaded.site.servers == {}
    key = home / "ronron" / "keys" / "my-cloud.key"
    told = capsys.readouterr().out
    assert f"key made: {key}" in told
    assert "ronron deploy monitoring" in told
    assert "ronron deploy logs" in told
    assert recipient_of(key) in (folder / "recipients.txt").read_text()
    assert (folder / "known_hosts").read_text() == ""
    Vault(folder, key).write("blog", Secrets())
    schema = json.loads((folder / ".schema" / "ronron.json").read_text())
    assert "servers" in schema["properties"]
    text = (folder / "ronron.yml").read_text()
    assert text.startswith("# yaml-language-server: $schema=.schema/ronron.json\n")
    for name in schema["properties"]:
        assert f"{name}:" in text, "the file shows every key"


def test_what_a_new_site_explains_is_valid(tmp_path: Path) -> None:
    assert main.run(["init", "my-cloud"]) == 0
    path = tmp_path / "my-cloud" / "ronron.yml"
    (tmp_path / "my-cloud" / "playbooks").mkdir()
    (tmp_path / "my-cloud" / "playbooks" / "ours.yml").touch()
    lines = path.read_text().replace("servers: {}", "").splitlines()
    spread = [line.removeprefix("# ") if ":" in line or "  - " in line else line for line in lines]
    shown = "\n".join(
        line for line in spread if not line[:1].isupper() and not line.startswith(("yaml-", "#"))
    ).replace("  master:", "servers:\n  master:")
    path.write_text(shown)
    loaded = load_site(path.parent)
    assert loaded.site.manager.labels == {"zone": "paris"}
    assert loaded.site.network.mtu == 1450


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_new_site_is_a_git_repository_without_keys(tmp_path: Path) -> None:
    assert main.run(["init", "my-cloud"]) == 0
    folder = tmp_path / "my-cloud"
    (folder / "my-cloud.key").write_text("AGE-SECRET-KEY-1")
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"ronron.yml", "known_hosts", "recipients.txt", "apps/.gitkeep"} <= set(listed)
    assert "my-cloud.key" not in listed


def test_init_in_a_folder_with_files_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("ours")
    assert main.run(["init", "--name", "my-cloud"]) == 0
    assert (tmp_path / "README.md").read_text() == "ours"


def test_init_where_a_site_is(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "."]) == 2
    assert "is a ronron site already (cd into it)" in capsys.readouterr().err
    assert (site / "ronron.yml").read_text() == SITE


def test_init_with_values_that_are_none_makes_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main.run(["init", "new", "--name", "My Cloud", "--domain", "x", "--contact", "y: z"]) == 2
    )
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert not (tmp_path / "new").exists()
    assert not home.exists()


def test_two_sites_of_one_name_share_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "one", "--name", "a"]) == 0
    assert main.run(["init", "two", "--name", "a"]) == 0
    assert "key found" in capsys.readouterr().out
    assert Path("one/recipients.txt").read_text() == Path("two/recipients.txt").read_text()


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, key in (("ronron", "servers"), ("app", "recipe")):
        assert main.run(["schema", kind]) == 0
        assert key in json.loads(capsys.readouterr().out)["properties"]


def ansible_inventory(site: Path, folder: Path, *arguments: str) -> str:
    """What Ansible reads from the inventory, called as the script that the docs show."""
    script = folder / "inventory"
    command = f'exec "{sys.executable}" -m ronron.cli.main --site "{site}" inventory "$@"'
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    program = Path(sys.executable).parent / "ansible-inventory"
    done = subprocess.run(
        [str(program), "-i", str(script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout


def test_ansible_reads_the_inventory(site: Path, tmp_path: Path) -> None:
    read = json.loads(ansible_inventory(site, tmp_path, "--list"))
    assert read["managers"]["hosts"] == ["master"]
    assert read["storage"]["hosts"] == ["master"]
    assert read["workers"]["hosts"] == ["worker-1"]
    worker = read["_meta"]["hostvars"]["worker-1"]
    assert worker == json.loads(ansible_inventory(site, tmp_path, "--host", "worker-1"))
    assert worker["ansible_host"] == "10.0.0.2"
    assert worker["ansible_user"] == "admin"
    assert worker["ansible_port"] == 2222
    assert worker["ansible_become"] is True
    assert read["_meta"]["hostvars"]["master"]["ronron_labels"] == {"zone": "paris"}


def test_ssh_takes_the_inventory_s_options(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONRON_SSH_KEY", str(site / "id key"))
    (site / "id key").touch()
    assert main.run(["inventory", "--host", "master"]) == 0
    options = shlex.split(json.loads(capsys.readouterr().out)["ansible_ssh_common_args"])
    understood = subprocess.run(
        ["ssh", "-G", *options, "master"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert f"userknownhostsfile {site}/known_hosts" in understood
    assert "hostkeyalias master" in understood
    assert "stricthostkeychecking true" in understood
    assert f"identityfile {site}/id key" in understood


def test_inventory_of_no_such_host(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["inventory", "--host", "mastre"]) == 2
    assert "there is no server mastre (did you mean master?)" in capsys.readouterr().err
    assert main.run(["inventory", "--host", "master", "--list"]) == 2


def test_server_list(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["server", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["master", "master.example.net", "manager,", "storage", "root", "22"]
    assert main.run(["server", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["address"] == "10.0.0.2"


@contextmanager
def ssh_server(key: paramiko.PKey) -> Iterator[int]:
    """The port of something that shows `key` as its host key, and lets nobody in."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            try:
                transport.start_server(server=paramiko.ServerInterface(), event=threading.Event())
            except (paramiko.SSHException, EOFError):
                transport.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def host_key(key: paramiko.PKey) -> HostKey:
    return HostKey(key.get_name(), key.get_base64())


@pytest.fixture(scope="module")
def key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def empty(site: Path) -> Path:
    (site / "ronron.yml").write_text(SITE[: SITE.index("servers")])
    return site


def test_the_first_server_is_everything_and_its_key_is_pinned(
    empty: Path, key: paramiko.PKey, capsys: pytest.CaptureFixture[str]
) -> None:
    with ssh_server(key) as port:
        options = ["--name", "master", "--port", str(port), "--yes"]
        assert main.run(["server", "add", "127.0.0.1", *options]) == 0
    loaded = load_site(empty)
    assert loaded.site.manager.roles == ("manager", "worker", "storage")
    assert loaded.site.manager.port == port
    assert pinned(loaded.known_hosts, "master") == [host_key(key)]
    assert host_key(key).fingerprint in capsys.readouterr().err


def test_without_a_terminal_a_fingerprint_or_yes_is_needed(
    empty: Path, key: paramiko.PKey, capsys: pytest.CaptureFixture[str]
) -> None:
    with ssh_server(key) as port:
        command = ["server", "add", "127.0.0.1", "--name", "a", "--port", str(port)]
        assert main.run(command) == 2
        assert "(add --yes)" in capsys.readouterr().err
        assert main.run([*command, "--fingerprint", "SHA256:wrong"]) == 2
        error = capsys.readouterr().err
        assert "a: none of its host keys has the fingerprint SHA256:wrong" in error
        assert f"presented: {host_key(key).fingerprint}" in error
        assert load_site(empty).site.servers == {}
        assert (empty / "known_hosts").read_text() == ""
        assert main.run([*command, "--fingerprint", host_key(key).fingerprint]) == 0
    assert list(load_site(empty).site.servers) == ["a"]


def test_a_changed_host_key_is_shown_with_the_old_one_and_pinned_anew(
    empty: Path, key: paramiko.PKey, capsys: pytest.CaptureFixture[str]
) -> None:
    with ssh_server(key) as port:
        command = ["server", "add", "127.0.0.1", "--name", "a", "--port", str(port), "--yes"]
        assert main.run(command) == 0
        before = (empty / "ronron.yml").read_text()
    new = paramiko.ECDSAKey.generate()
    try:
        listener = socket.create_server(("127.0.0.1", port))
        listener.close()
    except OSError:
        pytest.skip("the port was taken meanwhile")
    capsys.readouterr()
    with ssh_server(new) as other:
        text = before.replace(str(port), str(other))
        (empty / "ronron.yml").write_text(text)
        command[command.index(str(port))] = str(other)
        assert main.run(command) == 0
    captured = capsys.readouterr()
    assert f"{host_key(new).fingerprint}  {new.get_name()}\n" in captured.err
    assert f"{host_key(key).fingerprint}  (pinned until now)\n" in captured.err
    assert "a pinned anew (manager, worker, storage)" in captured.out
    assert pinned(empty / "known_hosts", "a") == [host_key(new)]
    assert (empty / "ronron.yml").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["root@a.example.net"], "address: 'root@a.example.net' names a user"),
        (["10.0.0.9"], "10.0.0.9 is an IP address (name the server with --name)"),
        (["a.example.net", "--role", "manager"], "two managers (master and a)"),
        (["a", "b", "--name", "c"], "--name is for one server"),
        (["other.example.net", "--name", "master"], "servers.master: is there already"),
        (["nowhere.invalid", "--name", "a"], "nowhere.invalid: not found"),
        (["127.0.0.1", "--name", "a", "--port", "1"], "no SSH server answers on 127.0.0.1 port 1"),
    ],
)
def test_servers_that_cannot_be_added(
    site: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main.run(["server", "add", *arguments, "--yes"]) == 2
    assert said in capsys.readouterr().err
    assert (site / "ronron.yml").read_text() == SITE
    assert (site / "known_hosts").read_text() == ""


def test_check_reports_every_server_and_fails_if_one_is_bad(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "ronron.yml").write_text(
        SITE.replace("master.example.net", "nowhere.invalid").replace(
            "10.0.0.2, user: admin, port: 2222", "127.0.0.1, port: 1"
        )
    )
    assert main.run(["server", "check", "--json"]) == 1
    master, worker = json.loads(capsys.readouterr().out)
    assert (master["server"], master["fit"], master["reached"]) == ("master", False, False)
    assert "no such name" in master["findings"][0]["message"]
    assert "Connection refused" in worker["findings"][0]["message"]
    assert main.run(["server", "check", "worker-1"]) == 1
    assert "master" not in capsys.readouterr().out
    assert main.run(["server", "check", "nobody"]) == 2


def test_removing_servers(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "known_hosts").write_text("master ssh-ed25519 AAAA\nworker-1 ssh-ed25519 AAAA\n")
    assert main.run(["server", "remove", "worker-1"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main.run(["server", "remove", "master", "worker-1", "--yes"]) == 2
    assert "master is the first manager" in capsys.readouterr().err
    (site / "ronron.yml").write_text(SITE.replace("master.example.net", "nowhere.invalid"))
    assert main.run(["server", "remove", "worker-1", "--yes"]) == 1
    assert "(to remove it from ronron.yml alone, add --forget)" in capsys.readouterr().err
    assert main.run(["server", "remove", "worker-1", "--forget", "--yes"]) == 0
    assert list(load_site(site).site.servers) == ["master"]
    assert (site / "known_hosts").read_text() == "master ssh-ed25519 AAAA\n"

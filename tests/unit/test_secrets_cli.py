"""The `secrets` commands as they are typed."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from ronron.cli import main
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, identity_path

VALUE = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of its own, and the current folder below them."""
    for name in ("RONRON_SITE", "RONRON_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    assert main.run(["init", "my-cloud"]) == 0
    monkeypatch.chdir(tmp_path / "my-cloud")
    capsys.readouterr()
    return tmp_path / "my-cloud"


@pytest.fixture
def vault(site: Path) -> Vault:
    vault = Vault(site, identity_path("my-cloud"))
    values = {"db_password": VALUE, "db_root_password": f"root {VALUE}"}
    vault.write("blog", Secrets({name: Secret(value) for name, value in values.items()}))
    (site / "apps" / "blog.yml").write_text("recipe: ghost\n")
    return vault


def type_in(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


Captured = pytest.CaptureFixture[str]


def test_init_prints_a_recovery_key_once(site: Path, vault: Vault, capsys: Captured) -> None:
    assert main.run(["secrets", "init"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert re.fullmatch(r"AGE-SECRET-KEY-1[0-9A-Z]+", key)
    assert key not in said.err
    assert Vault(site, Path("/nowhere"), Secret(key)).read("blog") == vault.read("blog")
    for path in site.parent.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes()
    assert main.run(["secrets", "init"]) == 0
    assert capsys.readouterr().out == ""


def test_another_recovery_key_replaces_the_first(
    site: Path, vault: Vault, capsys: Captured
) -> None:
    keys = []
    for options in ([], ["--new-recovery-key"]):
        assert main.run(["secrets", "init", *options]) == 0
        keys.append(capsys.readouterr().out.strip())
    first, second = (Vault(site, Path("/nowhere"), Secret(key)) for key in keys)
    assert second.read("blog") == vault.read("blog")
    with pytest.raises(Exception, match="is not encrypted to the key that was given"):
        first.read("blog")
    assert main.run(["secrets", "check"]) == 0


def test_a_lost_key_is_replaced_with_the_recovery_key(
    site: Path, vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = vault.read("blog")
    main.run(["secrets", "init"])
    recovery = capsys.readouterr().out.strip()
    identity_path("my-cloud").unlink()
    type_in(monkeypatch, f"{recovery}\n")
    assert main.run(["secrets", "init", "--recover"]) == 0
    said = capsys.readouterr()
    assert recovery not in said.out + said.err
    assert identity_path("my-cloud").stat().st_mode & 0o777 == 0o600
    assert vault.read("blog") == known
    assert main.run(["secrets", "check"]) == 0


def test_a_wrong_recovery_key_changes_nothing(
    site: Path, vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity_path("my-cloud").unlink()
    for wrong in ("nonsense", f"AGE-SECRET-KEY-1{'Q' * 58}"):
        type_in(monkeypatch, wrong)
        assert main.run(["secrets", "init", "--recover"]) == 2
        assert wrong not in capsys.readouterr().err
        assert not identity_path("my-cloud").exists()


def test_a_further_computer_is_let_in_by_the_first(
    site: Path, vault: Vault, home: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONRON_KEY_FILE", str(home / "desk.key"))
    assert main.run(["secrets", "init"]) == 0
    command = capsys.readouterr().out.split()
    assert command[:4] == ["ronron", "secrets", "recipients", "add"]
    assert main.run(["secrets", "check"]) == 1
    monkeypatch.delenv("RONRON_KEY_FILE")
    assert main.run(command[1:]) == 0
    monkeypatch.setenv("RONRON_KEY_FILE", str(home / "desk.key"))
    assert main.run(["secrets", "check"]) == 0
    capsys.readouterr()
    assert main.run(["secrets", "recipients", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item["key"] for item in listed] == [vault.recipient, command[4]]
    assert main.run(["secrets", "recipients", "remove", vault.recipient, "--yes"]) == 0
    monkeypatch.delenv("RONRON_KEY_FILE")
    assert main.run(["secrets", "show", "blog", "--reveal"]) == 2


def test_values_are_shown_on_request_alone(vault: Vault, capsys: Captured) -> None:
    assert main.run(["secrets", "show", "blog"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--reveal" in said.err
    assert main.run(["secrets", "show", "blog", "db_password", "--reveal"]) == 0
    assert capsys.readouterr().out == f"{VALUE}\n"
    assert main.run(["secrets", "show", "blog", "--reveal", "--json"]) == 0
    expected = {"db_password": VALUE, "db_root_password": f"root {VALUE}"}
    assert json.loads(capsys.readouterr().out) == expected


def on_a_terminal(*words: str, typed: bytes = b"") -> str:
    """What `ronron …` says on a terminal of its own, where something is typed when it asks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ronron", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        while chunk := _read(ours):
            said += chunk
            if typed and said.rstrip().endswith(b":"):
                wait_for_silence(ours)
                line, _, typed = typed.partition(b"\n")
                os.write(ours, line + b"\n")
    finally:
        timer.cancel()
        os.close(ours)
        process.wait(10)
    return said.decode()


def wait_for_silence(terminal: int) -> None:
    """Wait until a terminal does not show what is typed."""
    deadline = time.monotonic() + 30
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert time.monotonic() < deadline, "the terminal shows what is typed"
        threading.Event().wait(0.01)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""


def test_a_terminal_sees_stars(vault: Vault) -> None:
    said = on_a_terminal("secrets", "show", "blog")
    assert "db_password" in said
    assert "***" in said
    assert VALUE not in said


def test_a_value_that_is_typed_is_not_seen(vault: Vault) -> None:
    typed = b"typed-by-hand\ntyped-by-hand\n"
    said = on_a_terminal("secrets", "set", "shop", "mail_password", typed=typed)
    assert "vault/shop.age holds mail_password" in said
    assert "typed-by-hand" not in said
    assert vault.read("shop").values["mail_password"].reveal() == "typed-by-hand"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plain", "plain"),
        ("one end of line goes\n\n", "one end of line goes\n"),
        ("by DOS\r\n", "by DOS"),
        (" $'\"\\` é 猫\ttwo\nlines", " $'\"\\` é 猫\ttwo\nlines"),
    ],
)
def test_a_value_comes_by_standard_input(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch, given: str, kept: str
) -> None:
    type_in(monkeypatch, given)
    assert main.run(["secrets", "set", "shop", "licence"]) == 0
    assert vault.read("shop").values["licence"].reveal() == kept
    said = capsys.readouterr()
    assert kept not in said.out + said.err


@pytest.mark.parametrize("given", [b"", b"\n", b"\xff\xfe", b"x" * 600_000])
def test_a_value_that_docker_would_not_take_is_refused(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch, given: bytes
) -> None:
    type_in(monkeypatch, given)
    assert main.run(["secrets", "set", "shop", "licence"]) == 2
    assert not vault.exists("shop")
    assert len(capsys.readouterr().err) < 200


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["set", "blog", "nonsense"], 2, "blog has no secret nonsense (ghost has: db_password, d"),
        (["set", "registry", "registry_key"], 2, "registry_key cannot be changed: it is made by r"),
        (["set", "blog", "Db"], 2, "blog has no secret Db"),
        (["set", "shop", "Db"], 2, "'Db' is not a secret's name"),
        (["rotate", "blog", "nonsense"], 2, "blog has no secret nonsense"),
        (["rotate", "wiki"], 2, "there is no app wiki in this site"),
        (["rotate", "registry", "--yes"], 2, "cannot be changed: it is made by ronron itself"),
        (["rotate", "proxy"], 2, "proxy: it has no secrets"),
        (["rotate", "blog"], 2, "add --yes"),
        (["rotate", "blog", "--yes"], 2, "servers: none is declared"),
        (["show", "shop"], 2, "--reveal"),
        (["show", "shop", "--reveal"], 2, "there is no such file (the vault has: blog)"),
        (["show", "blog", "x", "--reveal"], 2, "blog has no secret x (it has: db_password, db_r"),
        (["recipients", "add", "age1x"], 2, "that is not an age public key"),
        (["recipients", "remove", "age1x", "--yes"], 2, "does not list age1x"),
        (["recipients", "remove", "age1x"], 2, "add --yes"),
    ],
)
def test_mistakes_are_told_and_change_nothing(
    site: Path,
    vault: Vault,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    error: str,
) -> None:
    type_in(monkeypatch, "a new value")
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert main.run(["secrets", *words]) == status
    said = capsys.readouterr()
    assert error in said.err
    assert VALUE not in said.out + said.err
    after = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    "extra", [[VALUE], ["--", VALUE], [f"-X{VALUE}"[:3]], [f"--value={VALUE}"]]
)
def test_a_value_that_stands_in_the_command_is_refused_and_not_repeated(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    type_in(monkeypatch, "x")
    assert main.run(["secrets", "set", "shop", "licence", *extra]) == 2
    said = capsys.readouterr()
    assert "A value is never an argument" in said.err
    assert VALUE not in said.out + said.err
    assert not vault.exists("shop")


def test_an_existing_value_is_not_changed_in_the_vault_alone_by_mistake(
    site: Path, vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "apps" / "blog.yml").unlink()
    type_in(monkeypatch, "another")
    assert main.run(["secrets", "set", "blog", "db_password"]) == 2
    assert "its data may know the old db_password" in capsys.readouterr().err
    assert main.run(["secrets", "set", "blog", "db_password", "--vault-only"]) == 0
    assert vault.read("blog").values["db_password"].reveal() == "another"


def test_a_databases_password_is_one_line(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "two\nlines")
    assert main.run(["secrets", "set", "blog", "db_password", "--vault-only"]) == 2
    assert "one line of text" in capsys.readouterr().err


def test_check_finds_what_a_recipe_misses(site: Path, vault: Vault, capsys: Captured) -> None:
    assert main.run(["secrets", "check"]) == 0
    assert "1 files can be read, and no secret is missing" in capsys.readouterr().out
    vault.write("blog", vault.read("blog").without("db_root_password"))
    (site / "apps" / "news.yml").write_text("recipe: ghost\n")
    assert main.run(["secrets", "check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert [(item["file"], item["path"], item["message"]) for item in found["problems"]] == [
        ("vault/blog.age", "db_root_password", "is missing"),
        ("vault/news.age", "", "is missing, and news has secrets"),
    ]
    assert "git log -- vault/blog.age" in found["problems"][0]["remedy"]


def test_check_tries_the_recovery_key(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.run(["secrets", "init"])
    key = capsys.readouterr().out
    type_in(monkeypatch, key)
    assert main.run(["secrets", "check", "--recovery-key"]) == 0
    type_in(monkeypatch, f"AGE-SECRET-KEY-1{'Q' * 58}")
    assert main.run(["secrets", "check", "--recovery-key"]) != 0


@pytest.mark.parametrize(
    "words",
    [
        ["show", "blog", "--reveal"],
        ["set", "blog", "db_password", "--vault-only"],
        ["set", "shop", "mail_password"],
        ["recipients", "add", "age1hyzvlcwe4ntrry70prnxkj3cang7tex7a83vw9ug4tk4g8sfls0qxgd8a7"],
        ["recipients", "remove", "RECIPIENT", "--yes"],
        ["recipients", "update"],
        ["check"],
    ],
)
def test_a_lost_key_is_told_with_what_to_do(
    vault: Vault, capsys: Captured, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    known = [vault.recipient if word == "RECIPIENT" else word for word in words]
    before = vault.path("blog").read_bytes()
    vault.identity_path.unlink()
    type_in(monkeypatch, "a new value")
    assert main.run(["secrets", *known]) in (1, 2)
    said = capsys.readouterr()
    assert f"{vault.identity_path}: the site's key is missing" in said.err + said.out
    assert "ronron secrets init --recover" in said.err + said.out
    assert vault.path("blog").read_bytes() == before
    assert not vault.exists("shop")

"""The recovery sheet: all of it on one page, and no secret unless it is asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ronron.backup import sheet
from ronron.backup.repository import VAULT_NAME
from ronron.cli.main import run
from ronron.plan import recovery
from ronron.site import keys
from ronron.site.load import load_site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key

SITE = """\
name: cats
domain: example.org
contact: a@example.org
servers:
  master: {address: master.example.net, roles: [manager, storage]}
  worker-1: {address: worker-1.example.net}
backup: {repository: "rest:https://backup.example.net/cats"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with a vault, a recovery key, and a git remote with a login in its URL."""
    place = tmp_path / "cats"
    (place / "apps").mkdir(parents=True)
    (place / "ronron.yml").write_text(SITE)
    (place / "apps" / "blog.yml").write_text("recipe: ghost\n")
    monkeypatch.setenv("RONRON_KEY_FILE", str(tmp_path / "key"))
    (place / "recipients.txt").write_text(create_key(tmp_path / "key") + "  # Ada's laptop\n")
    vault = Vault(place, tmp_path / "key")
    values = {"password": Secret("hush-hush"), "rest_password": Secret("sesame")}
    vault.write(VAULT_NAME, Secrets(values))
    _, recovery_key = keys.recovery_key()
    keys.add(vault, recovery_key)
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    url = "https://ada:token@git.example.net/cats.git"
    subprocess.run(["git", "-C", str(place), "remote", "add", "origin", url], check=True)
    return place


def test_the_page_has_what_it_takes_and_no_secret(folder: Path) -> None:
    text = sheet.text(recovery.known(load_site(folder), with_secrets=False))
    (key,) = [one.key for one in keys.recipients(Vault(folder, Path("x"))) if one.recovery]
    for word in (
        "cats", "blog", "https://git.example.net/cats.git", "rest:https://backup.example.net/cats",
        key, "Ada's laptop", "master.example.net: manager, storage", "worker-1",
        "git clone https://git.example.net/cats.git cats && cd cats",
        "ronron secrets init --recover", "ronron rebuild",
    ):  # fmt: skip
        assert word in text, word
    for secret in ("hush-hush", "sesame", "token", "AGE-SECRET-KEY-1Q"):
        assert secret not in text
    assert len(text.splitlines()) <= 60, "one page"


def test_the_password_is_printed_when_it_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--site", str(folder), "secrets", "sheet", "--show-secrets"]) == 2
    printed = capsys.readouterr()
    assert "hush-hush" not in printed.out + printed.err
    assert run(["--site", str(folder), "secrets", "sheet", "--show-secrets", "--yes"]) == 0
    assert "hush-hush" in capsys.readouterr().out
    left = {path.name for path in folder.rglob("*") if ".git" not in path.parts}
    assert not {name for name in left if "sheet" in name}


def test_what_is_missing_for_that_day_is_said(tmp_path: Path, folder: Path) -> None:
    text = SITE.replace("rest:https://backup.example.net/cats", "/srv/backup")
    (folder / "ronron.yml").write_text(text)
    (folder / "recipients.txt").write_text(create_key(tmp_path / "key") + "\n")
    subprocess.run(["git", "-C", str(folder), "remote", "remove", "origin"], check=True)
    page = sheet.text(recovery.known(load_site(folder), with_secrets=False))
    assert "THERE IS NONE: run ronron secrets init" in page
    assert "NO REMOTE" in page
    assert "THE REPOSITORY IS ON ONE OF THE SERVERS" in page

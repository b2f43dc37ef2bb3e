"""Who can open the vault: recipients that come and go, the recovery key, and what a check finds."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pyrage
import pytest

from ronron.errors import OperatorError, RonronError
from ronron.site import keys
from ronron.site.keys import Recipient
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key

APPS = ("blog", "shop", "wiki")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    site = tmp_path / "site"
    site.mkdir()
    key = tmp_path / "keys" / "my-cloud.key"
    (site / "recipients.txt").write_text(f"# ours\n{create_key(key)}  # laptop\n\n")
    vault = Vault(site, key)
    for app in APPS:
        vault.write(app, Secrets({"password": Secret(f"of {app}")}))
    return vault


@pytest.fixture
def other(vault: Vault, tmp_path: Path) -> Vault:
    """The vault as another computer opens it."""
    create_key(tmp_path / "other.key")
    return Vault(vault.folder, tmp_path / "other.key")


def opened(vault: Vault) -> dict[str, str]:
    return {app: vault.read(app).values["password"].reveal() for app in APPS}


EVERYTHING = {app: f"of {app}" for app in APPS}


def test_a_recipient_is_added_to_every_file_and_removed_from_every_file(
    vault: Vault, other: Vault
) -> None:
    with pytest.raises(OperatorError, match="is not encrypted to the key"):
        other.read("blog")
    assert keys.add(vault, Recipient(other.recipient, "the desk")) == APPS
    assert opened(other) == opened(vault) == EVERYTHING
    assert keys.recipients(vault) == (
        Recipient(vault.recipient, "laptop"),
        Recipient(other.recipient, "the desk"),
    )
    assert keys.check(vault) == []
    assert (vault.folder / "recipients.txt").read_text().startswith("# ours\n")
    assert keys.remove(vault, other.recipient) == APPS
    for app in APPS:
        with pytest.raises(OperatorError, match="is not encrypted to the key"):
            other.read(app)
    assert opened(vault) == EVERYTHING
    assert keys.recipients(vault) == (Recipient(vault.recipient, "laptop"),)


def test_a_recipient_that_is_listed_already_is_not_listed_twice(vault: Vault, other: Vault) -> None:
    keys.add(vault, Recipient(other.recipient))
    keys.add(vault, Recipient(other.recipient))
    assert len(keys.recipients(vault)) == 2


@pytest.mark.parametrize("key", ["age1nonsense", "", "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1XYZ"])
def test_what_is_no_public_key_is_refused_and_not_repeated(vault: Vault, key: str) -> None:
    before = (vault.folder / "recipients.txt").read_bytes()
    with pytest.raises(OperatorError, match="that is not an age public key") as raised:
        keys.add(vault, Recipient(key))
    assert not key or key not in str(raised.value)
    assert (vault.folder / "recipients.txt").read_bytes() == before


def test_nobody_locks_himself_out(vault: Vault, other: Vault) -> None:
    with pytest.raises(OperatorError, match="is the key that this computer reads the vault with"):
        keys.remove(vault, vault.recipient)
    with pytest.raises(OperatorError, match=r"recipients\.txt: does not list age1nobody"):
        keys.remove(vault, "age1nobody")
    with pytest.raises(OperatorError, match=r"does not list age1.*, this computer's key"):
        keys.add(other, Recipient(create_key(other.folder / "third.key")))
    assert opened(vault) == EVERYTHING


def test_nothing_is_changed_while_one_file_cannot_be_read(vault: Vault, other: Vault) -> None:
    vault.path("wiki").write_bytes(b"damaged")
    before = {path: path.read_bytes() for path in vault.folder.rglob("*") if path.is_file()}
    with pytest.raises(RonronError, match=r"vault/wiki\.age: is damaged"):
        keys.add(vault, Recipient(other.recipient))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_crash_while_encrypting_again_leaves_every_file_readable(
    vault: Vault, other: Vault, change: str
) -> None:
    third = Recipient(create_key(other.identity_path.with_name("third.key")))
    keys.add(vault, third)
    if change == "remove":
        keys.add(vault, Recipient(other.recipient))
    before = {path: path.read_bytes() for path in vault.folder.rglob("*") if path.is_file()}

    def work(kill_at: int) -> None:
        replaced = 0

        def replace(source: str, target: Path) -> None:
            nonlocal replaced
            replaced += 1
            if replaced == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.rename(source, target)  # noqa: PTH104

        os.replace = replace  # type: ignore[assignment]
        if change == "add":
            keys.add(vault, Recipient(other.recipient))
        else:
            keys.remove(vault, other.recipient)

    crashes = 0
    for kill_at in range(1, 20):
        for path, content in before.items():
            path.write_bytes(content)
        process = multiprocessing.get_context("fork").Process(target=work, args=(kill_at,))
        process.start()
        process.join(60)
        third_vault = Vault(vault.folder, other.identity_path.with_name("third.key"))
        assert opened(vault) == opened(third_vault) == EVERYTHING
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        crashes += 1
        if kill_at > 1:
            assert keys.check(vault), "the files that are not as recipients.txt says are found"
        if change == "add":
            keys.add(vault, Recipient(other.recipient))
            assert opened(other) == EVERYTHING
        else:
            keys.reencrypt(vault) if kill_at > 1 else keys.remove(vault, other.recipient)
            with pytest.raises(OperatorError):
                opened(other)
        assert keys.check(vault) == []
    assert crashes == 1 + len(APPS)


def test_the_recovery_key_opens_everything_and_is_stored_nowhere(vault: Vault) -> None:
    key, recipient = keys.recovery_key()
    keys.add(vault, recipient)
    recovery = Vault(vault.folder, Path("/nowhere"), key)
    assert opened(recovery) == EVERYTHING
    assert [item.recovery for item in keys.recipients(vault)] == [False, True]
    assert keys.check_recovery(recovery) == []
    for path in vault.folder.parent.rglob("*"):
        assert not path.is_file() or key.reveal().encode() not in path.read_bytes()
    wrong, _ = keys.recovery_key()
    found = keys.check_recovery(Vault(vault.folder, Path("/nowhere"), wrong))
    assert [item.file for item in found] == [f"vault/{app}.age" for app in APPS]
    assert wrong.reveal() not in str(found)


def test_lost_recipients_are_found_in_the_files(vault: Vault, other: Vault) -> None:
    keys.add(vault, Recipient(other.recipient))
    (vault.folder / "recipients.txt").unlink()
    keys.restore(vault, other.recipient)
    assert {item.key for item in keys.recipients(vault)} == {vault.recipient, other.recipient}
    assert {item.key: item.recovery for item in keys.recipients(vault)}[other.recipient]
    assert keys.check(vault) == []


def told(vault: Vault) -> list[str]:
    return [str(problem).replace(str(vault.folder.parent), "") for problem in keys.check(vault)]


def test_a_check_finds_nothing_in_a_good_vault(vault: Vault) -> None:
    assert told(vault) == []


def test_a_check_finds_a_key_that_others_can_read(vault: Vault) -> None:
    vault.identity_path.chmod(0o640)
    assert told(vault) == [
        "/keys/my-cloud.key: others on this computer can read it (mode 0640) "
        f"(chmod 600 {vault.identity_path})".replace(str(vault.folder.parent), "")
    ]


def test_a_check_finds_a_key_inside_of_the_site(vault: Vault) -> None:
    inside = vault.folder / "my.key"
    shutil.copy2(vault.identity_path, inside)
    assert "is inside of the site" in str(keys.check(Vault(vault.folder, inside)))


def test_a_check_finds_a_missing_key_once(vault: Vault) -> None:
    vault.identity_path.unlink()
    assert len(told(vault)) == 1
    assert "ronron secrets init --recover" in told(vault)[0]


def test_a_check_finds_each_file_that_cannot_be_read(vault: Vault) -> None:
    vault.path("blog").write_bytes(vault.path("blog").read_bytes()[:-60])
    vault.path("wiki").write_bytes(b"")
    found = told(vault)
    assert [line.partition(":")[0] for line in found] == ["vault/blog.age", "vault/wiki.age"]
    assert all("is damaged or was tampered with; it was left as it is" in line for line in found)


def test_a_check_finds_files_for_others_than_the_recipients(vault: Vault, other: Vault) -> None:
    path = vault.folder / "recipients.txt"
    path.write_text(f"{path.read_text()}{other.recipient}\n")
    assert told(vault) == [
        f"vault/{app}.age: {other.recipient}: this recipient cannot read it "
        "(ronron secrets recipients update encrypts it again)"
        for app in APPS
    ]
    keys.reencrypt(vault)
    assert told(vault) == []
    path.write_text(path.read_text().replace(other.recipient, ""))
    assert told(vault)[0] == (
        f"vault/blog.age: {other.recipient}: can read it, and is not in recipients.txt "
        "(ronron secrets recipients update encrypts it again)"
    )


def test_a_check_counts_the_keys_that_a_file_is_really_for(vault: Vault, other: Vault) -> None:
    """A file can say that it is for the recipients alone and be for others too."""
    lines = vault.identity_path.read_text().splitlines()
    identity = pyrage.x25519.Identity.from_str(lines[-1])
    plain = pyrage.decrypt(vault.path("blog").read_bytes(), [identity])
    both = [pyrage.x25519.Recipient.from_str(item.recipient) for item in (vault, other)]
    vault.path("blog").write_bytes(pyrage.encrypt(plain, both, armored=True))
    assert told(vault) == [
        "vault/blog.age: is encrypted to others than recipients.txt says "
        "(ronron secrets recipients update encrypts it again)"
    ]


def test_a_check_finds_this_computers_key_missing(vault: Vault, other: Vault) -> None:
    assert "this computer's key is missing" in str(keys.check(other)[0])


def test_a_check_finds_an_interrupted_rotation(vault: Vault) -> None:
    known = vault.read("blog")
    vault.write("blog", Secrets(known.values, known.salt, retired={"password": Secret("old")}))
    assert told(vault) == [
        "vault/blog.age: password: its rotation was interrupted: the app works with the old value "
        "and the new one (ronron secrets rotate blog password finishes it)"
    ]


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")
def test_the_ordinary_age_tool_reads_the_vault(vault: Vault) -> None:
    command = ["age", "-d", "-i", str(vault.identity_path), str(vault.path("blog"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"password": "of blog"' in done.stdout

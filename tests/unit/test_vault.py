"""The vault gives back what was put in, to its key alone, and nothing that prints shows it."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import re
import traceback
from pathlib import Path

import pydantic
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ronron.errors import OperatorError, RonronError
from ronron.site.secret import Secret
from ronron.site.vault import (
    ALPHABET,
    Secrets,
    Vault,
    create_key,
    generate,
    identity_path,
    read_recipients,
    recipient_of,
)

VALUE = "correct-horse-battery-staple"


def new_vault(folder: Path) -> Vault:
    site = folder / "site"
    site.mkdir(parents=True)
    key = folder / "keys" / "my-cloud.key"
    (site / "recipients.txt").write_text(f"# ours\n{create_key(key)}  # laptop\n\n")
    return Vault(site, key)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def secrets(**values: str) -> Secrets:
    return Secrets({name: Secret(value) for name, value in values.items()})


def test_a_key_is_an_ordinary_age_identity_of_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.key"
    recipient = create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    lines = path.read_text().splitlines()
    assert lines[1] == f"# public key: {recipient}"
    identity = pyrage.x25519.Identity.from_str(lines[2])
    assert str(identity.to_public()) == recipient == recipient_of(path)


def test_a_key_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    recipient = create_key(path)
    before = path.read_bytes()
    assert create_key(path) == recipient
    assert path.read_bytes() == before


def test_where_the_key_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("RONRON_KEY_FILE", raising=False)
    assert identity_path("a") == tmp_path / ".config" / "ronron" / "keys" / "a.key"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert identity_path("a") == Path("/c/ronron/keys/a.key")
    monkeypatch.setenv("RONRON_KEY_FILE", "/k")
    assert identity_path("a") == Path("/k")


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
        st.text(max_size=200),
        max_size=4,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    vault = new_vault(tmp_path_factory.mktemp("vault"))
    put = secrets(**values)
    vault.write("blog", put)
    assert vault.read("blog") == put
    assert {name: value.reveal() for name, value in vault.read("blog").values.items()} == values


@pytest.mark.parametrize(
    "value", ["", " $'\"\\`\n\t\r\0{{x}}%s#: é 猫 \u2028 \U0001f431", "\ud800", "a" * 10**6]
)
def test_awkward_values(vault: Vault, value: str) -> None:
    vault.write("blog", secrets(a=value))
    assert vault.read("blog").values["a"].reveal() == value


def test_the_file_is_json_for_whoever_has_the_key(vault: Vault) -> None:
    put = secrets(db_password=VALUE)
    vault.write("blog", put)
    encrypted = (vault.folder / "vault" / "blog.age").read_bytes()
    assert encrypted.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    key = vault.identity_path.read_text().splitlines()[2]
    plain = pyrage.decrypt(encrypted, [pyrage.x25519.Identity.from_str(key)])
    assert json.loads(plain) == {
        "salt": put.salt.reveal(),
        "secrets": {"db_password": VALUE},
        "recipients": [recipient_of(vault.identity_path)],
    }


def test_every_recipient_can_read(vault: Vault, tmp_path: Path) -> None:
    other = tmp_path / "recovery.key"
    recipients = vault.folder / "recipients.txt"
    recipients.write_text(recipients.read_text() + create_key(other) + "\n")
    vault.write("blog", secrets(a=VALUE))
    assert Vault(vault.folder, other).read("blog").values["a"].reveal() == VALUE


def damages(content: bytes) -> dict[str, bytes]:
    lines = content.splitlines(keepends=True)
    middle = bytearray(content)
    middle[-60] ^= 1
    return {
        "empty": b"",
        "cut in the middle": content[: len(content) // 2],
        "without its last line": b"".join(lines[:-1]),
        "one bit turned": bytes(middle),
        "text": b"db_password: x\n",
    }


@pytest.mark.parametrize("damage", damages(b"-" * 100))
def test_a_damaged_file_is_refused_and_left_as_it_is(vault: Vault, damage: str) -> None:
    vault.write("blog", secrets(a=VALUE))
    path = vault.path("blog")
    damaged = damages(path.read_bytes())[damage]
    path.write_bytes(damaged)
    for touch in (lambda: vault.read("blog"), lambda: vault.write("blog", secrets(a="b"))):
        with pytest.raises(RonronError, match=r"vault/blog\.age: is damaged or was tampered with"):
            touch()
        assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "plain",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"salt": "x", "secrets": {}}',
        b'{"salt": "00", "secrets": {"a": 5}}',
        b'{"salt": "00", "secrets": {"A b": "c"}}',
        b'{"salt": "00", "secrets": []}',
        b'{"salt": 5, "secrets": {}}',
    ],
)
def test_a_file_that_holds_something_else_is_refused(vault: Vault, plain: bytes) -> None:
    recipient = pyrage.x25519.Recipient.from_str(recipient_of(vault.identity_path))
    vault.path("blog").parent.mkdir()
    vault.path("blog").write_bytes(pyrage.encrypt(plain, [recipient], armored=True))
    with pytest.raises(RonronError, match=r"vault/blog\.age: is damaged"):
        vault.read("blog")


def test_another_key_opens_nothing_and_overwrites_nothing(vault: Vault, tmp_path: Path) -> None:
    vault.write("blog", secrets(a=VALUE))
    before = vault.path("blog").read_bytes()
    create_key(tmp_path / "other.key")
    other = Vault(vault.folder, tmp_path / "other.key")
    with pytest.raises(OperatorError, match=r"blog\.age: is not encrypted to the key .*other\.key"):
        other.write("blog", secrets(a="b"))
    assert vault.path("blog").read_bytes() == before
    with pytest.raises(OperatorError, match=r"recipients\.txt: does not list age1"):
        other.write("shop", secrets(a="b"))
    assert not other.exists("shop")


def test_a_missing_key_is_named_with_what_to_do(vault: Vault) -> None:
    vault.identity_path.unlink()
    with pytest.raises(OperatorError) as raised:
        vault.write("blog", secrets(a=VALUE))
    assert str(raised.value) == (
        f"{vault.identity_path}: the site's key is missing (copy it from where the site was made, "
        "set RONRON_KEY_FILE to where it is, or make a new one with the recovery key: "
        "ronron secrets init --recover)"
    )


def test_a_key_file_that_is_none_does_not_show_what_it_holds(vault: Vault) -> None:
    key = vault.identity_path.read_text().splitlines()[2]
    for text in (key[:-1], f"{key}\n{key}", "", "\0"):
        vault.identity_path.write_text(text)
        with pytest.raises(OperatorError, match="is not an age key") as raised:
            vault.read("blog")
        trace = "".join(traceback.format_exception(raised.value))
        assert key[:40] not in trace


def test_recipients_that_are_none(vault: Vault) -> None:
    path = vault.folder / "recipients.txt"
    path.write_text("# one\nage1nonsense\n")
    with pytest.raises(OperatorError, match=r"recipients\.txt: line 2: not an age public key"):
        vault.write("blog", secrets(a=VALUE))
    path.write_text("# nobody\n")
    with pytest.raises(OperatorError, match="lists no public key"):
        read_recipients(vault.folder)
    path.unlink()
    with pytest.raises(OperatorError, match="cannot be read"):
        read_recipients(vault.folder)


def test_a_missing_file(vault: Vault) -> None:
    assert not vault.exists("blog")
    with pytest.raises(RonronError, match=r"vault/blog\.age: cannot be read: No such file"):
        vault.read("blog")


def test_digest_names() -> None:
    first = secrets(db_password=VALUE)
    name = first.digest_name("blog", "db_password")
    assert re.fullmatch(r"blog_db_password_[0-9a-f]{10}", name)
    assert first.digest_name("blog", "db_password") == name
    assert first.set("db_password", Secret("x")).digest_name("blog", "db_password") != name
    assert secrets(db_password=VALUE).digest_name("blog", "db_password") != name, "salts differ"
    both = Secrets({"a": Secret(VALUE), "b": Secret(VALUE)})
    assert both.digest_name("x", "a")[-10:] != both.digest_name("x", "b")[-10:]
    longest = "n" * 21
    assert len(secrets(**{longest: "v"}).digest_name("a" * 31, longest)) <= 64


def test_names_that_are_none() -> None:
    for name in ("", "A", "1a", "a-b", "a" * 22):
        with pytest.raises(OperatorError, match="is not a secret's name"):
            Secrets({name: Secret("x")})


def test_generated_secrets() -> None:
    made = {generate().reveal() for _ in range(50)}
    assert len(made) == 50
    assert all(len(value) == 32 and set(value) <= set(ALPHABET) for value in made)
    assert set(generate(200, "01").reveal()) == {"0", "1"}


class Settings(pydantic.BaseModel):
    password: Secret


@pytest.mark.parametrize(
    "leak",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        lambda s: f"{s:>40}",
        lambda s: "%s %r" % (s, s),  # noqa: UP031
        lambda s: json.dumps(s, default=str),
        lambda s: str([s, {"a": s}]),
        lambda s: str(Secrets({"a": s})),
        lambda s: str(dataclasses.asdict(Secrets({"a": s}, salt=s))["salt"]),
        lambda s: str(Settings(password=s)),
        lambda s: str(Settings(password=s).model_dump()),
        lambda s: Settings(password=s).model_dump_json(),
        lambda s: str(copy.deepcopy(s)),
        lambda s: str(vars(type(s))) + str(dir(s)),
        lambda s: str(ValueError(s)),
    ],
)
def test_nothing_that_prints_shows_a_secret(leak: object) -> None:
    assert callable(leak)
    assert VALUE not in leak(Secret(VALUE))


def test_a_secret_is_not_json_and_not_pickled_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError):
        json.dumps({"a": secret})
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    logging.getLogger().warning("it is %s, %r", secret, {"a": secret})
    assert VALUE not in caplog.text
    assert "***" in caplog.text


def test_secrets_are_equal_by_value_and_copied() -> None:
    secret = Secret(VALUE)
    assert secret == Secret(VALUE) == copy.deepcopy(secret) == copy.copy(secret)
    assert secret != Secret("x")
    assert secret != VALUE
    assert len({secret, Secret(VALUE)}) == 1
    assert Settings.model_validate({"password": VALUE}).password == secret

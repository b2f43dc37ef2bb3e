"""The vault: an app's secrets in `vault/NAME.age`, encrypted with age, safe to keep in git.

The plain text of a file is JSON, `{"salt": hex, "secrets": {name: value}, "recipients": […]}`.
It is encrypted to every recipient in the site's `recipients.txt`, which it lists because age's
header does not tell them, and read with an age identity that is kept outside of the site;
`age -d -i KEY vault/NAME.age` reads it too. While secrets are rotated, `pending` and `retired` are
there as well (see `Secrets`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets as random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ronron.errors import OperatorError, RonronError
from ronron.site.files import write_atomically
from ronron.site.secret import Secret

RECIPIENTS_FILE = "recipients.txt"
ALPHABET = string.ascii_letters + string.digits
LONGEST = 500_000
"""Bytes that Docker takes for a secret (a few less than its 500 KiB)."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,20}")


@dataclass(frozen=True)
class Secrets:
    """An app's secrets by name, with the salt that their digests are made with.

    While some are rotated, `pending` holds the values that shall replace theirs, and later, once
    they have, `retired` the values that they replaced. The app can work with either then.
    """

    values: Mapping[str, Secret] = field(default_factory=dict)
    salt: Secret = field(default_factory=lambda: Secret(random.token_hex(32)))
    pending: Mapping[str, Secret] = field(default_factory=dict)
    retired: Mapping[str, Secret] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OperatorError for a name that is none."""
        for name in (*self.values, *self.pending, *self.retired):
            if not _NAME.fullmatch(name):
                raise OperatorError(
                    f"{name!r} is not a secret's name",
                    remedy="1 to 21 of a-z, 0-9 and _, beginning with a letter",
                )

    def set(self, name: str, value: Secret) -> Secrets:
        """These secrets with `name` set to `value`."""
        return replace(self, values={**self.values, name: value})

    def without(self, name: str) -> Secrets:
        """These secrets without `name`."""
        return replace(self, values={n: v for n, v in self.values.items() if n != name})

    def digest_name(self, app: str, name: str) -> str:
        """The Docker secret that holds the value of `name`: `APP_NAME_` and ten hex digits.

        Docker secrets are immutable, so a new value needs a new name. The digits are an
        HMAC-SHA256 under the vault's salt: without the salt they tell nothing about the value.
        At most 64 characters, Docker's limit, for an app's name of 31.
        """
        value = self.values[name].reveal()
        message = f"{name}\0{value}".encode("utf-8", "surrogatepass")
        digest = hmac.new(bytes.fromhex(self.salt.reveal()), message, hashlib.sha256)
        return f"{app}_{name}_{digest.hexdigest()[:10]}"


def generate(length: int = 32, alphabet: str = ALPHABET) -> Secret:
    """A random secret of `length` characters of `alphabet`, from the system's random source."""
    return Secret("".join(random.choice(alphabet) for _ in range(length)))


def usable(value: str) -> Secret:
    """`value` as a secret. Raises OperatorError, which does not tell it, when Docker would not."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise OperatorError(
            "the value is not text in UTF-8", remedy="nothing was changed"
        ) from None
    if not 0 < size <= LONGEST:
        raise OperatorError(
            f"the value has {size} bytes", remedy=f"1 to {LONGEST} can be; nothing was changed"
        )
    return Secret(value)


def identity_path(site: str) -> Path:
    """Where the key of the site called `site` is: RONRON_KEY_FILE, or in the user's settings."""
    if chosen := os.environ.get("RONRON_KEY_FILE"):
        return Path(chosen).expanduser()
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings) / "ronron" / "keys" / f"{site}.key"


def create_key(path: Path) -> str:
    """Create an age identity at `path` (mode 0600) and return its recipient, `age1…`.

    A key that is already there is kept: its recipient is returned. Raises OperatorError when it
    cannot be written, or what is there is not a key.
    """
    from pyrage import x25519

    if path.exists():
        return recipient_of(path)
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    created = datetime.now(UTC).isoformat(timespec="seconds")
    text = f"# created: {created}\n# public key: {recipient}\n{identity}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise OperatorError(
            f"{path}: the key cannot be written: {error.strerror}",
            remedy="set RONRON_KEY_FILE to a file that can",
        ) from error
    return recipient


def recipient_of(path: Path) -> str:
    """The recipient, `age1…`, of the key at `path`. Raises OperatorError when it is not a key."""
    return str(_identity(path).to_public())


class Vault:
    """The vault of the site in `folder`, opened with the key at `identity_path`.

    The key is needed only when something is read or written. `key` (`AGE-SECRET-KEY-1…`) is used
    instead of the file where it is given.
    """

    def __init__(self, folder: Path, identity_path: Path, key: Secret | None = None) -> None:
        self.folder = folder
        self.identity_path = identity_path
        self._key = key

    @property
    def recipient(self) -> str:
        """The recipient, `age1…`, of the key that opens it. Raises OperatorError as `read`."""
        return str(self._identity().to_public())

    @property
    def names(self) -> list[str]:
        """The apps that have a file in the vault."""
        return sorted(path.stem for path in (self.folder / "vault").glob("[!.]*.age"))

    def path(self, name: str) -> Path:
        """The file of the app `name`."""
        return self.folder / "vault" / f"{name}.age"

    def exists(self, name: str) -> bool:
        """Whether the app `name` has a file in the vault."""
        return self.path(name).exists()

    def sealed(self, name: str) -> bytes | None:
        """The file of the app `name`, encrypted as it is; None where there is none.

        A manager's copy of the site has it in `sealed/`, where nothing tries to open it.
        """
        places = (self.path(name), self.folder / "sealed" / f"{name}.age")
        return next((path.read_bytes() for path in places if path.exists()), None)

    def read(self, name: str) -> Secrets:
        """The secrets of the app `name`.

        Raises OperatorError when the key is missing or is not one that the file was encrypted
        to, and RonronError when the file is missing, damaged or was tampered with.
        """
        return self.open(name)[0]

    def open(self, name: str) -> tuple[Secrets, frozenset[str]]:
        """The secrets of the app `name`, and the recipients that its file is encrypted to.

        Raises as `read`.
        """
        import pyrage

        identity = self._identity()
        file = f"vault/{name}.age"
        try:
            encrypted = self.path(name).read_bytes()
        except OSError as error:
            raise RonronError(f"{file}: cannot be read: {error.strerror}") from error
        try:
            return _parse(pyrage.decrypt(encrypted, [identity]))
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise OperatorError(
                    f"{file}: is not encrypted to {self._source()}",
                    remedy="set RONRON_KEY_FILE to the site's key, or have this one added where "
                    f"one works: ronron secrets recipients add {identity.to_public()}",
                ) from error
            raise _damaged(file) from None
        except (ValueError, KeyError, TypeError, AttributeError, OperatorError):
            # What was raised could quote the plain text.
            raise _damaged(file) from None

    def write(self, name: str, secrets: Secrets) -> None:
        """Replace the secrets of the app `name`, whole or not at all.

        A file that cannot be read is never overwritten (raises as `read`), nor is one written
        that this key could not read again (raises OperatorError).
        """
        if self.exists(name):
            self.read(name)
        own = self.recipient
        recipients = read_recipients(self.folder)
        if own not in recipients:
            raise OperatorError(
                f"{RECIPIENTS_FILE}: does not list {own}, this computer's key",
                remedy=f"where another key works, run ronron secrets recipients add {own}, or set "
                f"RONRON_KEY_FILE to another key than {self.identity_path}",
            )
        self.path(name).parent.mkdir(exist_ok=True)
        write_atomically(self.path(name), encrypted_to(secrets, recipients))

    def take_back(self, name: str, encrypted: bytes) -> None:
        """Write a file that was kept elsewhere, encrypted anew to the present recipients.

        Raises as `read` when it cannot be read with this key; nothing is written then.
        """
        self.path(name).parent.mkdir(exist_ok=True)
        write_atomically(self.path(name), encrypted)
        try:
            self.write(name, self.read(name))
        except BaseException:
            self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Remove the file of the app `name`, if there is one."""
        self.path(name).unlink(missing_ok=True)

    def _identity(self) -> Any:  # noqa: ANN401
        if self._key is not None:
            return _parse_identity(self._key.reveal(), "the key that was given")
        return _identity(self.identity_path)

    def _source(self) -> str:
        return "the key that was given" if self._key else f"the key {self.identity_path}"


def encrypted_to(secrets: Secrets, recipients: Sequence[str]) -> bytes:
    """A file of the vault: `secrets`, encrypted to `recipients` (`age1…`) alone."""
    import pyrage

    plain: dict[str, object] = {
        "salt": secrets.salt.reveal(),
        "secrets": _revealed(secrets.values),
        "recipients": sorted(set(recipients)),
    }
    for stage in ("pending", "retired"):
        if values := getattr(secrets, stage):
            plain[stage] = _revealed(values)
    keys = [pyrage.x25519.Recipient.from_str(line) for line in recipients]
    encrypted: bytes = pyrage.encrypt(json.dumps(plain).encode(), keys, armored=True)
    return encrypted


def read_recipients(folder: Path) -> tuple[str, ...]:
    """The recipients in the site's `recipients.txt`. Raises OperatorError when one is none."""
    from pyrage import RecipientError, x25519

    try:
        lines = (folder / RECIPIENTS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"{RECIPIENTS_FILE}: cannot be read",
            remedy="it holds the public keys (age1…) that secrets are encrypted to, one a line",
        ) from error
    found = []
    for number, line in enumerate(lines, 1):
        key = line.partition("#")[0].strip()
        if not key:
            continue
        try:
            x25519.Recipient.from_str(key)
        except RecipientError as error:
            raise OperatorError(
                f"{RECIPIENTS_FILE}: line {number}: not an age public key",
                remedy="one key a line, such as age1…; comments begin with #",
            ) from error
        found.append(key)
    if not found:
        raise OperatorError(
            f"{RECIPIENTS_FILE}: lists no public key",
            remedy="one key a line, such as age1…",
        )
    return tuple(found)


def _identity(path: Path) -> Any:  # noqa: ANN401
    """The age identity in the file at `path`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise OperatorError(
            f"{path}: the site's key is missing",
            remedy="copy it from where the site was made, set RONRON_KEY_FILE to where it is, or "
            "make a new one with the recovery key: ronron secrets init --recover",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: the site's key cannot be read: {error}") from error
    return _parse_identity("\n".join(lines), str(path))


def _parse_identity(text: str, where: str) -> Any:  # noqa: ANN401
    from pyrage import IdentityError, x25519

    lines = (line.strip() for line in text.splitlines())
    keys = [line for line in lines if line and not line.startswith("#")]
    try:
        (key,) = keys
        return x25519.Identity.from_str(key)
    except (ValueError, IdentityError):
        raise OperatorError(
            f"{where}: is not an age key", remedy="it holds one line AGE-SECRET-KEY-1…"
        ) from None


def _revealed(values: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in sorted(values.items())}


def _parse(plain: bytes) -> tuple[Secrets, frozenset[str]]:
    """What is in a file's plain text; raises one of several errors when it is not one."""
    data = json.loads(plain)
    bytes.fromhex(data["salt"])
    stages = [data["secrets"], data.get("pending", {}), data.get("retired", {})]
    if not all(isinstance(value, str) for stage in stages for value in stage.values()):
        raise TypeError
    values, pending, retired = (
        {name: Secret(value) for name, value in stage.items()} for stage in stages
    )
    return Secrets(values, Secret(data["salt"]), pending, retired), frozenset(
        data.get("recipients", ())
    )


def _damaged(file: str) -> RonronError:
    return RonronError(
        f"{file}: is damaged or was tampered with; it was left as it is",
        remedy=f"take it from git: git log -- {file}",
    )

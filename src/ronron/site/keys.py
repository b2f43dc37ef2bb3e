"""Who can open the vault: the recipients in `recipients.txt`, and the offline recovery key.

Every file of the vault is encrypted to all recipients. When they change, `recipients.txt` is
written first and then each file, whole, one after the other. The key that does it is in both
lists, so that it can read every file at any moment; doing it again finishes what a crash left.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ronron.errors import OperatorError, Problem, RonronError
from ronron.site.files import write_atomically
from ronron.site.secret import Secret
from ronron.site.vault import RECIPIENTS_FILE, Secrets, Vault, read_recipients

RECOVERY = "recovery key"
"""How the comment of the recovery key's line in `recipients.txt` begins."""

_HEAD = "# Public keys that the vault is encrypted to, one a line."


@dataclass(frozen=True)
class Recipient:
    """A public key that the vault is encrypted to, and what `recipients.txt` says of it."""

    key: str
    comment: str = ""

    @property
    def recovery(self) -> bool:
        """Whether it is the recovery key's."""
        return self.comment.startswith(RECOVERY)


def recipients(vault: Vault) -> tuple[Recipient, ...]:
    """The recipients with their comments. Raises OperatorError when the file is at fault."""
    read_recipients(vault.folder)
    found = (_parse(line) for line in _lines(vault))
    return tuple(item for item in found if item.key)


def recovery_key() -> tuple[Secret, Recipient]:
    """A new recovery key, and its recipient. It is stored nowhere."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    comment = f"{RECOVERY}, made {datetime.now(UTC):%Y-%m-%d}, kept offline"
    return Secret(str(identity)), Recipient(str(identity.to_public()), comment)


def add(vault: Vault, new: Recipient) -> tuple[str, ...]:
    """Let `new` read the vault; returns the names of the files that were encrypted again.

    One that is listed already is added to the files that lack it. Raises OperatorError when it is
    not an age public key, and as `reencrypt`.
    """
    _checked(new)
    lines = _lines(vault)
    if new.key not in {_parse(line).key for line in lines}:
        lines.append(f"{new.key}  # {new.comment}" if new.comment else new.key)
    return _change(vault, lines)


def remove(vault: Vault, key: str) -> tuple[str, ...]:
    """Encrypt the vault no longer to `key`; returns the names of the files encrypted again.

    Raises OperatorError when it is not listed or is the key that this computer reads with, and
    as `reencrypt`.
    """
    lines = _lines(vault)
    kept = [line for line in lines if _parse(line).key != key]
    if len(kept) == len(lines):
        raise OperatorError(
            f"{RECIPIENTS_FILE}: does not list {key}", remedy="see ronron secrets recipients list"
        )
    if key == vault.recipient:
        raise OperatorError(
            f"{key} is the key that this computer reads the vault with",
            remedy="remove it where another key works",
        )
    return _change(vault, kept)


def reencrypt(vault: Vault) -> tuple[str, ...]:
    """Encrypt every file again, to exactly the recipients; returns their names.

    Raises OperatorError when this computer's key is not one of them, RonronError when a file
    cannot be read; then nothing was changed.
    """
    return _change(vault, _lines(vault))


def readable(vault: Vault) -> dict[str, Secrets]:
    """Everything in the vault, by app. Raises as `Vault.read` for the first that cannot be read."""
    return {name: vault.read(name) for name in vault.names}


def restore(vault: Vault, recovery: str = "") -> None:
    """Make `recipients.txt` again where it is lost, from what the files of the vault remember.

    `recovery` is the recovery key's recipient, where it is known. Raises as `Vault.read` for a
    file that cannot be read, whether `recipients.txt` is there or not.
    """
    found = set[str]().union(*(vault.open(name)[1] for name in vault.names))
    path = vault.folder / RECIPIENTS_FILE
    if found and not path.exists():
        marked = (f"{key}  # {RECOVERY}" if key == recovery else key for key in sorted(found))
        write_atomically(path, "".join(f"{line}\n" for line in (_HEAD, *marked)).encode())


def check_recovery(recovery: Vault) -> list[Problem]:
    """The files that a vault opened with the recovery key cannot open."""
    problems = []
    for name in recovery.names:
        try:
            recovery.read(name)
        except RonronError as error:
            file = f"vault/{name}.age"
            problems.append(Problem(file, "", f"recovery key: {_said(error, f'{file}: ')[0]}"))
    return problems


def _change(vault: Vault, lines: list[str]) -> tuple[str, ...]:
    keys = {_parse(line).key for line in lines} - {""}
    if vault.recipient not in keys:
        raise OperatorError(
            f"{RECIPIENTS_FILE}: does not list {vault.recipient}, this computer's key",
            remedy=f"where another key works, run ronron secrets recipients add {vault.recipient}",
        )
    known = readable(vault)
    text = "".join(f"{line}\n" for line in lines).encode()
    path = vault.folder / RECIPIENTS_FILE
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text)
    for name, secrets in known.items():
        vault.write(name, secrets)
    return tuple(known)


def check(vault: Vault) -> list[Problem]:
    """What is wrong with the key, the recipients, and each file of the vault."""
    path = vault.identity_path
    try:
        own = vault.recipient
    except OperatorError as error:
        return [Problem(str(path), "", *_said(error, f"{path}: "))]
    problems = list(_check_key(vault))
    try:
        listed = set(read_recipients(vault.folder))
    except OperatorError as error:
        return [*problems, Problem(RECIPIENTS_FILE, "", *_said(error, f"{RECIPIENTS_FILE}: "))]
    if own not in listed:
        remedy = f"where another key works, run ronron secrets recipients add {own}"
        problems.append(Problem(RECIPIENTS_FILE, own, "this computer's key is missing", remedy))
    for name in vault.names:
        problems += _check_file(vault, name, listed)
    return problems


def _check_key(vault: Vault) -> Iterator[Problem]:
    path = vault.identity_path
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        message = f"others on this computer can read it (mode {mode:04o})"
        yield Problem(str(path), "", message, f"chmod 600 {path}")
    if path.resolve().is_relative_to(vault.folder.resolve()):
        remedy = "keep it elsewhere; if git ever had it, rotate every secret"
        yield Problem(str(path), "", "is inside of the site", remedy)


def _check_file(vault: Vault, name: str, listed: set[str]) -> Iterator[Problem]:
    file = f"vault/{name}.age"
    try:
        secrets, written = vault.open(name)
    except RonronError as error:
        yield Problem(file, "", *_said(error, f"{file}: "))
        return
    again = "ronron secrets recipients update encrypts it again"
    for key in sorted(listed - written):
        yield Problem(file, key, "this recipient cannot read it", again)
    for key in sorted(written - listed):
        message = f"can read it, and is not in {RECIPIENTS_FILE}"
        yield Problem(file, key, message, again)
    if written == listed and _stanzas(vault.path(name).read_bytes()) != len(listed):
        yield Problem(file, "", f"is encrypted to others than {RECIPIENTS_FILE} says", again)
    for secret in sorted({*secrets.pending, *secrets.retired}):
        message = "its rotation was interrupted: the app works with the old value and the new one"
        remedy = f"ronron secrets rotate {name} {secret} finishes it"
        yield Problem(file, secret, message, remedy)


def _stanzas(encrypted: bytes) -> int:
    """To how many X25519 keys a file is encrypted (https://age-encryption.org/v1)."""
    lines = encrypted.strip().splitlines()[1:-1]
    header = base64.b64decode(b"".join(lines)).partition(b"\n---")[0]
    return sum(line.startswith(b"-> X25519 ") for line in header.splitlines())


def _said(error: RonronError, prefix: str) -> tuple[str, str]:
    return error.message.removeprefix(prefix), error.remedy


def _lines(vault: Vault) -> list[str]:
    try:
        return (vault.folder / RECIPIENTS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [_HEAD]
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{RECIPIENTS_FILE}: cannot be read: {error}") from error


def _parse(line: str) -> Recipient:
    key, _, comment = line.partition("#")
    return Recipient(key.strip(), comment.strip())


def _checked(new: Recipient) -> None:
    from pyrage import RecipientError, x25519

    try:
        x25519.Recipient.from_str(new.key)
    except RecipientError:
        raise OperatorError(
            "that is not an age public key", remedy="it begins with age1; the key stays secret"
        ) from None
    if not new.comment.isprintable():
        raise OperatorError("the recipient's name is one line of text")

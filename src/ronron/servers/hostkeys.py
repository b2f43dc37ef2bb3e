"""SSH host keys, pinned by server name in the site's `known_hosts`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ronron.errors import OperatorError
from ronron.servers.names import lookup


@dataclass(frozen=True)
class HostKey:
    """A server's public host key: its type (`ssh-ed25519`) and the key itself in base64."""

    type: str
    key: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, the way that OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def line(self, server: str) -> str:
        """The line of `known_hosts` that pins this key to the name `server`."""
        return f"{server} {self.type} {self.key}"


def scan_host_keys(
    address: str, port: int = 22, resolver: str | None = None, *, timeout: float = 10.0
) -> list[HostKey]:
    """Ask the SSH server at `address` for its host keys, within `timeout` seconds.

    The answer is not trusted by itself: show the fingerprints to a person before `pin`.
    Raises OperatorError when the name is not found or no SSH server answers.
    """
    ip = lookup(address, resolver)
    scanned = subprocess.run(
        ["ssh-keyscan", "-T", str(max(1, round(timeout))), "-p", str(port), ip],
        capture_output=True,
        text=True,
        check=False,
    )
    keys = [key for line in scanned.stdout.splitlines() if (key := _parse(line)) is not None]
    if not keys:
        raise OperatorError(
            f"{address}: no SSH server answers on {ip} port {port}",
            remedy="check the address, the port and the server's firewall",
        )
    return sorted(keys, key=lambda key: key.type)


def pinned(known_hosts: Path, server: str) -> list[HostKey]:
    """The host keys that `known_hosts` pins to the name `server`; none when there is no file."""
    found = (_parse(line) for line in _lines(known_hosts) if _name(line) == server)
    return [key for key in found if key is not None]


def pin(known_hosts: Path, server: str, keys: Iterable[HostKey]) -> None:
    """Make `keys` the only ones pinned to the name `server`; other lines stay as they are."""
    kept = [line for line in _lines(known_hosts) if _name(line) != server]
    _write(known_hosts, [*kept, *(key.line(server) for key in keys)])


def unpin(known_hosts: Path, server: str) -> bool:
    """Forget the keys of the name `server`; returns whether there were any."""
    lines = _lines(known_hosts)
    kept = [line for line in lines if _name(line) != server]
    if len(kept) == len(lines):
        return False
    _write(known_hosts, kept)
    return True


def _lines(known_hosts: Path) -> list[str]:
    return known_hosts.read_text().splitlines() if known_hosts.exists() else []


def _name(line: str) -> str:
    return line.split(" ", 1)[0]


def _parse(line: str) -> HostKey | None:
    words = line.split()
    if len(words) < 3 or words[0].startswith(("#", "@")):
        return None
    try:
        base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return None
    return HostKey(words[1], words[2])


def _write(known_hosts: Path, lines: list[str]) -> None:
    whole = known_hosts.with_name(known_hosts.name + ".new")
    whole.write_text("".join(f"{line}\n" for line in lines))
    whole.replace(known_hosts)

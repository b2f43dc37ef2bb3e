"""Why OpenSSH could not connect, in words that say what to do.

OpenSSH ends with status 255 and says why in English on standard error, whatever the locale. The
first class below whose words are found decides; what is not known is shown as it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ronron.errors import ServerError
from ronron.servers.hostkeys import HostKey, pinned


class CannotConnect(ServerError):
    """The server could not be connected to: nothing was changed on it."""

    exit_code = 2


@dataclass(frozen=True)
class Attempt:
    """What was tried: where, as whom, and against which pinned keys."""

    server: str
    address: str
    ip: str
    port: int
    user: str
    known_hosts: Path
    key: Path | None

    @property
    def place(self) -> str:
        """Address and port, and the IP address where the name led."""
        found = f" ({self.ip})" if self.ip not in ("", self.address) else ""
        return f"{self.address}{found} port {self.port}"


_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_UNKNOWN = ("host key is known for", "Host key verification failed")
_DENIED = ("Permission denied", "Too many authentication failures")
_NO_NAME = ("Could not resolve hostname", "Name or service not known")
_DROPPED = ("Connection reset by", "Connection closed by")
_KEY_FILE = ("UNPROTECTED PRIVATE KEY", "invalid format", "no such identity")


def explain(attempt: Attempt, stderr: str) -> CannotConnect:
    """The error for what OpenSSH wrote to `stderr` when `attempt` failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip("@ \t\r")]

    def said(*words: str) -> bool:
        return any(word in stderr for word in words)

    if said(_CHANGED):
        return _host_key_changed(attempt, stderr)
    if said(*_UNKNOWN):
        return CannotConnect(
            attempt.server,
            f"no host key of {attempt.place} is pinned in {attempt.known_hosts.name}",
            remedy=f"ronron server add {attempt.address} --name {attempt.server}"
            " shows its fingerprint and pins it",
        )
    if said(*_DENIED):
        keys = str(attempt.key) if attempt.key else "the keys of your SSH agent and ~/.ssh"
        return CannotConnect(
            attempt.server,
            f"{attempt.user} may not log in at {attempt.place} with {keys}",
            remedy=f"add your public key to {attempt.user}'s authorized_keys there,"
            " or name the key's file in RONRON_SSH_KEY",
            details=lines if said(*_KEY_FILE) else (),
        )
    if said(*_NO_NAME):
        return CannotConnect(
            attempt.server,
            f"{attempt.address}: no such name",
            remedy="check its address in ronron.yml",
        )
    return CannotConnect(
        attempt.server,
        f"no connection to {attempt.place}: {lines[-1] if lines else 'no answer'}",
        remedy="is it up, and does its firewall let SSH in?",
        details=lines[:-1],
    )


def was_dropped(stderr: str) -> bool:
    """Whether the server took the connection, and ended it before it said who it is."""
    return "kex_exchange_identification: " in stderr and any(word in stderr for word in _DROPPED)


def _host_key_changed(attempt: Attempt, stderr: str) -> CannotConnect:
    """Refused, with the pinned and the presented fingerprint."""
    presented = re.search(
        r"fingerprint for the (\S+) key .*?(SHA256:[A-Za-z0-9+/]+)", stderr, re.DOTALL
    )
    kind, fingerprint = presented.groups() if presented else ("", "unknown")
    known = pinned(attempt.known_hosts, attempt.server)
    alike = [key for key in known if kind.lower() in key.type] or known
    return CannotConnect(
        attempt.server,
        f"its host key changed: pinned {_said(alike)}, presented {fingerprint} ({kind or '?'})"
        f" by {attempt.place}",
        remedy="if the server was reinstalled, ronron server add"
        f" {attempt.address} --name {attempt.server} pins the new key;"
        " if not, someone may be listening in",
    )


def _said(keys: list[HostKey]) -> str:
    return " ".join(f"{key.fingerprint} ({key.type})" for key in keys)

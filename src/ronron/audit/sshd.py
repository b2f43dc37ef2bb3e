"""A server's SSH: whom sshd itself says it lets in, and ssh-audit's opinion, where ssh-audit is
installed on this computer."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ronron.audit.model import Finding
from ronron.errors import RonronError
from ronron.servers.defend.sshd import settings
from ronron.site.audit import Severity

SECONDS = 60.0
SEVERITY: Mapping[str, Severity] = {"fail": "medium", "warn": "low"}
"""ssh-audit's kinds of notes, the worse one first."""


def command(address: str, port: int) -> list[str]:
    """The command that judges the SSH server at `address`."""
    return ["ssh-audit", "--json", "--timeout=10", f"--port={port}", address]


def look(address: str, port: int) -> dict[str, Any] | None:
    """What ssh-audit says; None where it is not installed.

    Raises RonronError when it says nothing, such as of a port where nobody answers.
    """
    if shutil.which("ssh-audit") is None:
        return None
    try:
        done = subprocess.run(
            command(address, port), capture_output=True, timeout=SECONDS, check=False
        )
        said: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        said = {}
    if "kex" not in said:
        raise RonronError(f"ssh-audit learned nothing from {address}, port {port}")
    return said


def findings(server: str, said: Mapping[str, Any]) -> Iterator[Finding]:
    """Algorithms that fail are one finding, those that it merely warns of another."""
    where = f"server {server}"
    named: dict[str, list[str]] = {level: [] for level in SEVERITY}
    for kind in ("kex", "key", "enc", "mac"):
        for algorithm in said.get(kind) or ():
            notes: Mapping[str, list[str]] = algorithm.get("notes") or {}
            level = next((one for one in SEVERITY if notes.get(one)), None)
            if level is not None:
                named[level].append(f"{algorithm['algorithm']} ({'; '.join(notes[level])})")
    for level, algorithms in named.items():
        if algorithms:
            what = f"SSH offers {len(algorithms)} algorithms of which ssh-audit says {level}"
            remedy = "ronron apply: hardening.ssh sets the algorithms"
            evidence = ", ".join(algorithms)
            yield Finding(f"ssh-{level}", SEVERITY[level], where, what, evidence, remedy)


def logins(
    server: str,
    said: Mapping[str, Mapping[str, str]],
    users: Sequence[str],
    *,
    hardened: bool,
) -> Iterator[Finding]:
    """What sshd's own settings, by the user who logs in, say of passwords; where SSH is `hardened`
    for `users`, what else of them is not as ronron writes it."""
    lines = [line.lower().split(None, 1) for line in settings(users, ()).splitlines()]
    wanted = dict(lines)
    told: dict[str, list[str]] = {"ssh-passwords": [], "ssh-differs": []}
    for user, found in said.items():
        for key, value in found.items():
            # sshd calls it by its older name.
            value = value.replace("without-password", "prohibit-password")
            if value == "yes" and key != "permitrootlogin":
                told["ssh-passwords"].append(f"{key} {value} for {user}")
            elif hardened and value != wanted[key]:
                told["ssh-differs"].append(f"{key} {value} for {user}, not {wanted[key]}")
    what = {
        "ssh-passwords": "SSH accepts passwords: they can be guessed",
        "ssh-differs": "SSH is not as it is declared",
    }
    remedy = "hardening: {ssh: true} in ronron.yml"
    if hardened:
        remedy = (
            "ronron apply; if that changes nothing: Include /etc/ssh/sshd_config.d/*.conf "
            "as the first line of /etc/ssh/sshd_config"
        )
    for name, evidence in told.items():
        if evidence:
            shown = f"sshd -T: {'; '.join(evidence)}"
            yield Finding(name, "high", f"server {server}", what[name], shown, remedy)

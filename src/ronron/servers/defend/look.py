"""Runs on a server: how it is closed, for `ronron.servers.defend.facts`.

It is sent as it is, as the beginning of another program, which calls `look_at_defence`. So it
stands alone: Python 3.9 and its standard library.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

NFT = "/usr/sbin/nft"
LISTING = (NFT, "-s", "-t", "list", "table", "inet", "ronron")
FILES = {
    "rules": "/etc/ronron/firewall.nft",
    "loaded": "/etc/ronron/firewall.loaded",
    "sshd": "/etc/ssh/sshd_config.d/00-ronron.conf",
}
SSHD = "/usr/sbin/sshd"


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def client() -> str:
    """The address of who is connected by SSH; sudo forgets it, its parents have not."""
    pid = os.getpid()
    while pid > 1:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        for entry in environment:
            if entry.startswith(b"SSH_CONNECTION="):
                return entry.partition(b"=")[2].split()[0].decode()
        pid = int(stat.rpartition(")")[2].split()[1])
    return ""


def _addresses() -> list[str]:
    """The server's own addresses, those of containers' bridges left out."""
    try:
        links = json.loads(_output("ip", "-json", "address", "show", "scope", "global") or "[]")
    except ValueError:
        return []
    found = []
    for link in links:
        if not str(link.get("ifname", "")).startswith(("docker", "br-", "veth")):
            for one in link.get("addr_info", ()):
                if "local" in one and not one.get("temporary") and not one.get("deprecated"):
                    found.append(one["local"])
    return sorted(found)


def _algorithms() -> list[str]:
    kinds = ("kex", "cipher", "mac", "HostKeyAlgorithms")
    return [name for kind in kinds for name in _output("ssh", "-Q", kind).split()]


def _release() -> str:
    """The system and its version, such as `debian 13`."""
    lines = [line.partition("=") for line in _read("/etc/os-release").splitlines()]
    found = {key: value.strip('"') for key, _, value in lines}
    return f"{found.get('ID', '')} {found.get('VERSION_ID', '')}".strip()


def look_at_defence() -> dict[str, Any]:
    """All of it."""
    return {
        "client": client(),
        "addresses": _addresses(),
        "release": _release(),
        "algorithms": _algorithms() if Path(SSHD).exists() else [],
        "listing": _output(*LISTING) if Path(NFT).exists() else "",
        **{name: _read(path) for name, path in FILES.items()},
    }

"""Containers' users apart from the server's: the ranges they are in, and a socket for those that
may talk to Docker."""

from __future__ import annotations

from collections.abc import Iterator

from ronron.servers.check import Finding
from ronron.servers.facts import Entry, Facts
from ronron.servers.provision.model import File, Part
from ronron.site.userns import ACCOUNT, FIRST_ID, IDS, SOCKET

RANGES = ("/etc/subuid", "/etc/subgid")
LISTENING = "docker.socket"
UNIT = f"/etc/systemd/system/{LISTENING}.d/60-ronron-userns.conf"

_UNIT = f"""\
# Written by ronron apply: Docker's socket for containers, whose root is not the server's.
[Socket]
ListenStream={SOCKET}
ExecStartPre=/usr/bin/install -d -m 0700 {SOCKET.rpartition("/")[0]}
ExecStartPost=/usr/bin/chown {FIRST_ID} {SOCKET}
"""


def part(*, userns_remap: bool) -> Part:
    """The second socket; nothing where containers' users are the server's own."""
    if not userns_remap:
        return Part()
    why = "containers' root may not use the server's own"
    return Part(
        folders=((UNIT.rpartition("/")[0], 0o755),),
        files=(File(UNIT, _UNIT, why=why, service=LISTENING),),
        services=(LISTENING,),
    )


def ranges(current: str) -> str:
    """`/etc/subuid` or `/etc/subgid` with the containers' range, and other accounts' as it is."""
    kept = [line for line in current.splitlines() if line.partition(":")[0] != ACCOUNT]
    return "\n".join([*kept, f"{ACCOUNT}:{FIRST_ID}:{IDS}"]) + "\n"


def refused(seen: Facts) -> Iterator[Finding]:
    """Which accounts have a part of the containers' range already."""
    for path in RANGES:
        for line in (seen.entries.get(path, Entry(0)).text or "").splitlines():
            account, _, numbers = line.partition(":")
            first, _, count = numbers.partition(":")
            if account == ACCOUNT or not (first.isdecimal() and count.isdecimal()):
                continue
            if int(first) < FIRST_ID + IDS and int(first) + int(count) > FIRST_ID:
                yield Finding(
                    f"{path} gives {account} users that containers have "
                    f"({FIRST_ID} to {FIRST_ID + IDS - 1})",
                    "give that account another range",
                )

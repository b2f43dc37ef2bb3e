"""Who is banned on a server, as fail2ban tells it, and lifting a ban."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ronron.errors import ServerError
from ronron.servers.defend.rules import JAILS
from ronron.servers.runner import Runner


@dataclass(frozen=True)
class Ban:
    """An address that `server` drops, by which rule (`jail`), and from when until when there."""

    server: str
    jail: str
    address: str
    since: str
    until: str


def listing(runner: Runner) -> list[Ban]:
    """The bans of a server; none where fail2ban is not installed.

    Raises ServerError when it does not answer.
    """
    found = []
    for jail in JAILS:
        done = runner.run(["fail2ban-client", "get", jail, "banip", "--with-time"], check=False)
        if done.status == 127:  # not installed: bans are off
            return []
        if done.status:
            raise ServerError(
                runner.name,
                "fail2ban does not answer",
                remedy="systemctl status fail2ban there",
                details=done.stderr.decode(errors="replace").splitlines()[-3:],
            )
        found += parse(runner.name, jail, done.text.splitlines())
    return found


def parse(server: str, jail: str, lines: Iterable[str]) -> list[Ban]:
    """fail2ban's own lines: `192.0.2.7 \t2026-11-27 08:00:00 + 600 = 2026-11-27 08:10:00`."""
    found = []
    for line in lines:
        address, _, times = line.partition("\t")
        since, _, rest = times.partition(" + ")
        if address.strip() and rest:
            until = rest.partition(" = ")[2].strip()
            found.append(Ban(server, jail, address.strip(), since.strip(), until))
    return found


def lift(runner: Runner, address: str | None) -> int:
    """Let an address in again, or everybody; returns how many bans there were."""
    who = [address] if address else ["--all"]
    done = runner.run(["fail2ban-client", "unban", *who], check=False)
    if done.status == 127:
        return 0
    if done.status:
        raise ServerError(runner.name, "fail2ban did not lift the ban", details=[done.text])
    return int(done.text) if done.text.isdecimal() else 0

"""The servers' firewall and SSH in a plan: compared, and tried on each server with a way back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan.model import Change
from ronron.plan.observe import Reality
from ronron.servers.defend import rules, sshd
from ronron.servers.defend.attempt import attempt
from ronron.servers.defend.facts import Defence
from ronron.servers.hostkeys import pinned
from ronron.site.load import LoadedSite
from ronron.site.models import Site
from ronron.site.security import ANY, declared_ports

if TYPE_CHECKING:
    from ronron.plan.session import Session

BY_HAND = "changed by hand"


def changes(loaded: LoadedSite, reality: Reality) -> Iterator[Change]:
    """What would change of the servers' firewall and SSH.

    The rules name every server's addresses: while one does not answer nothing is told. Raises
    OperatorError where the operator would be locked out.
    """
    if reality.failures:
        return
    for name, facts in reality.facts.items():
        seen = facts.defence
        _admit(loaded.site, reality, name, seen.client)
        for path, text in wanted(loaded, reality, name).items():
            told = _rules if path == rules.FILE else _sshd
            yield from told(f"server {name}", seen, text)


def carry_out(session: Session, reality: Reality) -> list[RonronError]:
    """Try on every server what differs there; returns what failed, and was undone."""
    loaded = session.loaded
    differing = {change.where.removeprefix("server ") for change in changes(loaded, reality)}

    def one(name: str) -> None:
        with step(session.report, "try firewall and SSH settings", name):
            attempt(session.servers[name], wanted(loaded, reality, name))

    _, failures = session.servers.on_each(lambda runner: one(runner.name), sorted(differing))
    return list(failures.values())


def wanted(loaded: LoadedSite, reality: Reality, name: str) -> dict[str, str | None]:
    """The files that differ from what they shall be on a server: path to text, None for no file."""
    site, seen = loaded.site, reality.facts[name].defence
    server, own = site.server(name), _addresses(reality)
    text: str | None = rules.without(bans=site.hardening.bans)
    if site.firewall.enabled:
        ports = declared_ports(site, loaded.apps)
        text = rules.ruleset(
            ports[name],
            own,
            site.firewall.trusted,
            bans=site.hardening.bans,
            everywhere=chain.from_iterable(ports.values()),
        )
    elif not (seen.rules or site.hardening.bans):
        text = None
    files: dict[str, str | None] = {}
    if (text or "") != seen.rules or (text and seen.listing != seen.loaded):
        files[rules.FILE] = text
    users = (server.user, *site.hardening.ssh_users)
    unpunished = (*own, *site.firewall.trusted)
    settings = None
    if site.hardening.ssh:
        # Otherwise a server that is pinned by RSA alone could not be connected to any more.
        rsa = "ssh-ed25519" not in {key.type for key in pinned(loaded.known_hosts, name)}
        settings = sshd.settings(users, seen.algorithms, unpunished, release=seen.release, rsa=rsa)
    if (settings or "") != seen.sshd:
        files[sshd.FILE] = settings
    return files


def _addresses(reality: Reality) -> list[str]:
    return sorted({one for found in reality.addresses.values() for one in found})


def _admit(site: Site, reality: Reality, name: str, client: str) -> None:
    """Refuse rules that would shut out whoever is connected now."""
    allowed = site.firewall.ssh_from
    if not client or not site.firewall.enabled or ANY in allowed:
        return
    address = ipaddress.ip_address(client.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if not _is_in(mapped or address, (*allowed, *_addresses(reality))):
        raise OperatorError(
            f"ronron.yml: firewall.ssh_from: {mapped or address} is not in it, and that is where "
            f"{name} is reached from now: you would lock yourself out",
            remedy=f"add {mapped or address} or its network",
        )


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Iterable[str]) -> bool:
    return any(address in ipaddress.ip_network(network) for network in networks)


def _rules(where: str, seen: Defence, text: str | None) -> Iterator[Change]:
    """One change for each port that opens or closes, or one for the rules as a whole."""
    before, after = rules.summaries(seen.rules), rules.summaries(text or "")
    if text and not after and not seen.rules:
        yield Change(where, "firewall", None, "the sets of the banned alone")
        return
    if not before and after:
        yield Change(where, "firewall", None, "closed but for what is declared")
    elif before and not after:
        yield Change(where, "firewall", "closed but for what is declared", None)
    for port in sorted({*before, *after}):
        if before.get(port) != after.get(port):
            yield Change(where, f"port {port}", before.get(port), after.get(port))
    if before == after:
        same = text == seen.rules
        why = BY_HAND if same else "the servers' addresses, another's ports, or ronron's rules"
        yield Change(where, "firewall rules", "differ", "as declared", why)


def _sshd(where: str, seen: Defence, text: str | None) -> Iterator[Change]:
    before, after = _settings(seen.sshd), _settings(text or "")
    if not (before and after):
        closed = f"keys alone, users {(after or before).get('AllowUsers', '')}, current ciphers"
        yield Change(where, "SSH", closed if before else None, closed if after else None)
        return
    for key in [*after, *(key for key in before if key not in after)]:
        if before.get(key) != after.get(key):
            yield Change(where, f"SSH {key}", before.get(key), after.get(key))
    if before == after:
        yield Change(where, "SSH settings", "differ", "as declared")


def _settings(text: str) -> dict[str, str]:
    lines = [line.split(None, 1) for line in text.splitlines() if not line.startswith("#")]
    return {words[0]: words[1] for words in lines if len(words) == 2}

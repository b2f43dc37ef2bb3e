"""A provider's firewall from the site's declared ports: what is wanted, compared with what is.

Pure: a provider's own module reads and writes what these compare.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ronron.site.security import ANY, SERVERS, DeclaredPort

EVERYBODY = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, order=True)
class Rule:
    """Traffic that is let in: protocol, ports from `first` to `last`, and from which network.

    `any` is every protocol, and has no ports, as `icmp`.
    """

    protocol: Literal["tcp", "udp", "icmp", "any"]
    first: int
    last: int
    network: str

    @property
    def text(self) -> str:
        """`tcp/443 from 0.0.0.0/0`."""
        ports = {0: ""}.get(self.first, f"/{self.first}")
        ports += f"-{self.last}" if self.last != self.first else ""
        return f"{self.protocol}{ports} from {self.network}"


@dataclass(frozen=True)
class Group:
    """A server's firewall at the provider. `drops` says whether what no rule names is dropped,
    `attached` whether the server uses it. `id` is the provider's, empty where there is none."""

    rules: frozenset[Rule] = frozenset()
    drops: bool = False
    attached: bool = False
    id: str = ""


@dataclass(frozen=True)
class Change:
    """One difference of a server's firewall at the provider; as those of `ronron plan`."""

    server: str
    field: str
    before: str | None
    after: str | None
    why: str = ""


def wanted(ports: Iterable[DeclaredPort], addresses: Mapping[str, str]) -> Mapping[Rule, str]:
    """The rules of one server by its declared ports, with what each is for.

    `addresses` are those of the site's servers, by name.
    """
    # Without these a connection stalls where the path takes only smaller packets.
    found = {Rule("icmp", 0, 0, network): "errors and pings" for network in EVERYBODY}
    for port in ports:
        for network in _networks(port.sources, addresses):
            if port.protocol == "esp":
                rule = Rule("any", 0, 0, network)
            else:
                rule = Rule(port.protocol, port.first, port.last, network)
            found.setdefault(rule, port.why)
    return found


def _networks(sources: Iterable[str], addresses: Mapping[str, str]) -> Iterator[str]:
    for source in sources:
        if source == ANY:
            yield from EVERYBODY
        elif source == SERVERS:
            yield from sorted(str(ipaddress.ip_network(one)) for one in addresses.values())
        else:
            yield str(ipaddress.ip_network(source))


def changes(server: str, there: Group, rules: Mapping[Rule, str]) -> Iterator[Change]:
    """What would change at the provider for one server."""
    if not there.id:
        yield Change(server, "security group", None, "created")
    if not there.drops:
        before = "accepted" if there.id else None
        yield Change(server, "other traffic", before, "dropped", "what is not declared is closed")
    for rule in sorted(set(rules) - there.rules):
        yield Change(server, "rule", None, rule.text, rules[rule])
    for rule in sorted(there.rules - set(rules)):
        yield Change(server, "rule", rule.text, None, "not declared")
    if not there.attached:
        # Last: a server must not be without the rules that it needs.
        yield Change(server, "attached", None if not there.id else "another group", "this group")

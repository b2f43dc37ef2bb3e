"""`firewall` and `hardening` in `ronron.yml`, and the ports that a site declares.

`declared_ports` is the one place that says which ports are open, to whom, and why: the servers'
firewall, a provider's rules and the audit all come from it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from ronron.errors import Problem
from ronron.site import logs, values
from ronron.site.fields import Model, Name

if TYPE_CHECKING:
    from ronron.site.models import App, Server, Site

ANY = "any"
"""From whom a port is open: everybody."""

SERVERS = "servers"
"""From whom a port is open: the site's servers alone."""

PORTS_PATTERN = "^[0-9]{1,5}(-[0-9]{1,5})?$"


def _ports(value: Any) -> str:  # noqa: ANN401
    """A port, `2222`, or a range of them, `9000-9010`."""
    first, _, last = str(value).partition("-")
    numbers = [int(one) for one in (first, last or first) if one.isdecimal()]
    if isinstance(value, bool) or len(numbers) < 2 or not 0 < numbers[0] <= numbers[1] < 65536:
        raise values.fault(
            f"{values.shown(str(value))} is not a port", "such as 2222, or a range: 9000-9010"
        )
    return str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}-{numbers[1]}"


def _source(text: str) -> str:
    """`any`, or an IP address or network in its canonical form."""
    if text == ANY:
        return text
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        bits = "has host bits" in str(error)
        remedy = str(ipaddress.ip_network(text, strict=False)) if bits else "192.0.2.7, 10.0.0.0/8"
        raise values.fault(
            f"{values.shown(text)} is not an IP address or network",
            f"did you mean {remedy}?" if bits else f"any, or such as {remedy}",
        ) from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _sources(items: tuple[str, ...]) -> tuple[str, ...]:
    """Sources that do not contradict each other."""
    if not items:
        raise values.fault("is empty: nobody could connect", f"write [{ANY}], or addresses")
    if ANY in items and len(items) > 1:
        others = ", ".join(item for item in items if item != ANY)
        raise values.fault(
            f"{ANY} and {others} contradict each other", f"keep {ANY}, or the addresses alone"
        )
    return _addresses(items)


def _addresses(items: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks none of which lies in another."""
    for one, other in combinations((item for item in items if item != ANY), 2):
        a, b = ipaddress.ip_network(one), ipaddress.ip_network(other)
        if a.version == b.version and a.overlaps(b):
            raise values.fault(f"{one} and {other} overlap", "keep the larger one")
    return items


Source = Annotated[str, AfterValidator(_source)]
Sources = Annotated[
    tuple[Source, ...],
    Field(strict=False, json_schema_extra={"minItems": 1}),
    AfterValidator(_sources),
]


def _no_any(items: tuple[str, ...]) -> tuple[str, ...]:
    if ANY in items:
        raise values.fault(f"{ANY} would trust everybody", "give addresses or networks")
    return _addresses(items)


class Port(Model):
    """A port, or a range of ports, that is opened."""

    port: Annotated[
        str,
        PlainValidator(_ports),
        WithJsonSchema({"type": ["integer", "string"], "pattern": PORTS_PATTERN}),
    ] = Field(description="Port, or a range: `9000-9010`.")
    protocol: Literal["tcp", "udp"] = Field(default="tcp", description="`tcp` or `udp`.")
    allowed: Sources = Field(
        default=(ANY,), alias="from", description="Who may connect: `any`, addresses, networks."
    )
    why: str = Field(min_length=1, description="What it is for: shown in the plan.")


class ServerPort(Port):
    """A port of a program that is no app, on some servers or on all."""

    servers: Annotated[tuple[Name, ...], Field(strict=False)] = Field(
        default=(), description="On which servers; default: on all."
    )


class Firewall(Model):
    """The servers' own firewall: what is not declared is closed."""

    enabled: bool = Field(
        default=True, description="Whether the servers have one; `false` removes ronron's rules."
    )
    ssh_from: Sources = Field(
        default=(ANY,),
        description="Who may reach SSH besides the site's servers: `any`, addresses, networks.",
    )
    trusted: Annotated[tuple[Source, ...], Field(strict=False), AfterValidator(_no_any)] = Field(
        default=(), description="Addresses and networks that are never banned or slowed."
    )
    ports: Annotated[tuple[ServerPort, ...], Field(strict=False)] = Field(
        default=(), description="Ports of programs that are no apps."
    )


class Hardening(Model):
    """How the servers are closed beside the firewall."""

    ssh: bool = Field(
        default=True,
        description="SSH by keys alone, for the site's user alone, with current ciphers.",
    )
    ssh_users: Annotated[
        tuple[Annotated[str, AfterValidator(values.user)], ...], Field(strict=False)
    ] = Field(default=(), description="Who else may log in by SSH, besides the servers' `user`.")
    bans: bool = Field(
        default=True, description="fail2ban: who tries passwords or scans is banned for a while."
    )
    system: bool = Field(
        default=True, description="Kernel settings, core dumps, umask, audit rules."
    )
    reboot: (
        Annotated[str, AfterValidator(values.clock), WithJsonSchema({"type": "string"})] | None
    ) = Field(
        default=None,
        description="When servers that need it are restarted, one by one, drained first: `03:30`, "
        "in the manager's time zone; without it they are not.",
    )


@dataclass(frozen=True)
class DeclaredPort:
    """A port of a server that answers: from `first` to `last`, to whom, and why.

    `sources` are `any`, `servers` (the site's own), or addresses and networks. `declared` is
    where it is written, as file and path; empty for what ronron itself needs. ESP has no ports.
    Of a `limited` one nobody may make too many connections.
    """

    protocol: Literal["tcp", "udp", "esp"]
    first: int
    last: int
    sources: tuple[str, ...]
    why: str
    declared: tuple[str, str] = ("", "")
    limited: bool = False

    @property
    def text(self) -> str:
        """`tcp/443`, `udp/9000-9010`, `esp`."""
        if self.protocol == "esp":
            return self.protocol
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol}/{ports}"

    def covers(self, protocol: str, port: int) -> bool:
        """Whether `port` of `protocol` is meant."""
        return self.protocol == protocol and self.first <= port <= self.last


def declared_ports(site: Site, apps: Mapping[str, App]) -> dict[str, tuple[DeclaredPort, ...]]:
    """The open ports of every server, by its name: nothing else answers from outside.

    An app's ports are declared for all servers, since any may run it.
    """
    return {
        server.name: (
            *_own(site, server),
            *_store(site, server, apps),
            *_added(site, server),
            *_of_apps(apps),
        )
        for server in site.servers.values()
    }


def _own(site: Site, server: Server) -> Iterator[DeclaredPort]:
    """What ronron itself needs open on a server."""
    ssh = site.firewall.ssh_from
    who = ssh if ANY in ssh else (SERVERS, *ssh)
    yield DeclaredPort("tcp", server.port, server.port, who, "SSH", limited=True)
    if server.name == site.manager.name:
        yield _port("tcp", 80, (ANY,), "the proxy: ACME, and a redirect to HTTPS")
        yield _port("tcp", 443, (ANY,), "the proxy: HTTPS")
        yield _port("tcp", 5000, (SERVERS,), "the site's registry")
    if server.is_manager:
        yield _port("tcp", 2377, (SERVERS,), "the swarm's managers")
    yield _port("tcp", 7946, (SERVERS,), "the swarm's members")
    yield _port("udp", 7946, (SERVERS,), "the swarm's members")
    yield _port("udp", 4789, (SERVERS,), "networks between the servers")
    if site.network.encrypted:
        yield DeclaredPort("esp", 0, 0, (SERVERS,), "encrypted networks between the servers")
    for protocol, first, last, why in _storage(site, server):
        yield DeclaredPort(protocol, first, last, (SERVERS,), why)


def _store(site: Site, server: Server, apps: Mapping[str, App]) -> Iterator[DeclaredPort]:
    """The log store's port, where there is one."""
    if server.name == site.manager.name and logs.store_of(apps.values()):
        yield _port("tcp", logs.PORT, (SERVERS,), "the site's log store")


def _storage(site: Site, server: Server) -> Iterator[tuple[Literal["tcp", "udp"], int, int, str]]:
    """Ports of the shared storage on a server."""
    shared: str = site.storage.shared
    if shared == "nfs" and server.name == site.storage_server.name:
        yield "tcp", 2049, 2049, "NFS"
    if shared == "glusterfs":
        yield "tcp", 24007, 24008, "GlusterFS"
        yield "tcp", 49152, 60999, "GlusterFS's bricks"


def _added(site: Site, server: Server) -> Iterator[DeclaredPort]:
    for index, item in enumerate(site.firewall.ports):
        if not item.servers or server.name in item.servers:
            yield _of(item, item.why, ("ronron.yml", f"firewall.ports.{index}"))


def _of_apps(apps: Mapping[str, App]) -> Iterator[DeclaredPort]:
    for app in apps.values():
        for index, item in enumerate(app.published_ports):
            yield _of(
                item,
                f"app {app.name}: {item.why}",
                (f"apps/{app.name}.yml", f"published_ports.{index}"),
            )


def _of(item: Port, why: str, declared: tuple[str, str]) -> DeclaredPort:
    first, _, last = item.port.partition("-")
    return DeclaredPort(item.protocol, int(first), int(last or first), item.allowed, why, declared)


def _port(
    protocol: Literal["tcp", "udp"], port: int, sources: tuple[str, ...], why: str
) -> DeclaredPort:
    return DeclaredPort(protocol, port, port, sources, why)


def problems(site: Site, apps: Iterable[App]) -> list[Problem]:
    """Ports that are declared twice on a server, and ports of servers that there are not."""
    found = []
    for index, item in enumerate(site.firewall.ports):
        for name in item.servers:
            if name not in site.servers:
                remedy = values.suggestion(name, site.servers) or "see ronron server list"
                path = f"firewall.ports.{index}.servers"
                found.append(Problem("ronron.yml", path, f"there is no server {name}", remedy))
    told = set()
    declared = declared_ports(site, {app.name: app for app in apps}) if site.servers else {}
    for ports in declared.values():
        for one, other in combinations(ports, 2):
            same = one.protocol == other.protocol
            if same and one.first <= other.last and other.first <= one.last:
                file, path = other.declared
                if file and (other.declared, one.declared, one.text) not in told:
                    told.add((other.declared, one.declared, one.text))
                    before = ": ".join(one.declared) if one.declared[0] else one.why
                    message = f"{other.text} is declared already ({one.text}: {before})"
                    found.append(Problem(file, path, message, "declare each port once"))
    return found

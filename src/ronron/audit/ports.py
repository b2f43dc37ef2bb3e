"""Open ports against the declaration."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol

from ronron.audit.model import Finding
from ronron.site.audit import Severity
from ronron.site.security import ANY, SERVERS

_DATABASES = {
    1433: "SQL Server", 1521: "Oracle", 3306: "MariaDB or MySQL", 5432: "PostgreSQL",
    5984: "CouchDB", 6379: "Redis", 8086: "InfluxDB", 9042: "Cassandra", 9200: "Elasticsearch",
    11211: "memcached", 27017: "MongoDB",
}  # fmt: skip
_METRICS = {
    9090: "Prometheus", 9091: "the push gateway", 9093: "Alertmanager", 9100: "the node exporter",
    9115: "the blackbox exporter", 9323: "Docker's metrics", 9428: "VictoriaLogs",
}  # fmt: skip
_SWARM = {2377: "the swarm's managers", 4789: "networks of containers", 7946: "the swarm's gossip"}
_STORAGE = {111: "rpcbind", 2049: "NFS", 24007: "GlusterFS", 24008: "GlusterFS"}

_KNOWN: Mapping[int, tuple[str, Severity, str]] = {
    2375: ("docker-api-open", "critical", "Docker's API, which is root on the server"),
    2376: ("docker-api-open", "critical", "Docker's API, which is root on the server"),
    5000: ("registry-open", "high", "the container registry"),
    **{
        port: ("database-open", "critical", f"a database ({it})") for port, it in _DATABASES.items()
    },
    **{port: ("metrics-open", "high", f"metrics ({it})") for port, it in _METRICS.items()},
    **{port: ("swarm-open", "high", it) for port, it in _SWARM.items()},
    **{port: ("storage-open", "high", it) for port, it in _STORAGE.items()},
}
"""What listens on a port by convention: finding, severity, name."""


class Declared(Protocol):
    """A declared port, as `site.security` has it."""

    @property
    def sources(self) -> tuple[str, ...]:
        """From whom it is open."""

    @property
    def why(self) -> str:
        """What it is for."""

    def covers(self, protocol: str, port: int) -> bool:
        """Whether it is that port."""


_CLIENTS = (68, 546)
"""UDP ports on which a server waits for its own address: DHCP."""


def admits(sources: Iterable[str], auditor: str) -> bool:
    """Whether a port that is open to `sources` is open to a stranger with the address `auditor`,
    which is empty where it is not known."""
    networks = set(sources) - {SERVERS}
    if ANY in networks or not auditor:
        return ANY in networks
    address = ipaddress.ip_address(auditor.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(one) for one in networks)


def findings(
    server: str,
    answered: Iterable[tuple[Literal["tcp", "udp"], int]],
    declared: Iterable[Declared],
    auditor: str,
) -> Iterator[Finding]:
    """What answers on `server` and should not, to whoever asks from the address `auditor`. It is
    taken for no server of the site."""
    known = tuple(declared)
    where = f"server {server}"
    for protocol, port in sorted(answered):
        matching = [one for one in known if one.covers(protocol, port)]
        if any(admits(one.sources, auditor) for one in matching):
            continue
        evidence = f"{protocol}/{port} answers"
        name, severity, what = _KNOWN.get(port, ("port-undeclared", "high", "something"))
        if matching:
            whom = [one for one in matching[0].sources if one != SERVERS]
            others = ", ".join(["the site's servers"] * (SERVERS in matching[0].sources) + whom)
            evidence += f" to {auditor or 'this computer'}; "
            evidence += f"declared for {others} alone ({matching[0].why})"
            remedy = "ronron plan shows whether the firewall is as declared; ronron apply mends it"
            alone = "port-for-others-open" if whom else "port-for-servers-open"
            name = alone if name == "port-undeclared" else name
        else:
            remedy = (
                "stop what listens there (ss -lntup on the server), or declare it: firewall.ports "
                "in ronron.yml, published_ports in an app's file"
            )
        title = f"strangers reach {what} on port {port}"
        yield Finding(name, severity, where, title, evidence, remedy)


def listening(
    server: str,
    udp: Iterable[tuple[int, str, str]],
    declared: Iterable[Declared],
    *,
    firewall: bool,
) -> Iterator[Finding]:
    """What listens on UDP on `server` (port, address, program) and is not declared. Most programs
    stay silent to a scan; behind a `firewall` nobody reaches them."""
    known = tuple(declared)
    where = f"server {server}"
    found: dict[int, list[str]] = {}
    for port, address, program in udp:
        if port not in _CLIENTS and not any(one.covers("udp", port) for one in known):
            found.setdefault(port, []).append(f"{program or 'the kernel'} on {address}")
    for port, evidence in sorted(found.items()):
        behind = (
            "the firewall alone keeps strangers from it" if firewall else "nothing is before it"
        )
        what = f"something listens on UDP port {port}, which is not declared: {behind}"
        remedy = "stop it, let it listen on 127.0.0.1, or declare its port under firewall.ports"
        severity: Severity = "low" if firewall else "medium"
        # By its number, so that one port is accepted and the others are not.
        yield Finding(f"udp-undeclared-{port}", severity, where, what, ", ".join(evidence), remedy)

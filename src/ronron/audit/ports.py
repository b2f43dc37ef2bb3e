"""Open ports against the declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol

from ronron.audit.model import Finding
from ronron.site.audit import Severity

SERVERS = "servers"

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


def findings(
    server: str,
    answered: Iterable[tuple[Literal["tcp", "udp"], int]],
    declared: Iterable[Declared],
) -> Iterator[Finding]:
    """What answers a stranger on `server` and should not. A stranger is no server of the site; that
    a port declared for some addresses answers may be because they are the auditor's."""
    known = tuple(declared)
    where = f"server {server}"
    for protocol, port in sorted(answered):
        matching = [one for one in known if one.covers(protocol, port)]
        if any(set(one.sources) != {SERVERS} for one in matching):
            continue
        evidence = f"{protocol}/{port} answers"
        name, severity, what = _KNOWN.get(port, ("port-undeclared", "high", "something"))
        if matching:
            evidence += f"; declared for the site's servers alone ({matching[0].why})"
            remedy = "ronron plan shows whether the firewall is as declared; ronron apply mends it"
            name = "port-for-servers-open" if name == "port-undeclared" else name
        else:
            remedy = (
                "stop what listens there (ss -lntup on the server), or declare it: firewall.ports "
                "in ronron.yml, published_ports in an app's file"
            )
        title = f"strangers reach {what} on port {port}"
        yield Finding(name, severity, where, title, evidence, remedy)

"""Is a server fit to be used? Looked at over SSH; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ronron.errors import ServerError
from ronron.events import Report, ignore, step
from ronron.servers.facts import Facts, Query, facts
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from ronron.servers.connections import Connections
    from ronron.site.load import LoadedSite
    from ronron.site.models import Site

GIB = 1 << 30
LEAST_FREE = 2 * GIB
"""Free bytes below which a disk is too full to be used."""
LEAST_MEMORY = GIB // 2
WEB_PORTS = (80, 443)
OURS = ("docker-proxy", "dockerd")
"""Programs that hold a port on behalf of a container."""
ENCRYPTION_TEST = (
    *("unshare", "--net", "ip", "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2"),
    *("proto", "esp", "spi", "1", "mode", "transport"),
    *("aead", "rfc4106(gcm(aes))", "0x" + 20 * "01", "64"),
)
"""Makes an ESP association as Docker does for encrypted networks, in a network namespace aside.
Fails (2: refused by the kernel) where such networks would carry no packet."""
REFUSED = 2
MACHINES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Finding:
    """Something wrong with a server; a `fatal` one keeps it from being used."""

    message: str
    remedy: str = ""
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UnfitServer(ServerError):
    """A server that must not be used as it is: nothing was changed on it."""

    exit_code = 2

    def __init__(self, server: str, findings: Sequence[str]) -> None:
        super().__init__(server, findings[0], details=findings[1:])


@dataclass(frozen=True)
class ServerCheck:
    """What was found on one server; without `facts` it could not be looked at."""

    server: str
    facts: Facts | None
    findings: tuple[Finding, ...] = ()
    error: ServerError | None = None

    @property
    def fit(self) -> bool:
        """Whether nothing fatal was found."""
        return not any(finding.fatal for finding in self.findings)


def check(
    loaded: LoadedSite,
    connections: Connections,
    names: Iterable[str] | None = None,
    report: Report = ignore,
) -> list[ServerCheck]:
    """Look at all servers of the site, or at those named, at once; in the site's order."""
    wanted = list(loaded.site.servers if names is None else names)

    site = loaded.site

    def look(runner: Runner) -> ServerCheck:
        with step(report, "check", runner.name):
            modules = nfs_modules(site, runner.name)
            seen = facts(runner, Query(ports=WEB_PORTS, modules=modules))
            found = (
                *judge(seen, site.servers[runner.name].is_manager),
                *lacking(seen, modules),
            )
            network = _network(runner) if site.network.encrypted else ()
            return ServerCheck(runner.name, seen, (*found, *network))

    found, failures = connections.on_each(look, wanted)
    return [found.get(name) or unreachable(name, failures[name]) for name in wanted]


def nfs_modules(site: Site, server: str) -> tuple[str, ...]:
    """The kernel's modules by which a server has its part in NFS."""
    if site.storage.shared != "nfs":
        return ()
    return ("nfsd",) if server == site.storage_server.name else ("nfsv4",)


def unreachable(name: str, error: ServerError) -> ServerCheck:
    """The check of a server that could not be looked at."""
    message = error.message.removeprefix(f"{name}: ")
    return ServerCheck(name, None, (Finding(message, error.remedy),), error)


def judge(seen: Facts, manager: bool) -> tuple[Finding, ...]:
    """What is wrong with a server of these facts; a `manager` needs the ports of the web."""
    return (
        *_system(seen),
        *_disks(seen),
        *_memory(seen),
        *(_ports(seen) if manager else ()),
    )


def unfit(seen: Facts, manager: bool, *, changing: bool) -> tuple[Finding, ...]:
    """Why a server must not be provisioned.

    One that needs no change is left in peace, but for the ports that the proxy needs: an
    operator with a full disk must still be able to remove an app.
    """
    found = judge(seen, manager) if changing else tuple(_ports(seen) if manager else ())
    return tuple(finding for finding in found if finding.fatal)


def lacking(seen: Facts, modules: Iterable[str]) -> tuple[Finding, ...]:
    """Which of the kernel's modules that are needed there are not."""
    return tuple(
        Finding(f"its kernel has no {name}", "install the distribution's own kernel")
        for name in modules
        if name not in seen.modules
    )


def _system(seen: Facts) -> Iterable[Finding]:
    remedy = "use Debian 12 or 13, or Ubuntu 22.04 or newer"
    name = f"{seen.system} {seen.version}".strip() or "an unknown system"
    try:
        version = float(seen.version or "nan")
    except ValueError:
        version = float("nan")
    if seen.system == "debian" and not seen.version:
        yield Finding("Debian testing or unstable is not tested", remedy, fatal=False)
    elif seen.system not in ("debian", "ubuntu"):
        yield Finding(f"{name} is not supported", remedy)
    elif not version >= (12 if seen.system == "debian" else 22.04):
        yield Finding(f"{name} is too old", remedy)
    if seen.machine not in MACHINES:
        yield Finding(f"{seen.machine} processors are not supported", "use amd64 or arm64")


def _network(runner: Runner) -> Iterable[Finding]:
    if runner.run(ENCRYPTION_TEST, check=False).status == REFUSED:
        yield Finding(
            "its kernel cannot encrypt the network between servers: apps would not be reached",
            "install a kernel with ESP, or set network: {encrypted: false} in ronron.yml where "
            "the servers share a private network",
        )


def _disks(seen: Facts) -> Iterable[Finding]:
    told = set()
    for path, disk in seen.disks.items():
        if disk.free < LEAST_FREE and disk not in told:
            told.add(disk)
            yield Finding(
                f"too little disk: {disk.free / GIB:.1f} GiB free at {path}",
                f"free at least {LEAST_FREE // GIB} GiB",
            )


def _memory(seen: Facts) -> Iterable[Finding]:
    if seen.memory < LEAST_MEMORY:
        yield Finding(f"little memory: {seen.memory / GIB:.1f} GiB", fatal=False)


def _ports(seen: Facts) -> Iterable[Finding]:
    for port, program in seen.listeners.items():
        if program not in OURS:
            yield Finding(
                f"port {port} is already used by {program or 'an unknown program'}",
                f"stop it: the proxy needs ports {' and '.join(map(str, WEB_PORTS))}",
            )

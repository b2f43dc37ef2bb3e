"""Planning and applying provisioning: starts the worker, and reads what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, uuid5

from ronron.errors import ServerError
from ronron.events import Event, Report, State, ignore
from ronron.servers import gluster, shipping
from ronron.servers.check import UnfitServer
from ronron.servers.connections import Connections
from ronron.servers.defend.part import part as closing
from ronron.servers.facts import why_not
from ronron.servers.names import is_address, lookup_all
from ronron.servers.process import last_lines
from ronron.servers.provision import journal, leftovers, monitored, remap, requests
from ronron.servers.provision.model import (
    Change,
    Declared,
    LogAccess,
    Part,
    Pool,
    ProvisioningPlan,
    RegistryAccess,
    StorageAccess,
)
from ronron.servers.ssh import SshRunner
from ronron.servers.storage import nfs, pool
from ronron.site.logs import days, store_of
from ronron.site.userns import data_folder

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite
    from ronron.site.models import Server, Site

MANAGER_PACKAGES = ("openssh-client", "python3-venv")
"""What the manager needs so that ronron can be carried to it."""

NO_STORAGE = StorageAccess()
NO_LOGS = LogAccess()


def plan_provisioning(
    loaded: LoadedSite,
    connections: Connections,
    registry: RegistryAccess | None = None,
    report: Report = ignore,
    *,
    storage: StorageAccess = NO_STORAGE,
    logs: LogAccess = NO_LOGS,
    names: Iterable[str] | None = None,
) -> ProvisioningPlan:
    """What provisioning would change on all servers of the site, or on those named.

    `registry` is the servers' access to the site's registry, which the first manager hosts,
    `storage` that to its distributed storage, `logs` that to its log store.
    Nothing is written. One server that fails hides no other.
    """
    return _provision(loaded, connections, registry, (storage, logs), report, names, apply=False)


def apply_provisioning(
    loaded: LoadedSite,
    connections: Connections,
    registry: RegistryAccess | None = None,
    report: Report = ignore,
    *,
    storage: StorageAccess = NO_STORAGE,
    logs: LogAccess = NO_LOGS,
    names: Iterable[str] | None = None,
) -> ProvisioningPlan:
    """Make the changes of `plan_provisioning`, and return them with the servers that failed."""
    return _provision(loaded, connections, registry, (storage, logs), report, names, apply=True)


def declare(
    loaded: LoadedSite,
    addresses: Mapping[str, str],
    registry: RegistryAccess | None,
    storage: StorageAccess = NO_STORAGE,
    logs: LogAccess = NO_LOGS,
) -> dict[str, Declared]:
    """What every server of the site shall be, by name.

    `addresses` has the servers' IP addresses; that of a server whose name was not found is
    missing there, and is kept in /etc/hosts as it is.
    """
    site = loaded.site
    first = site.manager.name
    # By name: fail2ban looks them up in /etc/hosts, so that a server that is away changes nothing.
    # Their other addresses it is told by the firewall.
    ignored = (*(server.address for server in site.servers.values()), *site.firewall.trusted)
    closed = closing(site.hardening, ignored, data_folder(site.docker.first_id))
    hosts = tuple(
        (addresses.get(name, ""), _names(server, registry if name == first else None))
        for name, server in site.servers.items()
    )
    store = store_of(loaded.apps.values())
    if store is not None:
        hosts = tuple(
            (at, (*named, shipping.HOST) if name == first else named)
            for name, (at, named) in zip(site.servers, hosts, strict=True)
        )
    kept = journal.part(site.logs.retention.of_journals)
    requested = requests.part(days(site.logs.retention.access), site.docker.first_id)
    return {
        name: Declared(
            server=name,
            manager=server.is_manager,
            hosts=hosts,
            subnet=site.network.subnet,
            docker=site.docker.packages,
            no_new_privileges=site.docker.no_new_privileges,
            userns_remap=site.docker.userns_remap,
            registry=registry,
            packages=_packages(site, server),
            part=kept
            + requested
            + leftovers.part()
            + monitored.part()
            + remap.part(userns_remap=site.docker.userns_remap)
            + shipping.part(name, loaded.apps.values(), logs)
            + _shared(site, name, storage, addresses)
            + closed,
            pool=_pool(site) if name == site.storage_server.name else None,
        )
        for name, server in site.servers.items()
    }


def _shared(site: Site, name: str, storage: StorageAccess, addresses: Mapping[str, str]) -> Part:
    """What the shared storage wants on a server, whichever it is."""
    if site.storage.shared == "nfs":
        return nfs.part(site, name, addresses)
    return gluster.part(site, name, storage)


def _packages(site: Site, server: Server) -> tuple[str, ...]:
    """What a server needs beside Docker: on the manager what runs ronron, where the volumes of
    files are what makes backups."""
    found = MANAGER_PACKAGES if server.name == site.manager.name else ()
    if server.name != site.storage_server.name:
        return found
    found = (*found, *pool.packages(_pool(site)))
    if site.backup is None:
        return found
    rclone = ("rclone",) if site.backup.repository.startswith("rclone:") else ()
    return (*found, "restic", *rclone)


def _pool(site: Site) -> Pool | None:
    """The storage server's pool. Its UUID follows from the site's names."""
    wanted = site.storage.pool
    if wanted is None:
        return None
    uuid = str(uuid5(NAMESPACE_DNS, f"pool.{site.name}.{site.domain}"))
    filesystem = "btrfs" if wanted.kind == "btrfs" else wanted.filesystem
    return Pool(wanted.disks, wanted.kind, filesystem, wanted.erase, uuid)


def _names(server: Server, registry: RegistryAccess | None) -> tuple[str, ...]:
    """A server's names as /etc/hosts has them, the full one first; and the registry's name."""
    own = {server.address, server.name} if not is_address(server.address) else {server.name}
    hosted = registry.registry.rpartition(":")[0] if registry else ""
    more = (hosted,) if hosted and not is_address(hosted) else ()
    return (*sorted(own, key=len, reverse=True), *more)


def _addresses(loaded: LoadedSite) -> dict[str, str]:
    """The servers' addresses now. Who is not found is missing: its connection says so."""
    servers = loaded.site.servers
    return lookup_all({n: one.address for n, one in servers.items()}, loaded.site.resolver)


def _provision(
    loaded: LoadedSite,
    connections: Connections,
    registry: RegistryAccess | None,
    shared: tuple[StorageAccess, LogAccess],
    report: Report,
    names: Iterable[str] | None,
    *,
    apply: bool,
) -> ProvisioningPlan:
    wanted = list(loaded.site.servers if names is None else names)
    changes: dict[str, list[Change]] = {}
    with _worker() as worker:  # it loads pyinfra while the connections are made
        failures: dict[str, ServerError] = dict(connections.open(wanted))
        runners = {name: connections[name] for name in wanted if name not in failures}
        declared = declare(loaded, _addresses(loaded), registry, *shared)
        for kind, value in worker(_order(declared, runners, apply)) if runners else ():
            if kind == "steps":
                changes[value["server"]] = [_change(one) for one in value["changes"]]
            elif kind == "event":
                report(Event(**{**value, "state": State(value["state"])}))
            elif kind == "failure":
                failures[value["server"]] = _failure(runners[value["server"]], value)
    return ProvisioningPlan(
        changes=tuple(change for name in wanted for change in changes.get(name, ())),
        failures=tuple(failures[name] for name in wanted if name in failures),
    )


def _order(
    declared: Mapping[str, Declared], runners: Mapping[str, SshRunner], apply: bool
) -> dict[str, Any]:
    servers = [
        {
            "declared": asdict(declared[name]),
            "ssh": runner.ssh("-T"),
            "sudo": not runner.is_root,
        }
        for name, runner in runners.items()
    ]
    return {"apply": apply, "servers": servers}


@contextmanager
def _worker() -> Iterator[Callable[[Any], Iterator[tuple[str, Any]]]]:
    """Start the worker; yield a function that sends it an order and yields what it tells.

    What it tells is a kind and a value. The worker is gone when the context ends.
    """
    argv = [sys.executable, "-m", "ronron.servers.provision.worker"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )

        def work(order: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101
            try:
                json.dump(order, process.stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended: its status and last words say why
            for line in process.stdout:
                yield from json.loads(line).items()
            if status := process.wait():
                errors.seek(0)
                last = "\n".join(last_lines(errors.read()))
                raise RuntimeError(f"the provisioning worker ended with status {status}:\n{last}")

        with process:
            try:
                yield work
            finally:
                process.kill()


def _change(data: dict[str, Any]) -> Change:
    return Change(**{**data, "lines": tuple(data["lines"])})


def _failure(runner: SshRunner, value: dict[str, Any]) -> ServerError:
    if value["title"] == "facts":
        return why_not(runner, value["status"], "\n".join(value["lines"]).encode())
    if value["title"] == "unfit":
        return UnfitServer(runner.name, value["lines"])
    return ServerError(runner.name, f"could not {value['title']}", details=value["lines"])

"""`ronron server`: the servers that are declared, and what they are doing."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.errors import OperatorError, RonronError

if TYPE_CHECKING:
    from ronron.servers.check import ServerCheck
    from ronron.servers.hostkeys import HostKey
    from ronron.site.load import LoadedSite
    from ronron.site.models import Role, Server

ROLES: tuple[Role, ...] = ("manager", "worker", "storage")


@click.group()
def server() -> None:
    """Add, list, check, drain and remove servers."""


@server.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--name", help="Its name; default: the first label of the address.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="What it does, several times for several; default: worker, the first server all.",
)
@click.option("--user", default="root", show_default=True, help="SSH user.")
@click.option("--port", default=22, show_default=True, help="SSH port.")
@click.option(
    "--fingerprint",
    "fingerprints",
    metavar="SHA256:…",
    multiple=True,
    help="Fingerprint that the host key must have, instead of being asked.",
)
@context.yes_option
@context.with_site
def add(
    loaded: LoadedSite,
    addresses: Sequence[str],
    name: str | None,
    roles: Sequence[Role],
    user: str,
    port: int,
    fingerprints: Sequence[str],
    yes: bool,
) -> None:
    """Declare servers, and pin their SSH host keys.

    Three managers are made from one by adding two at once. A server that is declared already gets
    its host key pinned anew.
    """
    from ronron.servers.hostkeys import pin
    from ronron.site import edit

    if name and len(addresses) > 1:
        raise OperatorError("--name is for one server", remedy="add them one by one")
    if not roles and not loaded.site.servers:
        roles = ROLES
    wanted = [_declared(a, name or _first_label(a), roles, user, port) for a in addresses]
    named = [_known(loaded, server) or server for server in wanted]
    new = [server for server in named if not _known(loaded, server)]
    edit.site_with(loaded.folder, new)
    keys = {server.name: _host_keys(loaded, server, fingerprints) for server in named}
    if not fingerprints:
        output.confirm("Are these the servers' own fingerprints?", yes)
    for server in named:
        pin(loaded.known_hosts, server.name, keys[server.name])
    if new:
        edit.add_servers(loaded.folder, new)
    for server in named:
        verb = "added" if server in new else "pinned anew"
        output.result(f"{server.name} {verb} ({', '.join(server.roles)})")
    output.result("next: ronron server check, then ronron plan")


def _first_label(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address.split(".", 1)[0].lower()
    raise OperatorError(f"{address} is an IP address", remedy="name the server with --name")


def _declared(address: str, name: str, roles: Sequence[Role], user: str, port: int) -> Server:
    """The server that the options describe. Raises SiteError when they are not valid."""
    from pydantic import ValidationError

    from ronron.errors import SiteError
    from ronron.site import faults
    from ronron.site.models import Server

    values = {"name": name, "address": address, "user": user, "port": port}
    if roles:
        values["roles"] = tuple(dict.fromkeys(roles))
    try:
        return Server.model_validate(values)
    except ValidationError as error:
        raise SiteError(faults.problems(error, Server, f"server {address}")) from None


def _known(loaded: LoadedSite, server: Server) -> Server | None:
    """The server as it is declared already, at the same address."""
    known = loaded.site.servers.get(server.name)
    if known and (known.address, known.port) == (server.address, server.port):
        return known
    return None


def _host_keys(
    loaded: LoadedSite, server: Server, fingerprints: Sequence[str]
) -> Sequence[HostKey]:
    """The host keys to pin, shown: those that have one of `fingerprints`, or else all."""
    from ronron.servers.hostkeys import pinned, scan_host_keys

    presented = scan_host_keys(server.address, server.port, loaded.site.resolver)
    known = {key.fingerprint for key in pinned(loaded.known_hosts, server.name)}
    for key in presented:
        note = "  (pinned already)" if key.fingerprint in known else ""
        output.note(f"{server.name}: {key.fingerprint}  {key.type}{note}")
    for fingerprint in sorted(known - {key.fingerprint for key in presented}):
        output.note(f"{server.name}: {fingerprint}  (pinned until now)")
    if not fingerprints:
        return presented
    verified = [key for key in presented if key.fingerprint in fingerprints]
    if not verified:
        raise OperatorError(
            f"{server.name}: none of its host keys has the fingerprint {' or '.join(fingerprints)}",
            remedy="compare with: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the server",
            details=[f"presented: {key.fingerprint} ({key.type})" for key in presented],
        )
    return verified


@server.command("list")
@context.json_option
@context.with_site
def list_servers(loaded: LoadedSite, as_json: bool) -> None:
    """List the declared servers."""
    servers = list(loaded.site.servers.values())
    if as_json:
        output.result_json([server.model_dump(mode="json") for server in servers])
    elif servers:
        rows = [(s.name, s.address, ", ".join(s.roles), s.user, s.port) for s in servers]
        output.table(("name", "address", "roles", "user", "port"), rows)
    else:
        output.note("no servers yet: ronron server add ADDRESS")


@server.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@context.json_option
@context.with_site
def check(loaded: LoadedSite, names: Sequence[str], as_json: bool) -> int:
    """Say whether servers can be used; the exit status is 1 when one cannot."""
    from ronron.servers.check import check as look
    from ronron.servers.connections import connections

    for name in names:
        loaded.site.server(name)
    with output.reporter(json=as_json) as report, connections(loaded) as opened:
        checks = look(loaded, opened, names or None, report)
    if as_json:
        output.result_json([_as_json(one) for one in checks])
    else:
        rows = [_as_row(one) for one in checks]
        output.table(("name", "fit", "system", "python", "memory", "disk free", "findings"), rows)
    return 0 if all(one.fit for one in checks) else 1


def _as_row(one: ServerCheck) -> Sequence[object]:
    findings = "; ".join(str(finding) for finding in one.findings)
    fit = "yes" if one.fit else "NO"
    if one.facts is None:
        return (one.server, fit, "", "", "", "", findings)
    free = min((disk.free for disk in one.facts.disks.values()), default=0)
    return (
        one.server,
        fit,
        f"{one.facts.system} {one.facts.version}",
        one.facts.python,
        f"{one.facts.memory / 2**30:.1f} GiB",
        f"{free / 2**30:.1f} GiB",
        findings,
    )


def _as_json(one: ServerCheck) -> object:
    facts = one.facts
    return {
        "server": one.server,
        "fit": one.fit,
        "reached": facts is not None,
        "findings": [dataclasses.asdict(finding) for finding in one.findings],
        "facts": facts
        and {
            "python": facts.python,
            "system": facts.system,
            "version": facts.version,
            "machine": facts.machine,
            "cpus": facts.cpus,
            "memory": facts.memory,
            "disks": {path: dataclasses.asdict(disk) for path, disk in facts.disks.items()},
            "listeners": {str(port): program for port, program in facts.listeners.items()},
        },
    }


@server.command()
@click.argument("name")
@context.with_site
def drain(loaded: LoadedSite, name: str) -> None:
    """Move what runs on a server to others, and give it nothing new."""
    from ronron.servers.connections import connections
    from ronron.swarm import nodes

    loaded.site.server(name)
    with output.reporter() as report, connections(loaded) as opened:
        nodes.drain(opened[loaded.site.manager.name], name, report)


@server.command()
@click.argument("name")
@context.with_site
def activate(loaded: LoadedSite, name: str) -> None:
    """Let a drained server have tasks again."""
    from ronron.servers.connections import connections
    from ronron.swarm import nodes

    loaded.site.server(name)
    with output.reporter() as report, connections(loaded) as opened:
        nodes.activate(opened[loaded.site.manager.name], name, report)


@server.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--needed", is_flag=True, help="Those that want it after an upgrade.")
@context.yes_option
@context.with_site
def restart(loaded: LoadedSite, names: Sequence[str], needed: bool, yes: bool) -> None:
    """Restart servers one after the other, each drained first; workers come before managers.

    With `hardening: {reboot: "03:30"}` in ronron.yml the manager does so by itself every night.
    """
    from ronron.plan import restarting
    from ronron.plan.lock import lock
    from ronron.plan.session import open_session

    for name in names:
        loaded.site.server(name)
    if not names and not needed:
        raise OperatorError("which server?", remedy="name some, or give --needed")
    with output.reporter() as report, open_session(loaded, report) as session:
        wanted = list(restarting.ordered(loaded.site, names))
        if needed:
            asked = restarting.needed(session)
            wanted = [name for name in asked if not names or name in names]
    if not wanted:
        output.note("no server wants a restart")
        return
    output.confirm(f"Restart {', '.join(wanted)}, one after the other?", yes)
    with (
        output.reporter() as report,
        open_session(loaded, report) as session,
        lock(session.manager, "ronron server restart"),
    ):
        for name in wanted:
            restarting.restart(session, name)
            output.result(f"{name} is back")


@server.command()
@click.argument("names", metavar="NAME...", nargs=-1)
@context.with_site
def unlock(loaded: LoadedSite, names: Sequence[str]) -> None:
    """Let managers that restarted into the swarm again, with the key in the vault; default: all.

    They are locked when ronron.yml has `docker: {autolock: true}`.
    """
    from ronron.plan import unlocking
    from ronron.plan.session import open_session

    chosen = [loaded.site.server(name).name for name in names]
    with output.reporter() as report, open_session(loaded, report) as session:
        asked = chosen or [server.name for server in loaded.site.managers]
        opened = unlocking.unlock(session, asked)
    output.result(f"unlocked: {', '.join(opened)}" if opened else "none is locked")


@server.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--forget", is_flag=True, help="Only remove it from the site's files.")
@context.yes_option
@context.with_site
def remove(loaded: LoadedSite, names: Sequence[str], forget: bool, yes: bool) -> None:
    """Drain servers, take them out of the swarm, and remove them from ronron.yml."""
    from ronron.servers.hostkeys import unpin
    from ronron.site import edit

    names = tuple(dict.fromkeys(names))
    edit.site_without(loaded.folder, names)
    first = loaded.site.manager.name
    if first in names and not forget:
        raise OperatorError(
            f"{first} is the first manager: the proxy and the registry run there",
            remedy="declare another manager before it in ronron.yml and run ronron apply first",
        )
    where = "ronron.yml only" if forget else "the swarm and ronron.yml"
    output.confirm(f"Remove {', '.join(names)} from {where}?", yes)
    if not forget:
        try:
            _leave_swarm(loaded, names)
        except RonronError as error:
            raise RonronError(
                error.message,
                remedy="to remove it from ronron.yml alone, add --forget",
                details=[*([error.remedy] if error.remedy else []), *error.details],
            ) from error
    edit.remove_servers(loaded.folder, names)
    for name in names:
        unpin(loaded.known_hosts, name)
        output.result(f"{name} removed")
    output.note("next: ronron apply, so that the others forget it too")


def _leave_swarm(loaded: LoadedSite, names: Sequence[str]) -> None:
    from ronron.events import Event
    from ronron.servers.connections import connections
    from ronron.swarm import nodes

    with output.reporter() as report, connections(loaded) as opened:
        unreachable = opened.open(names)
        for name, error in unreachable.items():
            report(Event("unreachable, removed all the same", name, detail=str(error)))
        for name in names:
            leaving = None if name in unreachable else opened[name]
            nodes.remove(opened[loaded.site.manager.name], name, leaving, report)

"""`ronron bans`."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.errors import OperatorError, RonronError

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


@click.group()
def bans() -> None:
    """See who is banned from the servers, and let somebody in again.

    Who tries passwords at SSH or at an app, or scans for files that no app serves, is banned from
    that server: for ten minutes, then longer each time, a week at most.
    """


@bans.command("list")
@context.json_option
@context.with_site
def list_bans(loaded: LoadedSite, as_json: bool) -> int:
    """List who is banned, where, by which rule, and until when.

    Ends with status 1 when a server could not be asked.
    """
    from ronron.servers.connections import connections
    from ronron.servers.defend.bans import listing

    with connections(loaded) as opened:
        found, failures = opened.on_each(listing)
    bans = [ban for of_server in found.values() for ban in of_server]
    if as_json:
        told = {name: str(error) for name, error in failures.items()}
        output.result_json({"bans": [dataclasses.asdict(ban) for ban in bans], "failures": told})
    elif bans:
        rows = [(ban.address, ban.server, ban.jail, ban.since, ban.until) for ban in bans]
        output.table(("address", "server", "rule", "since", "until"), rows)
    elif not failures:
        output.note("nobody is banned")
    if not as_json:
        for error in failures.values():
            output.note(str(error))
    return 1 if failures else 0


@bans.command()
@click.argument("address", required=False)
@context.json_option
@context.yes_option
@context.with_site
def lift(loaded: LoadedSite, address: str | None, as_json: bool, yes: bool) -> None:
    """Let ADDRESS in again on every server; without one, everybody."""
    from ronron.servers.connections import connections
    from ronron.servers.defend import bans as of_server

    if address is not None:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            raise OperatorError(
                f"{address} is not an IP address", remedy="see ronron bans list"
            ) from None
    else:
        output.confirm("Let everybody in again?", yes)
    with connections(loaded) as opened:
        found, failures = opened.on_each(lambda runner: of_server.lift(runner, address))
    lifted = {name: count for name, count in found.items() if count}
    if as_json:
        output.result_json({"lifted": lifted})
    elif lifted:
        output.result(f"lifted on {', '.join(lifted)}")
    elif not failures:
        output.note(f"{address} is not banned" if address else "nobody is banned")
    if failures:
        lines = [str(error) for error in failures.values()]
        raise RonronError("not all servers could be asked", details=lines)

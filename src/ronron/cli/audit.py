"""`ronron audit`: what strangers reach, and what is wrong inside."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.audit.model import Audit, Finding
    from ronron.site.load import LoadedSite

COLOURS = {"critical": "red", "high": "red", "medium": "yellow", "low": "cyan"}


@click.command()
@click.option(
    "--severity",
    type=click.Choice(["info", "low", "medium", "high", "critical"]),
    help="End with 1 when something this bad is open; default: audit.severity in ronron.yml.",
)
@click.option(
    "--ports",
    type=click.Choice(["all", "common"]),
    default="all",
    show_default=True,
    help="Which TCP ports are asked.",
)
@click.option("--outside", "only", flag_value="outside", help="Only what strangers see.")
@click.option("--inside", "only", flag_value="inside", help="Only what is seen on the servers.")
@click.option(
    "--deep",
    is_flag=True,
    help="Run lynis and docker-bench-security where they are installed; it takes minutes.",
)
@context.json_option
@context.with_site
def audit(
    loaded: LoadedSite,
    severity: str | None,
    ports: str,
    only: str | None,
    deep: bool,
    as_json: bool,
) -> int:
    """Prove from outside that what must be closed is closed, and look for faults inside.

    From this computer: every open port of every server against what is declared; TLS, certificate,
    headers and methods of every app's domain; SSH's algorithms where ssh-audit is installed. On the
    servers: secrets that all can read, containers with too many rights or no limits, old images,
    pending upgrades, and lynis' report where there is one. Nothing is changed.

    Run it from a computer that no firewall treats better than others. A finding that is meant is
    accepted under audit.accept in ronron.yml, with a reason and a last day. Ends with 1 when
    something of the set severity or worse is open.
    """
    from ronron.audit.run import Scope
    from ronron.audit.run import audit as run
    from ronron.plan.session import open_session

    scope = Scope(only != "inside", only != "outside", ports == "all", deep)
    least = severity or loaded.site.audit.severity
    with output.reporter() as report, open_session(loaded, report) as session:
        done = run(session, scope)
    failed = done.failed(least)  # type: ignore[arg-type] # click has checked it
    if as_json:
        output.result_json({"ok": not failed, "severity": least, **dataclasses.asdict(done)})
    else:
        _print(done, failed, least)
    return 1 if failed else 0


def _print(done: Audit, failed: bool, least: str) -> None:
    for one in done.open:
        _finding(one, one.severity, COLOURS.get(one.severity))
    for one, accepted in done.accepted:
        _finding(one, f"accepted until {accepted.until}: {accepted.reason}", None)
    for reason in done.skipped:
        output.note(f"not looked at: {reason}")
    count = len(done.open)
    what = f"{count} finding{'' if count == 1 else 's'} open, {len(done.accepted)} accepted"
    verdict = f"some {least} or worse" if failed else f"none {least} or worse"
    output.result(f"{what}; {verdict}")


def _finding(one: Finding, heading: str, colour: str | None) -> None:
    text = click.style(heading, fg=colour, bold=True) if output.colour(sys.stdout) else heading
    output.result(f"{text}  {one.where}: {_plain(one.what)}  [{one.id}]")
    output.result(f"    {_plain(one.evidence)}")
    if one.remedy:
        output.result(f"    → {one.remedy}")


def _plain(text: str) -> str:
    """Without control characters: what strangers' programs answered is in it."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)

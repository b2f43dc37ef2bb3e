"""`ronron logs`: what apps write, who asked them for what, and what servers have to say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.logs import Line
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("name", required=False)
@click.argument("service", required=False)
@click.option("--access", metavar="APP", help="Requests to this app, instead of its output.")
@click.option("--server", metavar="SERVER", help="The journal of this server.")
@click.option("--status", default="", help="With --access: of this status, 404 or 5xx.")
@click.option("--search", default="", help="Lines with this in them, in whichever case.")
@click.option("--since", help="From when, such as 10m, 2h, 3d or 2026-11-20T08:00:00.")
@click.option(
    "--tail",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="So many of them at most, the last ones.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@context.with_site
def logs(
    loaded: LoadedSite,
    name: str | None,
    service: str | None,
    access: str | None,
    server: str | None,
    status: str,
    search: str,
    since: str | None,
    tail: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what the app NAME writes, or one SERVICE of it; requests to an app; a server's journal.

    They come from the site's log store (ronron deploy logs). Without one, or while it does not
    answer, from where they are written: what is no longer there is not found then. NAME may be one
    of the platform's own, such as proxy.

    \b
      ronron logs blog --since 2h --search error
      ronron logs --access blog --status 5xx
      ronron logs --server worker-1 -f
    """
    from datetime import UTC, datetime

    from ronron.events import ignore
    from ronron.plan.logs import Wanted, moment, read
    from ronron.plan.session import open_session

    if sum(1 for one in (name, access, server) if one) != 1:
        raise click.UsageError(
            "Say whose, of one alone: an app's NAME, --access APP, or --server SERVER."
        )
    if status and not access:
        raise click.UsageError("--status is of requests: use it with --access.")
    kind: Literal["access", "app", "system"] = "access" if access else "app" if name else "system"
    wanted = Wanted(
        kind=kind,
        of=access or name or server or "",
        service=service,
        search=search,
        status=status,
        since=moment(since, datetime.now(UTC)) if since else None,
        tail=tail,
        follow=follow,
    )
    with open_session(loaded, ignore) as session:
        why, lines = read(session, wanted)
        if why:
            output.note(f"{why}: this is what is there without it")
        line = None
        for line in lines:
            output.result(json.dumps(line, ensure_ascii=False) if as_json else shown(line))
        if line is None:
            output.note("no such lines")


def shown(line: Line) -> str:
    """A line for people: when (in this computer's time), who, what."""
    from datetime import datetime

    if "time" not in line:
        return str(line["message"])
    at = datetime.fromisoformat(str(line["time"])[:26].rstrip("Z") + "+00:00").astimezone()
    app, service, client = (str(line.get(key) or "") for key in ("app", "service", "client"))
    who = "/".join(filter(None, (app, service)))
    took = f" {line['duration']} ms" if line.get("duration") else ""
    where = [f"{at:%Y-%m-%d %H:%M:%S}", str(line.get("server") or ""), client or who]
    return " ".join(filter(None, where)) + f" | {line['message']}{took}"

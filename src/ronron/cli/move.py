"""`ronron move`: an app's databases on another server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("app")
@click.option("--to", metavar="SERVER", help="The server that shall hold them.")
@click.option("--volume", "volumes", metavar="VOLUME", multiple=True, help="This one alone.")
@click.option("--forget", "forgetting", is_flag=True, help="Delete the old copies of its data.")
@context.timeout_option(300.0, "Seconds it may take to answer.")
@context.json_option
@context.yes_option
@context.with_site
def move(
    loaded: LoadedSite,
    app: str,
    to: str | None,
    volumes: Sequence[str],
    forgetting: bool,
    timeout: float,
    as_json: bool,
    yes: bool,
) -> None:
    """Move an app's databases to another server.

    The app is stopped, its data copied over SSH and every file compared, and the app started there.
    If anything fails it goes on where it was. The old copy is kept until it is forgotten.

    \b
      ronron move blog --to worker-2
      ronron move blog --forget             delete what moves and failovers left of it
    """
    if bool(to) is forgetting or (forgetting and volumes):
        raise click.UsageError("Give --to SERVER, or --forget alone.")
    if to is None:
        _forget(loaded, app, as_json, yes)
    else:
        _move(loaded, app, to, volumes, timeout, as_json, yes)


def _move(
    loaded: LoadedSite,
    app: str,
    to: str,
    volumes: Sequence[str],
    timeout: float,
    as_json: bool,
    yes: bool,
) -> None:
    from ronron.backup.restic import size
    from ronron.plan import moving
    from ronron.plan.session import open_session

    done = moving.Moved(app, (), ())
    began = time.monotonic()
    with output.reporter() as report, open_session(loaded, report) as session:
        found = moving.ways(session, app, to, volumes)
    if found and not yes:
        what = ", ".join(f"{w.volume.name} ({size(w.size)}) from {w.source}" for w in found)
        output.confirm(f"Move {what} to {to}? {app} is stopped meanwhile.", yes)
    if found:
        with output.reporter() as report, open_session(loaded, report) as session:
            done = moving.move(session, app, to, volumes, seconds=timeout)
    spent = time.monotonic() - began
    if as_json:
        rows = [
            {"volume": w.volume.name, "from": w.source, "to": w.target, "size": w.size}
            for w in done.ways
        ]
        output.result_json(
            {"app": app, "moved": rows, "kept": done.kept, "seconds": round(spent, 1)}
        )
        return
    if not found:
        output.result(f"{app}: its databases are on {to} already")
        return
    names = ", ".join(w.volume.name for w in done.ways)
    output.result(f"{app} runs with {names} on {to}, after {spent:.1f} s")
    for old in done.kept:
        output.note(f"the old copy is kept on {old.server}: {old.path}")
    output.note(f"when it is not needed any more: ronron move {app} --forget")


def _forget(loaded: LoadedSite, app: str, as_json: bool, yes: bool) -> None:
    from ronron.plan import keeping
    from ronron.plan.observe import observe
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        found = list(keeping.copies(observe(loaded, session.servers, report), app))
    if found:
        for copy in found:
            output.note(f"{copy.server}: {copy.path} ({copy.why})")
        output.confirm(f"Delete these old copies of {app} for good?", yes)
        with output.reporter() as report, open_session(loaded, report) as session:
            keeping.forget(session, found)
    if as_json:
        output.result_json({"app": app, "deleted": found})
        return
    count = len(found)
    output.result(f"{app}: {count or 'no'} old cop{'y' if count == 1 else 'ies'} deleted")

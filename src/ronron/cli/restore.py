"""`ronron restore`: an app's data as a snapshot has it."""

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
@click.option("--at", metavar="TIME|SNAPSHOT", help="The newest until then; default: the newest.")
@click.option("--as", "new_name", metavar="NAME", help="As another app, beside the one there is.")
@click.option("--domain", help="With --as: where the other app is reached.")
@click.option("--only", "only", metavar="VOLUME", multiple=True, help="This volume of files alone.")
@click.option("--database", "databases", is_flag=True, help="The databases alone.")
@context.timeout_option(300.0, "Seconds it may take to answer.")
@context.json_option
@context.yes_option
@context.with_site
def restore(
    loaded: LoadedSite,
    app: str,
    at: str | None,
    new_name: str | None,
    domain: str | None,
    only: Sequence[str],
    databases: bool,
    timeout: float,
    as_json: bool,
    yes: bool,
) -> None:
    """Bring an app's data back as a snapshot has it.

    The snapshot is fetched and the databases are restored beside the live data first; then the app
    is stopped for as long as it takes to change folders. What is replaced is kept for a week. If
    anything fails, the app goes on with the data that it had.

    \b
      ronron restore blog                              the newest snapshot
      ronron restore blog --at 2026-11-20              as of the end of that day
      ronron restore blog --as blog2 --domain b2.example.org
    """
    from ronron.servers.connections import connecting

    if domain and not new_name:
        raise click.UsageError("--domain is for --as: it says where the other app is reached.")
    began = time.monotonic()
    name = new_name or app
    with connecting(loaded) as servers:
        from ronron.backup.restic import choose
        from ronron.backup.restore import Choice
        from ronron.events import ignore
        from ronron.plan import repository, restoring
        from ronron.plan.session import session_over

        choice = Choice(
            volumes=frozenset(only) if only else frozenset() if databases else None,
            databases=None if databases or not only else frozenset(),
        )
        silent = session_over(servers, loaded, ignore)
        with output.reporter() as report:
            session = silent.reporting(report)
            snapshot = choose(repository.restic(session).snapshots(app), app, at)
        when = f"{snapshot.time.astimezone():%Y-%m-%d %H:%M}"
        if new_name is None and app in loaded.apps:
            output.confirm(f"Replace the data of {app} by that of {when}?", yes)
        with output.reporter() as report:
            session = silent.reporting(report)
            if new_name is not None or app not in loaded.apps:
                session = restoring.deployed_from(session, snapshot, name, domain, seconds=timeout)
            done = restoring.restore(session, snapshot, name, choice, seconds=timeout)
    if as_json:
        output.result_json(
            {
                "app": done.app,
                "snapshot": snapshot.id,
                "time": snapshot.time.isoformat(),
                "volumes": done.volumes,
                "databases": done.databases,
                "replaced": [f"{server}:{folder}" for server, folder in done.kept],
                "seconds": round(time.monotonic() - began, 1),
            }
        )
        return
    what = ", ".join((*done.volumes, *done.databases)) or "it has no data"
    output.result(f"{name} is as it was on {when} ({what}), after {time.monotonic() - began:.1f} s")
    for server, folder in done.kept:
        output.note(f"what was there before is kept for a week on {server}: {folder}")

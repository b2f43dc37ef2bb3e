"""`ronron plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


@click.command()
@click.option("--exit-code", is_flag=True, help="End with status 3 when something would change.")
@context.json_option
@context.with_site
def plan(loaded: LoadedSite, exit_code: bool, as_json: bool) -> int:
    """Show what apply would change, on servers and apps, line by line. Nothing is changed.

    What someone changed by hand in the swarm is shown too, as drift. Ends with status 1 when a
    server, or the swarm, could not be looked at: apps that cannot be seen are not taken for new.
    """
    from ronron.cli.changes import show
    from ronron.plan.session import open_session
    from ronron.plan.session import plan as make_plan
    from ronron.site.backup import EXPOSED

    with output.reporter() as report, open_session(loaded, report) as session:
        made, _ = make_plan(session)
    show(made, as_json)
    if loaded.site.backup and loaded.site.backup.exposed:
        output.note(EXPOSED)
    if made.failures:
        return 1
    return 3 if exit_code and not made.empty else 0

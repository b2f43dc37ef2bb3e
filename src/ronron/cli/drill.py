"""`ronron drill`: backups restored aside, to know that they can be."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ronron.plan.drilling import Drill
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("apps", nargs=-1, metavar="[APP]…")
@click.option("--app", "more", metavar="APP", multiple=True, help="This app; may be given again.")
@context.timeout_option(500.0, "Seconds that an app may take.")
@context.json_option
@context.with_site
def drill(
    loaded: LoadedSite,
    apps: Sequence[str],
    more: Sequence[str],
    timeout: float,
    as_json: bool,
) -> int:
    """Restore the newest backup of every app aside, and see that it works and has its data.

    Each app is restored on the storage server under another name, on a network of its own from
    which nothing can be reached: no proxy, no mail relay, no other app. Its recipe's data checks
    are made, it is started and asked; then all of it is removed. The live app is not touched. Ends
    with status 1 when a drill fails.

    \b
      ronron drill              every app, one after the other
      ronron drill blog         one
    """
    from ronron.plan import drilling
    from ronron.plan.session import open_session

    def end(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    # Systemd and people end programs so: what is aside must be removed then too.
    signal.signal(signal.SIGTERM, end)
    with output.reporter() as report, open_session(loaded, report) as session:
        done = drilling.drill(session, (*apps, *more), seconds=timeout)
    if as_json:
        output.result_json(
            [{"app": one.found.app, **one.found.plain(), "details": one.details} for one in done]
        )
    else:
        _print(done)
    return 0 if all(one.found.passed for one in done) else 1


def _print(done: Sequence[Drill]) -> None:
    from ronron.cli.main import print_error

    rows = []
    for one in done:
        found = one.found
        when = f"{found.taken.astimezone():%Y-%m-%d %H:%M}" if found.taken else ""
        back = "" if found.seconds is None else f"{found.seconds:.0f} s"
        age = "" if found.age is None else output.age(found.age)
        rows.append((found.app, when, age, back, "passed" if found.passed else "FAILED"))
    if rows:
        output.table(("app", "as of", "age", "back after", "drill"), rows)
    else:
        output.note("no app is declared: there is nothing to restore")
    for one in done:
        if not one.found.passed:
            print_error(f"{one.found.app}: {one.found.reason}", one.details)

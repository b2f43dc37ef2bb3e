"""`ronron rebuild`: everything back on new servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.rebuilding import Report
    from ronron.site.load import LoadedSite

_PHASES = ("deploy", "fetch", "load", "start")


@click.command()
@context.timeout_option(500.0, "Seconds that an app may take.")
@context.json_option
@context.yes_option
@context.with_site
def rebuild(loaded: LoadedSite, timeout: float, as_json: bool, yes: bool) -> int:
    """Bring everything back on new servers: the platform, then each app from its newest snapshot.

    For the day on which all servers are lost. What it takes is the site's folder, a key that opens
    its vault, new servers in ronron.yml, and the repository. Apps that run are left alone; one that
    was interrupted is finished by the next. Apps with a lower priority in their file come first.
    The report says what came back, of when, and how long each phase took; it is kept on the
    manager, in /var/lib/ronron/rebuild.json.
    """
    from ronron.plan import rebuilding
    from ronron.plan.repository import repository
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        place = repository(session).order("snapshots") and repository(session).location
    count = len(loaded.apps)
    what = f"{count} app{'' if count == 1 else 's'}"
    output.confirm(f"Rebuild {loaded.site.name}: {what} from {place}?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        done = rebuilding.rebuild(session, seconds=timeout)
    if as_json:
        output.result_json(done.plain())
    else:
        _print(done)
    return 1 if done.failed or done.carrying else 0


def _print(done: Report) -> None:
    from ronron.cli.main import print_error

    rows = [
        (
            one.app,
            f"{one.snapshot.time.astimezone():%Y-%m-%d %H:%M}" if one.snapshot else "new",
            one.snapshot.short_id if one.snapshot else "",
            *(f"{one.phases[name]:.0f} s" if name in one.phases else "" for name in _PHASES),
            f"{one.seconds:.0f} s",
        )
        for one in done.apps
    ]
    if rows:
        output.table(("app", "as of", "snapshot", *_PHASES, "after"), rows)
    for name in done.left:
        output.note(f"{name} was there and was left alone: ronron restore {name}")
    for bad in done.failed:
        print_error(str(bad.error), bad.error.details)
    if done.carrying:
        print_error(str(done.carrying), done.carrying.details)
        output.note("the apps run; backups and other timers do not, before ronron apply carries it")
    output.result(
        f"rebuilt in {done.seconds:.0f} s, of which {done.servers:.0f} s for the servers and "
        f"{done.platform:.0f} s for the platform"
    )

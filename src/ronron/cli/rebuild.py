"""`ronron rebuild`: everything back on new servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.rebuilding import Report
    from ronron.site.load import LoadedSite


@click.command()
@click.option("--timeout", default=500.0, show_default=True, help="Seconds that an app may take.")
@context.json_option
@context.yes_option
@context.with_site
def rebuild(loaded: LoadedSite, timeout: float, as_json: bool, yes: bool) -> int:
    """Bring everything back on new servers: the platform, then each app from its newest snapshot.

    For the day on which all servers are lost. What it takes is the site's folder, a key that opens
    its vault, new servers in ronron.yml, and the repository. Apps that run are left alone; one that
    was interrupted is finished by the next. The report says what came back, of when, and how long
    it took.
    """
    from ronron.plan import rebuilding
    from ronron.plan.backups import repository
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        place = repository(session).order("snapshots") and repository(session).location
    count = len(loaded.apps)
    what = f"{count} app{'' if count == 1 else 's'}"
    output.confirm(f"Rebuild {loaded.site.name}: {what} from {place}?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        done = rebuilding.rebuild(session, seconds=timeout)
    if as_json:
        output.result_json(_plain(done))
    else:
        _print(done)
    return 1 if done.failed else 0


def _plain(done: Report) -> dict[str, object]:
    return {
        "apps": [
            {
                "app": one.app,
                "snapshot": one.snapshot.id if one.snapshot else None,
                "time": one.snapshot.time.isoformat() if one.snapshot else None,
                "seconds": round(one.seconds, 1),
            }
            for one in done.apps
        ],
        "failed": [{"app": one.app, "error": str(one.error)} for one in done.failed],
        "left": list(done.left),
        "platform_seconds": round(done.platform, 1),
        "seconds": round(done.seconds, 1),
    }


def _print(done: Report) -> None:
    from ronron.cli.main import print_error

    rows = [
        (
            one.app,
            f"{one.snapshot.time.astimezone():%Y-%m-%d %H:%M}" if one.snapshot else "new",
            f"{one.seconds:.0f} s",
        )
        for one in done.apps
    ]
    if rows:
        output.table(("app", "as of", "after"), rows)
    for name in done.left:
        output.note(f"{name} was there and was left alone: ronron restore {name}")
    for bad in done.failed:
        print_error(str(bad.error), bad.error.details)
    output.result(
        f"rebuilt in {done.seconds:.0f} s, of which {done.platform:.0f} s for servers and platform"
    )

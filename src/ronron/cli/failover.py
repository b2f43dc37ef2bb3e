"""`ronron failover`: databases whose server is gone, on another one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ronron.cli import context, output
from ronron.errors import OperatorError

if TYPE_CHECKING:
    from ronron.plan.failover import FailedOver, Lost
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("app", required=False)
@click.option("--to", metavar="SERVER", help="Where they come up; default: where new ones would.")
@click.option("--now", is_flag=True, help="However short a time the server has been gone.")
@click.option("--automatic", is_flag=True, help="Every app that it is time for; for the timer.")
@context.timeout_option(300.0, "Seconds it may take to answer.")
@context.json_option
@context.yes_option
@context.with_site
def failover(
    loaded: LoadedSite,
    app: str | None,
    to: str | None,
    now: bool,
    automatic: bool,
    timeout: float,
    as_json: bool,
    yes: bool,
) -> int:
    """Bring up an app's databases on another server, when theirs is gone.

    They are loaded from the newest dump: what was written after it is not there. The lost server's
    copy is fenced off: when it returns, its tasks are stopped and its folder is moved aside, never
    merged. A server that answers, or has been gone for less than storage.failover.after, is waited
    for.
    """
    if automatic is bool(app) or (automatic and (to or now)):
        raise click.UsageError("Name an app, or give --automatic alone.")
    if app is None:
        return _unasked(loaded, timeout, as_json)
    from ronron.plan import failover as domain
    from ronron.plan.observe import observe
    from ronron.plan.session import open_session
    from ronron.swarm.engines import engine_of

    loaded.app(app)
    began = time.monotonic()
    with output.reporter() as report, open_session(loaded, report) as session:
        reality = observe(loaded, session.servers, report)
        with engine_of(session.manager) as engine:
            found = domain.lost(session, engine, reality, app, to, now)
    if not found:
        raise OperatorError(
            f"{app}: no server with a database of it is gone", remedy="ronron status shows servers"
        )
    for one in found:
        output.note(_told(one))
    output.confirm(f"Bring {app} up without what was written since?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        done = domain.fail_over(session, app, to, now=now, seconds=timeout)
    spent = round(time.monotonic() - began, 1)
    if as_json:
        output.result_json({**_plain(done), "seconds": spent})
    else:
        _print(done)
        output.result(f"after {spent} s")
    return 0


def _unasked(loaded: LoadedSite, timeout: float, as_json: bool) -> int:
    from ronron.cli.main import print_error
    from ronron.plan import failover as domain
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        done = domain.unasked(session, seconds=timeout)
    if as_json:
        output.result_json(
            {
                "done": [_plain(one) for one in done.done],
                "fenced": done.fenced,
                "failed": [str(error) for error in done.failed],
            }
        )
    else:
        for one in done.done:
            _print(one)
        for fence in done.fenced:
            output.result(f"{fence.server}: its copy of {fence.app}'s {fence.volume} is fenced off")
    for error in done.failed:
        print_error(str(error), error.details)
    return 1 if done.failed else 0


def _plain(done: FailedOver) -> dict[str, Any]:
    return {
        "app": done.app,
        "databases": [
            {
                "database": one.database,
                "volume": one.volume.name,
                "from": one.server,
                "gone": round(one.gone),
                "to": one.target,
                "dump": one.time.isoformat(),
                "snapshot": one.snapshot.id if one.snapshot else None,
            }
            for one in done.lost
        ],
        "kept": done.kept,
    }


def _print(done: FailedOver) -> None:
    for one in done.lost:
        when = f"{one.time.astimezone():%Y-%m-%d %H:%M}"
        output.result(f"{done.app}: {one.database} runs on {one.target}, as it was on {when}")
        output.note(f"the copy on {one.server} is fenced off; when it is back: ronron apply")
    for old in done.kept:
        output.note(f"what was in its place is kept on {old.server}: {old.path}")


def _told(one: Lost) -> str:
    age = _age((datetime.now(UTC) - one.time).total_seconds())
    source = f"in snapshot {one.snapshot.short_id}" if one.snapshot else "on the storage server"
    return (
        f"{one.volume.app}: {one.database} was on {one.server}, gone for {_age(one.gone)}; its "
        f"newest dump, {source}, is {age} old; it would come up on {one.target}"
    )


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"

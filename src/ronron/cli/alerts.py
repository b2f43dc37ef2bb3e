"""`ronron alerts`: what is wrong, who is not to be told, and whether messages arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.session import Session
    from ronron.site.load import LoadedSite


@click.group()
def alerts() -> None:
    """Show what is wrong, silence alerts, and try the channels they are sent by.

    Alerts are the work of the app monitoring (ronron deploy monitoring). Who is told, and from
    when on a server is in trouble, stands in ronron.yml under alerts.
    """


@alerts.command("list")
@context.json_option
@context.with_site
def list_alerts(loaded: LoadedSite, as_json: bool) -> int:
    """Show what is wrong now, and the silences. Ends with status 1 when something is wrong."""
    from ronron.plan import monitoring

    with _session(loaded) as session:
        found, silences = monitoring.alerts(session), monitoring.silences(session)
    if as_json:
        output.result_json({"alerts": found, "silences": silences})
    elif found:
        output.table(
            ("since", "alert", "severity", "server", "next"),
            [
                (
                    f"{one.since:%Y-%m-%d %H:%M}",
                    one.summary + (" (silenced)" if one.silenced else ""),
                    one.severity,
                    one.server,
                    one.command,
                )
                for one in found
            ],
        )
    else:
        output.result("nothing is wrong")
    if silences and not as_json:
        output.result("")
        rows = [
            (s.id, " ".join(s.matchers), f"{s.until:%Y-%m-%d %H:%M}", s.reason) for s in silences
        ]
        output.table(("silence", "of", "until", "reason"), rows)
    return 1 if any(not one.silenced for one in found) else 0


@alerts.command()
@click.option("--app", help="Alerts of this app.")
@click.option("--server", help="Alerts of this server.")
@click.option("--alert", "name", help="Alerts of this name, such as DiskFull.")
@click.option("--for", "period", default="2h", show_default=True, help="How long: 30m, 2h, 3d.")
@click.option("--reason", default="", help="Why, for those who read the list.")
@context.with_site
def silence(
    loaded: LoadedSite,
    app: str | None,
    server: str | None,
    name: str | None,
    period: str,
    reason: str,
) -> None:
    """Tell nobody of some alerts for a while: all that match every option given.

    \b
      ronron alerts silence --server worker-1 --for 1h --reason "new disk"
    """
    import getpass

    from ronron.catalog.stack import PLATFORM
    from ronron.plan import monitoring

    matchers = {"app": app, "server": server, "alertname": name}
    wanted = {key: value for key, value in matchers.items() if value}
    if not wanted:
        raise click.UsageError("Say which: --app, --server or --alert.")
    if not re.fullmatch(r"\d+[smhdw]", period):
        raise click.UsageError(f"--for {period}: write it as 30m, 2h or 3d.")
    if server:
        loaded.site.server(server)
    if app and app not in PLATFORM:
        loaded.app(app)
    with _session(loaded) as session:
        made = monitoring.silence(session, wanted, period, getpass.getuser(), reason)
    output.result(f"silenced for {period}; end it with: ronron alerts unsilence {made}")


@alerts.command()
@click.argument("id")
@context.with_site
def unsilence(loaded: LoadedSite, id: str) -> None:
    """End a silence before its time; its ID is in the list."""
    from ronron.plan import monitoring

    with _session(loaded) as session:
        monitoring.unsilence(session, id)
    output.result(f"{id} has ended")


@alerts.command("test")
@context.json_option
@context.with_site
def send_test(loaded: LoadedSite, as_json: bool) -> int:
    """Send a message through every channel, and say which took it.

    Ends with status 1 when one refused it, or there is none.
    """
    from ronron.plan import monitoring

    with _session(loaded) as session:
        found = monitoring.send_test(session)
    if as_json:
        output.result_json(found)
    elif found:
        rows = [(channel, why or "taken") for channel, why in found.items()]
        output.table(("channel", "result"), rows)
    else:
        output.note("no channel is set up: see alerts in docs/site.md")
    return 0 if found and not any(found.values()) else 1


@contextmanager
def _session(loaded: LoadedSite) -> Iterator[Session]:
    from ronron.plan import monitoring
    from ronron.plan.session import open_session

    monitoring.app_of(loaded)
    with output.reporter() as report, open_session(loaded, report) as session:
        yield session

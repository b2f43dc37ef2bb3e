"""The commands about apps that are there: list, status, logs, shell, restart, and so on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.errors import OperatorError, RonronError
from ronron.events import ignore

if TYPE_CHECKING:
    from ronron.plan.session import Session
    from ronron.plan.status import AppStatus, SiteStatus
    from ronron.site.load import LoadedSite

timeout_option = context.timeout_option(300.0, "Seconds that it may take to answer.")


@click.command()
@context.json_option
@context.with_site
def status(loaded: LoadedSite, as_json: bool) -> int:
    """Show how servers, apps and certificates are. Ends with status 1 when something is wrong."""
    from ronron.plan.session import open_session
    from ronron.plan.status import status as look

    with output.reporter() as report, open_session(loaded, report) as session:
        found = look(session)
    if as_json:
        output.result_json(dataclasses.asdict(found) | {"ok": found.ok})
    else:
        _print_status(found)
    return 0 if found.ok else 1


def _print_status(found: SiteStatus) -> None:
    from ronron.cli.top import measures

    measured = ("processors", "memory", "fullest disk") if found.figures else ()
    rows = [
        (
            *(s.name, ", ".join(s.roles), s.state, s.availability),
            *(measures(found.figures.get(s.name, {})) if measured else ()),
            s.problem,
        )
        for s in found.servers
    ]
    output.table(("server", "roles", "state", "availability", *measured, "problem"), rows)
    output.result("")
    output.table(
        (
            *("app", "recipe", "running", "answers", "certificate", "revision", "volumes"),
            "snapshot",
            *("drill", "problem"),
        ),
        [_row(app) for app in found.apps],
    )
    if found.copies:
        output.result("")
        old = [(copy.app, copy.why, copy.server, copy.path) for copy in found.copies]
        output.table(("old copy of", "why", "server", "folder"), old)
    for alert in found.alerts:
        output.note(f"backups: {alert}")
    for one in found.firing:
        silenced = " (silenced)" if one.silenced else ""
        output.note(f"since {one.since.astimezone():%Y-%m-%d %H:%M}: {one.summary}{silenced}")


def _row(app: AppStatus) -> Sequence[object]:
    running = " ".join(f"{name} {have}/{of}" for name, (have, of) in app.services.items())
    answer = app.answer
    return (
        app.name,
        app.recipe,
        running,
        f"{answer.url} {answer.status}" if answer else app.domain or "",
        f"{answer.issuer} until {answer.expires:%Y-%m-%d}" if answer else "",
        f"{app.revision}{' (drift)' if app.drift else ''}",
        " ".join(f"{name} on {server}" for name, server in app.volumes.items()),
        f"{app.snapshot.astimezone():%Y-%m-%d %H:%M}" if app.snapshot else "",
        _drill(app),
        app.problem or (app.drill.reason if app.drill else ""),
    )


def _drill(app: AppStatus) -> str:
    from datetime import UTC, datetime

    if app.drill is None:
        return "never: OVERDUE" if app.drill_overdue else ""
    past = output.age((datetime.now(UTC) - app.drill.at).total_seconds())
    overdue = ": OVERDUE" if app.drill_overdue else ""
    return f"{'passed' if app.drill.passed else 'FAILED'} {past} ago{overdue}"


@click.command("list")
@context.json_option
@context.with_site
def list_apps(loaded: LoadedSite, as_json: bool) -> None:
    """List the declared apps, without asking the servers."""
    apps = [(app.name, app.recipe or app.stack, loaded.domain(app)) for app in loaded.apps.values()]
    if as_json:
        keys = ("name", "source", "domain")
        output.result_json([dict(zip(keys, app, strict=True)) for app in apps])
    elif apps:
        output.table(("app", "from", "domain"), apps)
    else:
        output.note("no apps yet: ronron deploy RECIPE NAME")


@click.command()
@click.argument("name")
@click.option("--delete-data", is_flag=True, help="Delete its volumes and its secrets too.")
@context.yes_option
@context.with_site
def remove(loaded: LoadedSite, name: str, delete_data: bool, yes: bool) -> None:
    """Remove an app from the servers and from the site; its data is kept.

    The folders of its volumes and its file in the vault stay, so that deploying it again brings it
    back as it was. With --delete-data they are deleted for good.
    """
    from ronron.plan import carry
    from ronron.plan.apply import remove as carry_out
    from ronron.plan.lock import lock
    from ronron.plan.session import open_session
    from ronron.site import edit
    from ronron.site.load import load_site

    loaded.app(name)
    what = f"Delete {name} with all its data, for good?" if delete_data else f"Remove {name}?"
    output.confirm(what, yes)
    with (
        output.reporter() as report,
        open_session(loaded, report) as session,
        lock(session.manager, f"ronron remove {name}"),
    ):
        carry_out(session, name, delete_data=delete_data)
        if delete_data:
            session.vault.remove(name)
        edit.remove_app(loaded.folder, name)
        carry.follow(dataclasses.replace(session, loaded=load_site(loaded.folder)))
    kept = "" if delete_data else "; its data is kept on the servers"
    output.result(f"{name} removed{kept}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.option("--service", help="Which of its services; default: the one that answers the domain.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@context.with_site
def shell(loaded: LoadedSite, name: str, service: str | None, command: Sequence[str]) -> int:
    """Open a shell in an app's container, or run COMMAND there."""
    from ronron.plan.inside import run_inside

    with _app_session(loaded, name, progress=False) as session:
        return run_inside(session, name, service, command or ("sh",))


@click.command()
@click.argument("name")
@timeout_option
@context.with_site
def restart(loaded: LoadedSite, name: str, timeout: float) -> None:
    """Replace an app's containers by new ones, of the same version."""
    from ronron.plan.lock import lock
    from ronron.swarm import stacks
    from ronron.swarm.engines import engine_of

    with (
        _app_session(loaded, name) as session,
        lock(session.manager, f"ronron restart {name}"),
        engine_of(session.manager) as engine,
    ):
        stacks.restart(engine, session.manager, name, timeout, session.report)
    output.result(f"{name} restarted")


@click.command()
@click.argument("name")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set a parameter.")
@click.option("--image", "images", metavar="SERVICE=IMAGE", multiple=True, help="Another image.")
@timeout_option
@context.json_option
@context.yes_option
@context.with_site
def upgrade(
    loaded: LoadedSite,
    name: str,
    settings: Sequence[str],
    images: Sequence[str],
    timeout: float,
    as_json: bool,
    yes: bool,
) -> None:
    """Move an app to its recipe's present version, or to another image, after showing what changes.

    An update that does not work is rolled back by itself, and the old version keeps answering.
    """
    from pathlib import Path

    from ronron.cli.deploy import pairs, run
    from ronron.servers.connections import connecting

    app = loaded.app(name)
    with connecting(loaded) as servers:
        from ronron.plan import deploying

        request = deploying.Request(
            name=name,
            source=app.recipe or Path(loaded.path(str(app.stack))),
            parameters=pairs(settings, "--set"),
            images=pairs(images, "--image"),
        )
        with deploying.prepared(loaded, request) as draft:
            began = time.monotonic()
            run(draft, servers, name, timeout=timeout, as_json=as_json, yes=yes, began=began)


@click.command()
@click.argument("name")
@click.option("--to", "revision", type=int, help="Revision; default: the one before the last.")
@click.option("--list", "listing", is_flag=True, help="Show the revisions that are kept.")
@timeout_option
@context.yes_option
@context.with_site
def rollback(
    loaded: LoadedSite,
    name: str,
    revision: int | None,
    listing: bool,
    timeout: float,
    yes: bool,
) -> None:
    """Bring back what ran before the last change, as it was, and apps/NAME.yml with it."""
    from ronron.plan import carry, deploying
    from ronron.plan.lock import lock
    from ronron.plan.make import recipe_of
    from ronron.swarm import stacks, state
    from ronron.swarm.engines import engine_of

    loaded.app(name)
    with _app_session(loaded, name) as session, engine_of(session.manager) as engine:
        records = state.observe(engine).records.get(name, ())
    if listing:
        rows = [
            (r.revision, r.content["at"], r.content["by"], r.content["recipe"]) for r in records
        ]
        output.table(("revision", "deployed", "by", "recipe"), rows)
        return
    if revision is None:
        if len(records) < 2:
            raise RonronError(f"{name}: there is no earlier revision", remedy="see --list")
        revision = records[-2].revision
    found = [record for record in records if record.revision == revision]
    if not found:
        raise OperatorError(f"{name}: revision {revision} is not kept", remedy="see --list")
    output.confirm(f"Roll {name} back to revision {revision}?", yes)
    with (
        _app_session(loaded, name) as session,
        lock(session.manager, f"ronron rollback {name}"),
        engine_of(session.manager) as engine,
    ):
        stacks.roll_back(engine, session.manager, name, revision, timeout, session.report)
        site = deploying.restored(loaded, found[0].content["app"])
        carry.follow(dataclasses.replace(session, loaded=site))
        app = site.app(name)
        source = recipe_of(app, site, session.catalog)
    output.result(f"{name} is as in revision {revision}")
    if source.digest != found[0].content["recipe_digest"]:
        what = app.stack or f"the recipe {app.recipe}"
        output.note(
            f"{what} is not as it was then: put it back too, or the next apply changes {name}"
        )


@contextmanager
def _app_session(loaded: LoadedSite, name: str, *, progress: bool = True) -> Iterator[Session]:
    """A session for a command about one app that is declared, or one of the platform's own.

    Without `progress` where the terminal is the app's: what is shown live would be drawn over it.
    """
    from ronron.catalog.stack import PLATFORM
    from ronron.plan.session import open_session

    if name not in PLATFORM:
        loaded.app(name)
    shown = output.reporter() if progress else nullcontext(ignore)
    with shown as report, open_session(loaded, report) as session:
        yield session

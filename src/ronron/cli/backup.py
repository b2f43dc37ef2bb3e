"""`ronron backup`, `ronron backups`: snapshots of apps, and what the repository holds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from ronron.cli import context, output
from ronron.cli.export import export

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ronron.backup.restic import Snapshot
    from ronron.site.load import LoadedSite


class _AppOrCommand(click.Group):
    """`ronron backup blog`: what is no command is the name of an app."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_AppOrCommand)
def backup() -> None:
    """Back up apps, or all of them, into the site's restic repository.

    \b
      ronron backup init            make the repository that ronron.yml names
      ronron backup                 back up every app
      ronron backup blog            back up one

    An app's databases are dumped, and the dumps looked at; then a snapshot is made of the dumps,
    the volumes of files, and what it takes to deploy the app again. It counts once the repository
    lists it.
    """


@backup.command("run", hidden=True)
@click.argument("apps", nargs=-1, metavar="[APP]…")
@context.json_option
@click.option("--yes", "-y", is_flag=True, hidden=True)
@click.option("--job", default="", hidden=True, help="The timer whose apps are due.")
@context.with_site
def run(loaded: LoadedSite, apps: tuple[str, ...], as_json: bool, yes: bool, job: str) -> int:
    """Back up the named apps, or all of them."""
    from ronron.cli.main import print_error
    from ronron.servers.connections import connecting

    with output.reporter() as report, connecting(loaded) as servers:
        from ronron.backup.restic import size
        from ronron.plan import backups as domain
        from ronron.plan.session import session_over

        session = session_over(servers, loaded, report)
        done, failed = domain.back_up(session, apps, job)
    if as_json:
        output.result_json(
            {
                "snapshots": [_plain(one) for one in done],
                "failed": [{"app": one.app, "error": str(one.error)} for one in failed],
            }
        )
    else:
        for one in done:
            snapshot = one.snapshot
            dumps = ", ".join(f"{d.database} {size(d.size)}" for d in one.dumps)
            output.result(
                f"{snapshot.app}: snapshot {snapshot.short_id}, {size(snapshot.size)} in "
                f"{snapshot.files} files" + (f"; dumps: {dumps}" if dumps else "")
            )
        if not done and not failed:
            output.note("no app is due" if job else "no app is deployed: nothing to back up")
    for one in done:
        for doubt in one.doubts:
            output.note(f"look at this: {doubt}")
    for bad in failed:
        print_error(str(bad.error), bad.error.details)
    return 1 if failed else 0


def _plain(backed: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        **_snapshot(backed.snapshot),
        "dumps": [dataclasses.asdict(one) for one in backed.dumps],
        "doubts": list(backed.doubts),
    }


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    from ronron.backup.restore import held_in

    return {
        **dataclasses.asdict(snapshot),
        "time": snapshot.time.isoformat(),
        "volumes": sorted(held_in(snapshot)),
    }


@backup.command()
@context.with_site
def init(loaded: LoadedSite) -> None:
    """Make the repository that ronron.yml names; its password is made and kept in the vault.

    What it takes to log in is set first, with ronron secrets set backup NAME: s3_key and s3_secret,
    rest_user and rest_password, sftp_key (a private key), or rclone_config.
    """
    from ronron.plan import repository as domain
    from ronron.plan.session import open_session
    from ronron.site.backup import EXPOSED

    with output.reporter() as report, open_session(loaded, report) as session:
        made = domain.init(session)
        place = domain.repository(session).location
    output.result(f"{place}: {'made' if made else 'is there already'}")
    if made:
        output.note(
            "its password is in vault/backup.age: commit that file. Who has neither it nor a"
        )
        output.note("key of the site cannot read them: ronron secrets init makes a recovery key.")
        output.note("Print the recovery sheet, and keep it elsewhere: ronron secrets sheet")
    if loaded.site.backup and loaded.site.backup.exposed:
        output.note(EXPOSED)
    elif place.startswith("rest:"):
        output.note("run that server with --append-only, and prune there: docs/backups.md says how")


@backup.command()
@click.option("--read", "subset", metavar="PART", default="", help="Read data too: 5%, 1/52, 1G.")
@context.with_site
def check(loaded: LoadedSite, subset: str) -> None:
    """Check that the repository is whole; with --read, read a part of its data and verify it.

    The manager does so once a week by itself, with the part that backup.check_reads says.
    """
    from ronron.plan import repository as domain
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        domain.check(session, subset)
        place = domain.repository(session).location
    output.result(f"{place}: no errors were found")


@backup.command()
@click.argument("snapshots", nargs=-1)
@context.yes_option
@context.with_site
def forget(loaded: LoadedSite, snapshots: tuple[str, ...], yes: bool) -> None:
    """Forget the snapshots that backup.keep does not cover, and free their space.

    The manager does so once a week by itself, unless the repository is append-only. With SNAPSHOTS,
    forget these and no others.
    """
    from ronron.plan import repository as domain
    from ronron.plan.session import open_session

    what = " ".join(snapshots) if snapshots else "old snapshots"
    output.confirm(f"Forget {what}?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        gone = domain.forget_these(session, snapshots) if snapshots else domain.forget(session)
    output.result(f"{gone} snapshot{'' if gone == 1 else 's'} forgotten")


@backup.command()
@context.with_site
def unlock(loaded: LoadedSite) -> None:
    """Remove locks that were left in the repository by programs that are gone."""
    from ronron.plan import repository as domain
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        domain.restic(session).unlock()
    output.result("locks of programs that are gone were removed")


backup.add_command(export)


@click.command()
@click.argument("app", required=False)
@context.json_option
@context.with_site
def backups(loaded: LoadedSite, app: str | None, as_json: bool) -> int:
    """List the snapshots in the repository, of all apps or of one, newest last.

    With the volumes of files that each holds, and its dumps: - where it holds none, ? where it is
    not known which.
    Below is what is wrong with backups; the status is 1 then.
    """
    from datetime import UTC, datetime

    from ronron.plan import repository as domain
    from ronron.plan.session import open_session

    with output.reporter() as report, open_session(loaded, report) as session:
        found, dumps, alerts = domain.survey(session, app)
    if as_json:
        output.result_json([{**_snapshot(one), "dumps": dumps.get(one.id)} for one in found])
        return 1 if alerts else 0
    if not found:
        output.note(f"no snapshots yet: ronron backup {app or ''}".rstrip())
    if found:
        columns = ("app", "snapshot", "time", "age", "size", "files", "volumes", "dumps")
        output.table(columns, _rows(found, dumps, datetime.now(UTC)))
    for alert in alerts:
        output.note(str(alert))
    return 1 if alerts else 0


def _rows(
    found: Sequence[Snapshot], dumps: Mapping[str, Mapping[str, int]], now: datetime
) -> list[tuple[object, ...]]:
    from ronron.backup.restic import size
    from ronron.backup.restore import held_in

    return [
        (
            one.app,
            one.short_id,
            f"{one.time.astimezone():%Y-%m-%d %H:%M}",
            output.age((now - one.time).total_seconds()),
            size(one.size),
            one.files,
            ", ".join(sorted(held_in(one))),
            (", ".join(dumps[one.id]) or "-") if one.id in dumps else "?",
        )
        for one in found
    ]

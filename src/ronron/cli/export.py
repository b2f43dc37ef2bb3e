"""`ronron backup export`: everything of an app in one file, for whom it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("app")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--at", metavar="TIME|SNAPSHOT", help="The newest until then; default: the newest.")
@click.option("--with-secrets", is_flag=True, help="Include the app's own passwords and keys.")
@context.json_option
@context.yes_option
@context.with_site
def export(
    loaded: LoadedSite,
    app: str,
    file: Path,
    at: str | None,
    with_secrets: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Write everything of an app to FILE, in open formats: .tar, .tar.gz or .tar.zst.

    Its databases as their own tools dump them, its files with owners and modes, a plain Compose
    file, and a README that says how to start it without ronron. FILE appears when it is whole, for
    its owner alone. Passwords are not in it unless --with-secrets asks for them.

    \b
      ronron backup export blog blog.tar.gz
      ronron backup export blog blog.tar.gz --at 2026-11-20
    """
    from ronron.backup.restic import choose, size
    from ronron.plan import exporting, repository
    from ronron.plan.session import open_session

    exporting.compression(file)
    if file.exists():
        output.confirm(f"Replace {file}?", yes)
    if with_secrets:
        output.confirm(f"Write the passwords of {app} into {file}, unencrypted?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        snapshot = choose(repository.restic(session).snapshots(app), app, at)
        done = exporting.write(session, snapshot, file.absolute(), with_secrets=with_secrets)
    length = file.stat().st_size
    if as_json:
        output.result_json(
            {
                "app": app, "file": str(file), "size": length, "snapshot": snapshot.id,
                "time": snapshot.time.isoformat(), "volumes": done.volumes,
                "databases": done.databases, "files": done.files,
            }
        )  # fmt: skip
        return
    held = ", ".join((*done.databases, *done.volumes)) or "it has no data"
    output.result(
        f"{file}: {app} as of {snapshot.time.astimezone():%Y-%m-%d %H:%M}, {size(length)}: {held}"
    )
    for name in done.missing:
        output.note(f"look at this: the snapshot does not have the content of its config {name}")

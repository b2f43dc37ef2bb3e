"""`ronron secrets sheet`: the page to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


@click.command()
@click.option("--show-secrets", is_flag=True, help="With the repository's password and logins.")
@context.yes_option
@context.with_site
def sheet(loaded: LoadedSite, show_secrets: bool, yes: bool) -> None:
    """Print the recovery sheet: one page with all that it takes to bring the site back.

    Where the site's git repository and its backups are, which keys open them, the servers, and the
    commands in their order. Print it, write on it where the recovery key is kept, and put it
    somewhere else than the servers. Nothing is written to a file and no server is asked.

    \b
      ronron secrets sheet | lpr
      ronron secrets sheet --show-secrets     also the repository's password

    With that password the backups can be read without the vault: by restic alone.
    """
    from ronron.backup import sheet as page
    from ronron.plan import recovery

    if show_secrets:
        output.confirm("Print the password and the logins of the backups, readable?", yes)
    output.result(page.text(recovery.known(loaded, with_secrets=show_secrets)).rstrip())

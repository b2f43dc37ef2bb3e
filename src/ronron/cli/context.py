"""How a command gets its site."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite


def site_folder(ctx: click.Context) -> Path:
    """The folder that `--site` names, or the nearest site upwards from the current folder.

    Raises OperatorError when there is no site there.
    """
    from ronron.site.load import find_site

    chosen = ctx.find_root().obj
    return Path(chosen).absolute() if chosen else find_site(Path.cwd())


def load(ctx: click.Context) -> LoadedSite:
    """The site that the command is about. Raises OperatorError and SiteError as loading does."""
    from ronron.site.load import load_site

    return load_site(site_folder(ctx))


def with_site(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for commands: they get the loaded site as their first argument."""

    @click.pass_context
    @functools.wraps(function)
    def command(ctx: click.Context, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        return ctx.invoke(function, load(ctx), *args, **options)

    return command


yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

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


class Seconds(click.ParamType):  # type: ignore[type-arg]  # Generic in newer ones alone.
    """How long something may take: more than nothing, at most a day."""

    name = "seconds"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number; fails for all others, `nan` among them."""
        found = float(click.FLOAT.convert(value, param, ctx))
        if not 0 < found <= 24 * 3600:
            self.fail(f"{value}: give more than 0 and at most 86400.", param, ctx)
        return found


def timeout_option(default: float, about: str) -> Callable[[Any], Any]:
    """The option `--timeout`, in seconds."""
    return click.option("--timeout", type=Seconds(), default=default, show_default=True, help=about)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

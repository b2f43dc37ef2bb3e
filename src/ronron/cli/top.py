"""`ronron top`: the figures of servers and apps in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.figures import Figures
    from ronron.site.load import LoadedSite

BARS = "▁▂▃▄▅▆▇█"
MIB = 1 << 20


@click.command()
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 24 * 14),
    default=1.0,
    show_default=True,
    help="How far back.",
)
@context.json_option
@context.with_site
def top(loaded: LoadedSite, hours: float, as_json: bool) -> None:
    """Show what servers and apps use, now and in the last hours.

    The figures are those of the app monitoring: processors, memory and disks of servers; tasks,
    memory, requests, errors and the slowest answers of apps.
    """
    from ronron.plan import figures
    from ronron.plan.session import open_session

    now = time.time()
    with output.reporter() as report, open_session(loaded, report) as session:
        servers, apps = figures.top(session, start=now - hours * 3600, end=now)
    if as_json:
        output.result_json({"servers": servers, "apps": apps})
        return
    output.table(("server", "processors", "", "memory", "", "fullest disk", ""), _servers(servers))
    output.result("")
    output.table(
        ("app", "processors", "", "memory", "", "requests/s", "", "errors", "95 % within"),
        _apps(apps),
    )


def measures(row: Mapping[str, Sequence[float | None]]) -> tuple[str, ...]:
    """A server's processors, memory and fullest disk, each as one cell."""
    cells = (_cell(row, kind, "{:.0f} %".format, 100) for kind in ("cpu", "memory", "disk"))
    return tuple(" ".join(cell).strip() for cell in cells)


def _servers(found: Figures) -> list[Sequence[str]]:
    return [
        (
            name,
            *_cell(row, "cpu", lambda value: f"{value:.0f} %", 100),
            *_cell(row, "memory", lambda value: f"{value:.0f} %", 100),
            *_cell(row, "disk", lambda value: f"{value:.0f} %", 100),
        )
        for name, row in found.items()
    ]


def _apps(found: Figures) -> list[Sequence[str]]:
    return [
        (
            name,
            *_cell(row, "cpu", lambda value: f"{value:.2f}"),
            *_cell(row, "memory", lambda value: f"{value / MIB:.0f} MiB"),
            *_cell(row, "requests", lambda value: f"{value:.1f}"),
            _cell(row, "errors", lambda value: f"{100 * value:.1f} %")[0],
            _cell(row, "seconds", lambda value: f"{value:.2f} s")[0],
        )
        for name, row in found.items()
    ]


def _cell(
    row: Mapping[str, Sequence[float | None]],
    kind: str,
    show: Callable[[float], str],
    most: float | None = None,
) -> tuple[str, str]:
    """The newest value as text, and how it came to it."""
    values = row.get(kind, ())
    last = next((value for value in reversed(values) if value is not None), None)
    return ("" if last is None else show(last)), sparkline(values, most)


def sparkline(values: Sequence[float | None], most: float | None = None) -> str:
    """The values as bars, up to `most` or the highest of them; a gap where there is none."""
    known = [value for value in values if value is not None]
    high = most or max(known, default=0) or 1
    return "".join(
        " " if value is None else BARS[min(len(BARS) - 1, max(0, int(value / high * len(BARS))))]
        for value in values
    )

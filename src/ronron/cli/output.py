"""Everything that is printed: results to standard output, progress to standard error."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from ronron.errors import OperatorError, RonronError
from ronron.events import Event, Report, State

if TYPE_CHECKING:
    from rich.console import RenderableType

STILL_RUNNING = 15.0
"""Seconds after which, without a terminal, a running step is mentioned again."""


def colour(stream: IO[str]) -> bool:
    """Whether colours may be written to `stream`: a terminal that is not told otherwise."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def result(text: str) -> None:
    """Print one line (or more) of what was asked for."""
    click.echo(text, color=colour(sys.stdout))


def note(text: str) -> None:
    """Print one line that is not part of the result, to standard error."""
    click.echo(text, err=True, color=colour(sys.stderr))


def result_json(data: Any) -> None:  # noqa: ANN401
    """Print `data` as JSON; dataclasses as objects."""

    def plain(value: object) -> object:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return str(value)

    click.echo(json.dumps(data, indent=2, default=plain, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below their columns' names, aligned; an empty cell is shown as `-`."""
    cells = [[str(cell) if cell not in (None, "") else "-" for cell in row] for row in rows]
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for number, line in enumerate(lines):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        text = "  ".join(padded).rstrip()
        result(click.style(text, bold=True) if number == 0 else text)


def age(seconds: float) -> str:
    """A length of time as a person reads it; a clock may be a minute behind."""
    if seconds < -60:
        return "in the future"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def confirm(question: str, yes: bool) -> None:
    """Ask the operator, unless `yes`.

    Raises OperatorError without a terminal, and RonronError when the answer is no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise OperatorError(f"{question} Nobody can be asked here", remedy="add --yes")
    if not click.confirm(question, err=True):
        raise RonronError("not confirmed: nothing was changed")


@contextmanager
def reporter(json: bool = False) -> Iterator[Report]:
    """A Report that prints events to standard error while the context lasts.

    On a terminal the running steps are shown live; otherwise a line is printed for each that
    ended, and now and then one for each that still runs. With `json`, each event is one line of
    JSON.
    """
    if json:
        yield _report_json
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _Live() as live:
            yield live.report
    else:
        with _Plain() as plain:
            yield plain.report


def _report_json(event: Event) -> None:
    data = {**dataclasses.asdict(event), "state": event.state.value}
    click.echo(json.dumps(data, ensure_ascii=False), err=True)


def _label(event: Event) -> str:
    return f"{event.where}: {event.step}" if event.where else event.step


def _ended(event: Event) -> str:
    word = {State.DONE: "done", State.FAILED: "failed"}[event.state]
    took = f" ({event.seconds:.1f} s)" if event.seconds is not None else ""
    detail = event.detail.removeprefix(f"{event.where}: ")
    return f"{word}{took}" + (f": {detail}" if detail else "")


class _Running:
    """The steps that run now, with when they began; `report` is called from any thread.

    Nothing is printed with the lock held: rich calls back with a lock of its own.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.steps: dict[tuple[str, str], tuple[Event, float]] = {}

    def report(self, event: Event) -> None:
        key = (event.where, event.step)
        with self.lock:
            running = self.steps.get(key)
            if event.state is State.STARTED:
                self.steps[key] = (event, time.monotonic())
            elif event.state is not State.NOTE:
                self.steps.pop(key, None)
            elif running:
                self.steps[key] = (event, running[1])
        self.show(event, running is not None)

    def running(self) -> list[tuple[Event, float]]:
        """Each running step's newest event, and for how many seconds it runs."""
        now = time.monotonic()
        with self.lock:
            return [(event, now - began) for event, began in self.steps.values()]

    def show(self, event: Event, running: bool) -> None:
        """Show `event`; `running` says whether its step was running."""
        raise NotImplementedError


class _Plain(_Running):
    """Lines for a log file."""

    def __enter__(self) -> _Plain:
        self.over = threading.Event()
        self.clock = threading.Thread(target=self.remind, daemon=True)
        self.clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.clock.join()

    def remind(self) -> None:
        """Mention long steps again, until the context ends."""
        while not self.over.wait(STILL_RUNNING):
            for event, spent in self.running():
                if spent >= STILL_RUNNING:
                    click.echo(f"{_label(event)} … still running ({spent:.0f} s)", err=True)

    def show(self, event: Event, running: bool) -> None:
        if event.state is State.NOTE:
            detail = f": {event.detail}" if event.detail else ""
            click.echo(f"{_label(event)}{detail}", err=True)
        elif event.state is not State.STARTED:
            click.echo(f"{_label(event)} … {_ended(event)}", err=True)


class _Live(_Running):
    """Running steps with a spinner at the bottom of a terminal, ended ones above."""

    def __enter__(self) -> _Live:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self.console = Console(stderr=True, highlight=False)
        self.spinner = Spinner("dots")
        self.live = Live(
            get_renderable=self.render,
            console=self.console,
            refresh_per_second=8,
            transient=True,
        )
        self.live.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:  # noqa: ANN401
        with self.lock:
            self.steps.clear()
        self.live.__exit__(*reason)

    def render(self) -> RenderableType:
        """The steps that run now, one a line."""
        from rich.text import Text

        frame = str(self.spinner.render(time.monotonic()))
        lines = [
            Text.assemble(
                (frame, "cyan"),
                f" {_label(event)} ",
                (f"{spent:.0f} s  {event.detail}", "dim"),
            )
            for event, spent in self.running()
        ]
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)

    def show(self, event: Event, running: bool) -> None:
        from rich.text import Text

        if event.state is State.NOTE and not running:
            self.console.print(Text(f"  {_label(event)}: {event.detail}"))
        elif event.state in (State.DONE, State.FAILED):
            mark = ("✓", "green") if event.state is State.DONE else ("✗", "red")
            self.console.print(Text.assemble(mark, f" {_label(event)} ", (_ended(event), "dim")))

"""How a plan is shown: its changes by server and app, line by line."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ronron.cli import output

if TYPE_CHECKING:
    from ronron.plan.model import Change, Plan

WIDEST = 60
"""Characters of a value that are shown."""


def show(plan: Plan, as_json: bool) -> None:
    """Print a plan: for people, or as JSON."""
    if as_json:
        output.result_json(
            {
                "changes": [dataclasses.asdict(change) for change in plan.changes],
                "failures": dict(plan.failures),
                "notes": list(plan.notes),
            }
        )
        return
    lines(plan.changes)
    for note in plan.notes:
        output.note(note)
    for name, reason in plan.failures.items():
        output.note(f"could not be looked at: {name}: {reason.removeprefix(f'{name}: ')}")
    if plan.empty and not plan.failures:
        output.result("nothing to change")
    elif not plan.empty:
        count = len(plan.changes)
        output.result(f"{count} change{'s' if count != 1 else ''}")


def lines(changes: Iterable[Change]) -> None:
    """Print changes, a heading for each server or app."""
    heading = None
    for change in changes:
        if change.where != heading:
            heading = change.where
            output.result(_styled(heading, bold=True))
        output.result(f"  {_line(change)}")


def _line(change: Change) -> str:
    if change.before is None:
        mark, colour, text = "+", "green", _short(change.after)
    elif change.after is None:
        mark, colour, text = "-", "red", _short(change.before)
    else:
        mark, colour = "~", "yellow"
        text = f"{_short(change.before)} → {_short(change.after)}"
    why = f"  ({change.why})" if change.why else ""
    return _styled(f"{mark} {_plain(change.field)}: {text}", fg=colour) + why


def _short(value: str | None) -> str:
    text = _plain(" ".join((value or "").split()))
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _plain(text: str) -> str:
    """Without control characters: what is in the swarm may come from others."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _styled(text: str, *, fg: str | None = None, bold: bool = False) -> str:
    return click.style(text, fg=fg, bold=bold) if output.colour(sys.stdout) else text

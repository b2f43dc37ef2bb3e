"""`make bench`: measures speed and memory, prints a table, and writes `bench/results.json`.

`bench/run.py NAME…` measures the subjects named alone (`--list` names them all); the figures of the
others stay in the file as they were. docs/performance.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import backing
import catalog
import deploying
import outage
import planning
import provisioning
import rebuilding
import starting
import trying
import updating
import watching
from laboratory import Laboratory, laboratory
from measure import Result, say

RESULTS = Path(__file__).resolve().parent / "results.json"
ALONE: dict[str, Callable[[], list[Result]]] = {
    "starting": starting.measure,
    "planning": planning.measure,
    "catalog": catalog.measure,
    "trying": trying.measure,
    "rebuilding": rebuilding.measure,
}
ON_A_LAB: dict[str, Callable[[Laboratory], list[Result]]] = {
    "provisioning": provisioning.measure,
    "deploying": deploying.measure,
    "updating": updating.measure,
    "backing": backing.measure,
    "watching": watching.measure,
    "outage": outage.measure,
}
LAB = "bench"


def main(arguments: Sequence[str]) -> int:
    """Measure; returns 1 when a target is missed."""
    names = [*ALONE, *ON_A_LAB]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("subjects", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--list", action="store_true", help="name the subjects, and do nothing")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(names))
        return 0
    if unknown := set(chosen.subjects) - set(names):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    wanted = chosen.subjects or names
    figures: list[dict[str, object]] = []

    def keep(results: Sequence[Result]) -> None:
        figures.extend(result.json() for result in results)
        write(figures)

    for name, measure in ALONE.items():
        if name in wanted:
            say(f"{name}:")
            keep(measure())
    with ExitStack() as stack:
        made = None
        for name, measure_on in ON_A_LAB.items():
            if name in wanted:
                made = made or stack.enter_context(laboratory(LAB))
                say(f"{name}:")
                keep(measure_on(made))
    print(table(figures))
    return 1 if any(figure["holds"] is False for figure in figures) else 0


def write(figures: Sequence[dict[str, object]]) -> None:
    """Write the figures; those of an earlier run that are not among them stay, below."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    names = {figure["name"] for figure in figures}
    kept = [figure for figure in old if figure["name"] not in names]
    lines = ",\n".join(f"  {json.dumps(figure)}" for figure in [*figures, *kept])
    RESULTS.write_text(f"[\n{lines}\n]\n")


def table(figures: Sequence[dict[str, object]]) -> str:
    """The figures as a table for a terminal."""
    head = ("what", "value", "unit", "target", "holds")
    rows = [head, *(row(figure) for figure in figures)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


def row(figure: dict[str, object]) -> tuple[str, str, str, str, str]:
    """One line of the table."""
    value = float(str(figure["value"]))
    shown = f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    holds = {True: "yes", False: "NO", None: ""}[figure["holds"]]  # type: ignore[index]
    target = str(figure["target"] or "")
    return str(figure["name"]), shown, str(figure["unit"]), target, holds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

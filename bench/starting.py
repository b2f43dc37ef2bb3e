"""`ronron --help` beside the import of click alone: nothing else may be imported for it."""

from __future__ import annotations

from measure import PYTHON, RONRON, Result, alternate, ratio, timed

REPETITIONS = 31


def measure() -> list[Result]:
    """The ratio, from whole processes run in turn."""
    ours, clicks = alternate(
        REPETITIONS,
        lambda: timed([RONRON, "--help"])[0],
        lambda: timed([PYTHON, "-c", "import click"])[0],
        warm_up=2,
    )
    return [
        Result("ronron --help / python -c 'import click'", ratio(ours, clicks), "ratio", 1.6),
    ]

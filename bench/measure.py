"""What every subject shares: a result beside its target, and how times are taken."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
RONRON = ROOT / ".venv" / "bin" / "ronron"


@dataclass(frozen=True)
class Result:
    """One figure; `most` is what it may be at most, None for a figure that is only reported."""

    name: str
    value: float
    unit: str
    most: float | None = None

    @classmethod
    def median(
        cls, name: str, times: Sequence[float], unit: str, most: float | None = None
    ) -> Result:
        """The median of several measurements."""
        return cls(name, statistics.median(times), unit, most)

    @property
    def target(self) -> str | None:
        """The target as it is written: `<= 0.25`."""
        return None if self.most is None else f"<= {self.most:g}"

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.most is None else self.value <= self.most

    def json(self) -> dict[str, object]:
        """The figure as `bench/results.json` has it."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "holds": self.holds,
        }


def alternate(
    repetitions: int, *works: Callable[[], float], warm_up: int = 0
) -> tuple[list[float], ...]:
    """Do each of `works` in turn, `repetitions` times over, and return what each took.

    What slows the machine down for a while thus slows all of them. The first `warm_up` rounds do
    not count.
    """
    taken: tuple[list[float], ...] = tuple([] for _ in works)
    for round_number in range(warm_up + repetitions):
        # Whoever goes first in one round goes last in the next.
        order = list(zip(works, taken, strict=True))
        for work, times in order if round_number % 2 == 0 else reversed(order):
            seconds = work()
            if round_number >= warm_up:
                times.append(seconds)
    return taken


def ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """The median of `times` in units of the median of `others`."""
    return statistics.median(times) / statistics.median(others)


def timed(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: bytes = b"",
) -> tuple[float, str]:
    """Run a program to its end and return the seconds that it took, and what it wrote.

    Raises RuntimeError with its last words when it fails.
    """
    began = time.monotonic()
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        last = (done.stdout + done.stderr).decode(errors="replace").splitlines()[-20:]
        words = " ".join(map(str, argv[:6]))
        raise RuntimeError("\n".join([f"{words}: ended with {done.returncode}", *last]))
    return seconds, done.stdout.decode(errors="replace")


def say(text: str) -> None:
    """Tell on standard error how far it is: standard output has the table alone."""
    print(text, file=sys.stderr, flush=True)

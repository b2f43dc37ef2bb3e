"""What long work says while it runs. The domain sends events; `cli` and `web` show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a step stands. `NOTE` is a line of information inside a running step."""

    STARTED = "started"
    NOTE = "note"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """One thing that happened: `step` on `where` (a server, an app, or empty for the site).

    `seconds` is how long the step took, once it is done or failed.
    """

    step: str
    where: str = ""
    state: State = State.NOTE
    detail: str = ""
    seconds: float | None = None


Report = Callable[[Event], None]
"""What a caller passes in to be told of events. It may be called from several threads."""


def ignore(event: Event) -> None:
    """A `Report` for callers that do not want to be told."""


@contextmanager
def step(report: Report, name: str, where: str = "") -> Iterator[None]:
    """Report that a step started, and that it was done or failed, with its duration in seconds."""
    began = time.monotonic()
    report(Event(name, where, State.STARTED))
    try:
        yield
    except BaseException as error:
        spent = time.monotonic() - began
        report(Event(name, where, State.FAILED, str(error).split("\n", 1)[0], spent))
        raise
    report(Event(name, where, State.DONE, seconds=time.monotonic() - began))

"""Waiting for the swarm, always with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ronron.errors import RonronError

PAUSE = 0.25
"""Seconds between two looks."""

Found = TypeVar("Found")


def until(
    look: Callable[[], Found | None], seconds: float, what: str, *, pause: float = PAUSE
) -> Found:
    """Call `look` until it returns something true, and return that.

    Raises RonronError that names `what` when `seconds` are over.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise RonronError(f"waited {seconds:.0f} s in vain for {what}")
        threading.Event().wait(pause)
    return found

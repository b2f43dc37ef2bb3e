"""The one exception tree. Foreign errors are translated where they enter; `cli` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RonronError(Exception):
    """Something a person must know: one line that says what is wrong and where, and a remedy.

    `exit_code` is what the process ends with: 1 for the world's failures.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "", details: Sequence[str] = ()) -> None:
        """`details` are further lines, such as the last log lines of a container."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = tuple(details)

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class OperatorError(RonronError):
    """The operator asked for something that cannot be: exit code 2, nothing was changed."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One fault in one file of the site: `apps/blog.yml: domain: taken by app shop (…)`."""

    file: str
    path: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}: {self.path}" if self.path else self.file
        return f"{place}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


class SiteError(OperatorError):
    """Every fault found in the site's files, reported together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(str(problems[0]), details=[str(p) for p in problems[1:]])
        self.problems = tuple(problems)


class ServerError(RonronError):
    """A server did not do what was asked; `server` is its name."""

    def __init__(
        self, server: str, message: str, *, remedy: str = "", details: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{server}: {message}", remedy=remedy, details=details)
        self.server = server

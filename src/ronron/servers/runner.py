"""How commands reach a machine: one small protocol, with SSH, local and recording runners."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Completed:
    """A finished command: its argv, exit status, and what it wrote."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output, decoded, without its last newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Runner(Protocol):
    """A machine on which argv lists are run. Strings are never put through a shell unquoted."""

    @property
    def name(self) -> str:
        """The machine's name, as errors and events say it."""
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 600.0,
    ) -> Completed:
        """Run `argv`, wait for at most `timeout` seconds, and return what it did.

        Raises ServerError when the machine cannot be reached, when the time is over, and, with
        `check`, when the exit status is not 0 (the last lines of standard error in `details`).
        """
        ...

    def stream(self, argv: Sequence[str]) -> Iterator[str]:
        """Run `argv` and yield its output, standard error included, line by line as it comes."""
        ...

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `argv` with its three standard streams as pipes; it ends when they are closed."""
        ...

    def put(
        self, path: str, content: bytes, *, mode: int = 0o644, folder: int | None = None
    ) -> None:
        """Write a file whole, or not at all, with `mode`.

        With `folder` its folder is made first, with that mode; otherwise it must exist.
        """
        ...

    def interactive(self, argv: Sequence[str]) -> int:
        """Run `argv` on this terminal and return its exit status."""
        ...

    def socket(self, path: str) -> AbstractContextManager[Path]:
        """Make the machine's Unix socket `path` reachable as a local one while the context lasts.

        The context yields the local socket's path.
        """
        ...

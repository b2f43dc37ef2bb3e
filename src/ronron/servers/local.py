"""The runner of the machine that ronron itself runs on, as on a manager, from a timer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ronron.errors import ServerError
from ronron.servers import process
from ronron.servers.runner import Completed


@dataclass(frozen=True)
class LocalRunner:
    """A `Runner` without a connection. Commands run as the user that ronron runs as."""

    name: str = "this computer"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 600.0,
    ) -> Completed:
        """See `Runner.run`."""
        done = process.run(self.name, argv, argv, stdin=stdin, timeout=timeout)
        return process.checked(self.name, done) if check else done

    def stream(self, argv: Sequence[str]) -> Iterator[str]:
        """See `Runner.stream`. Raises ServerError when the exit status is not 0."""
        return process.stream(self.name, argv, argv)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See `Runner.start`."""
        pipe = subprocess.PIPE
        return subprocess.Popen(list(argv), stdin=pipe, stdout=pipe, stderr=pipe)

    def put(
        self, path: str, content: bytes, *, mode: int = 0o644, folder: int | None = None
    ) -> None:
        """See `Runner.put`."""
        target = Path(path)
        if folder is not None:
            self.run(["install", "-d", "-m", f"{folder:o}", "--", str(target.parent)])
        try:
            handle, temporary = tempfile.mkstemp(prefix=target.name + ".", dir=target.parent)
        except OSError as error:
            raise ServerError(self.name, f"{path}: {error.strerror}") from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            Path(temporary).replace(target)
        except OSError as error:
            raise ServerError(self.name, f"{path}: {error.strerror}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()

    def interactive(self, argv: Sequence[str]) -> int:
        """See `Runner.interactive`."""
        return subprocess.run(list(argv), check=False).returncode

    def socket(self, path: str) -> AbstractContextManager[Path]:
        """See `Runner.socket`: the socket is here already."""

        @contextmanager
        def here() -> Iterator[Path]:
            yield Path(path)

        return here()

"""A runner that runs nothing: it records what it was asked and answers from a table."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ronron.errors import ServerError
from ronron.servers.runner import Completed


@dataclass(frozen=True)
class Answer:
    """What a recorded command is said to have done."""

    stdout: bytes = b""
    status: int = 0
    stderr: bytes = b""


@dataclass(frozen=True)
class Call:
    """One thing that a RecordingRunner was asked: `how` is the method's name."""

    how: str
    argv: tuple[str, ...]
    stdin: bytes | None = None


@dataclass
class RecordingRunner:
    """A `Runner` for tests.

    `answers` maps the first words of an argv, joined by spaces, to its answer; the longest match
    wins, and a command that matches nothing succeeds silently. An answer can be bytes (standard
    output), an Answer, or a function of the argv and standard input that returns one of these.
    `calls` is what was asked, in order; `files` is what was written by `put`: content and mode.
    """

    name: str = "recorded"
    answers: Mapping[str, bytes | Answer | Callable[[Sequence[str], bytes | None], object]] = field(
        default_factory=dict
    )
    calls: list[Call] = field(default_factory=list)
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    @property
    def commands(self) -> list[list[str]]:
        """The argv lists that were run, in order."""
        return [list(call.argv) for call in self.calls]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 600.0,
    ) -> Completed:
        """Record the command and answer from the table; see `Runner.run`."""
        self.calls.append(Call("run", tuple(argv), stdin))
        answer = self._answer(argv, stdin)
        if check and answer.status:
            raise ServerError(
                self.name,
                f"{argv[0]} ended with status {answer.status}",
                details=answer.stderr.decode().splitlines()[-10:],
            )
        return Completed(tuple(argv), answer.status, answer.stdout, answer.stderr)

    def stream(self, argv: Sequence[str]) -> Iterator[str]:
        """Record the command and yield its answer's lines."""
        self.calls.append(Call("stream", tuple(argv)))
        yield from self._answer(argv, None).stdout.decode().splitlines()

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Refused: there is nothing behind a recording."""
        raise ServerError(self.name, f"a recording cannot start {argv[0]}")

    def put(
        self, path: str, content: bytes, *, mode: int = 0o644, folder: int | None = None
    ) -> None:
        """Keep the file in `files`."""
        self.calls.append(Call("put", (path,), content))
        self.files[path] = (content, mode)

    def interactive(self, argv: Sequence[str]) -> int:
        """Record the command and return its answer's status."""
        self.calls.append(Call("interactive", tuple(argv)))
        return self._answer(argv, None).status

    def socket(self, path: str) -> AbstractContextManager[Path]:
        """Refused: there is nothing behind a recording."""
        raise ServerError(self.name, f"a recording has no socket {path}")

    def _answer(self, argv: Sequence[str], stdin: bytes | None) -> Answer:
        said = " ".join(argv)
        matching = [key for key in self.answers if (said + " ").startswith(key + " ")]
        answer: object = self.answers[max(matching, key=len)] if matching else Answer()
        if callable(answer):
            answer = answer(argv, stdin)
        if isinstance(answer, bytes):
            return Answer(answer)
        if not isinstance(answer, Answer):
            raise TypeError(f"an answer to {said!r} is bytes or an Answer, not {answer!r}")
        return answer

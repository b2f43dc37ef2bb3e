"""What the parts of the translation share: the file, its variables, and what is said about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ronron.catalog.interpolate import Step, compile, place
from ronron.catalog.plain.document import Document
from ronron.errors import Problem, SiteError


@dataclass
class Reading:
    """One stack file while it is translated.

    `variables` are the values that its `${VARIABLES}` have now; `folder` is where its relative
    paths start. `notes` and `problems` grow; `files` are the files beside it that it needs.
    """

    file: str
    folder: Path
    document: Document
    variables: Mapping[str, str]
    allow_host_paths: bool = False
    notes: list[tuple[int, str]] = field(default_factory=list)
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    files: dict[str, None] = field(default_factory=dict)

    def note(self, steps: Sequence[Step], text: str) -> None:
        """Say that what stands at `steps` was translated."""
        entry = (self.document.line(steps), text)
        if entry not in self.notes:
            self.notes.append(entry)

    def refuse(self, steps: Sequence[Step], message: str, remedy: str) -> None:
        """Say that what stands at `steps` cannot be carried over, and what to do instead."""
        line = self.document.line(steps)
        problem = Problem(self.file, f"line {line}: {place(steps)}", message, remedy)
        if (line, problem) not in self.problems:
            self.problems.append((line, problem))

    def value(self, raw: object, steps: Sequence[Step]) -> str:
        """Return the text of a scalar with its variables filled in; empty when they cannot be."""
        if not isinstance(raw, str) or "$" not in raw:
            return scalar_text(raw)
        try:
            return str(compile(raw, self.file).render(self.variables))
        except SiteError as error:
            first = error.problems[0]
            self.refuse(steps, first.message, first.remedy)
            return ""

    def flag(self, raw: object, steps: Sequence[Step]) -> bool:
        """Return whether a scalar is true."""
        return self.value(raw, steps).lower() in ("true", "yes", "y", "on", "1")

    def finish(self) -> None:
        """Raise SiteError when anything was refused, in the order of the file's lines."""
        if self.problems:
            ordered = sorted(self.problems, key=lambda entry: entry[0])
            raise SiteError([problem for _, problem in ordered])

    def needs(self, path: str, steps: Sequence[Step]) -> Path | None:
        """Return a file that is named relative to the stack file, None if it is refused."""
        full = (self.folder / path).resolve()
        if path.startswith(("/", "~")) or not full.is_relative_to(self.folder.resolve()):
            self.refuse(steps, f"{path} is not beside the stack file", "copy it there")
            return None
        if not full.is_file():
            self.refuse(steps, f"{path} is missing beside the stack file", "put it there")
            return None
        self.files.setdefault(full.relative_to(self.folder.resolve()).as_posix())
        return full


def split(raw: str, separator: str = ":") -> list[str]:
    """Split at each `separator` that is not inside `${…}`."""
    pieces, depth, at, start = [], 0, 0, 0
    while at < len(raw):
        if raw.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        if raw[at] == "}" and depth:
            depth -= 1
        elif raw[at] == separator and not depth:
            pieces.append(raw[start:at])
            start = at + 1
        at += 1
    return [*pieces, raw[start:]]


def listing(raw: object) -> list[object]:
    """Return a list: of what `raw` holds, of `raw` itself, or nothing when it is None."""
    if raw is None:
        return []
    return list(raw) if isinstance(raw, (list, tuple)) else [raw]


def pairs(raw: object) -> dict[str, object]:
    """Return the mapping that `KEY=value` entries or a mapping spell; `KEY` alone is None."""
    if isinstance(raw, Mapping):
        return dict(raw)
    found: dict[str, object] = {}
    for entry in listing(raw):
        key, equals, value = str(entry).partition("=")
        found[key.strip()] = value if equals else None
    return found


def slug(text: str) -> str:
    """Return `text` as a name that volumes and configs may have."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "data"


def short_name(text: str, taken: Collection[str], length: int) -> str:
    """Return `text` as a name of at most `length` characters that is not `taken`.

    It begins with a letter, and has only lower case letters, digits and underscores.
    """
    name = re.sub(r"^[^a-z]+", "", slug(text)) or "x"
    candidate, number = name[:length].rstrip("_"), 2
    while candidate in taken:
        end = f"_{number}"
        candidate, number = name[: length - len(end)].rstrip("_") + end, number + 1
    return candidate


def scalar_text(raw: object) -> str:
    """Return a scalar as text, its variables left alone: true, not True."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return "" if raw is None else str(raw)

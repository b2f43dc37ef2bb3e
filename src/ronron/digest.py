"""Digests that name things by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

CERTIFICATES = "ca-certificates.crt"
"""The name under which a Dockerfile finds the certificate authorities of ronron's machine."""

_NOT_CONTENT = {"__pycache__", CERTIFICATES}


def short_digest(content: bytes) -> str:
    """12 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:12]


def content_files(folder: Path) -> list[tuple[str, Path]]:
    """The files of `folder` that an image is built from, by relative name, in a fixed order.

    What its `.dockerignore` leaves out is left out: patterns as Docker reads them, the last that
    matches a path or a folder above it decides, `!` takes back in. The certificates are the
    machine's, not the folder's.
    """
    ignored = folder / ".dockerignore"
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = [
        name
        for name in names
        if not _NOT_CONTENT.intersection(name.parts) and not _left_out(name, patterns)
    ]
    return sorted((name.as_posix(), folder / name) for name in kept)


def _left_out(name: PurePath, patterns: Sequence[str]) -> bool:
    left_out = False
    if name.as_posix() == "Dockerfile":
        return False
    for pattern in patterns:
        wanted = PurePath(pattern.removeprefix("!").strip("/")).parts
        if any(_fits(place.parts, wanted) for place in [name, *name.parents][:-1]):
            left_out = not pattern.startswith("!")
    return left_out


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a path fits a pattern: `*` stands for what is in one name, `**` for any names."""
    if not wanted:
        return not parts
    if wanted[0] == "**" and wanted[1:]:
        return any(_fits(parts[start:], wanted[1:]) for start in range(len(parts) + 1))
    if wanted[0] == "**":
        return bool(parts)
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def content_digest(folder: Path) -> str:
    """12 hexadecimal digits that change with anything an image of `folder` is built from."""
    return _digest(content_files(folder))


def folder_digest(folder: Path, *, without: Collection[str] = ()) -> str:
    """12 hexadecimal digits that change with any file of `folder`, but for those `without`."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return _digest(
        (name.as_posix(), folder / name)
        for name in names
        if "__pycache__" not in name.parts and name.as_posix() not in without
    )


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        executable = b"x" if path.stat().st_mode & 0o100 else b"-"
        content = path.read_bytes()
        digest.update(b"%d %s %s %d\0" % (len(name), name.encode(), executable, len(content)))
        digest.update(content)
    return digest.hexdigest()[:12]

"""Runs on a server: whether an archive of mongodump is whole. Called with its path, prints a fault.

It stands alone: Python 3.9 and its standard library. The format is that of the page "The Mongodump
archive format specification" of MongoDB's tools: a magic number, documents about the archive and
its collections, then blocks of documents, each after a header with its collection; a header with
`EOF` says that a collection is over. Each part ends with a terminator.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import BinaryIO

MAGIC = bytes.fromhex("6de29981")
TERMINATOR = b"\xff" * 4
FIXED = {1: 8, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16}
"""BSON's types whose values have a fixed size, in bytes."""


def fields(document: bytes) -> dict[str, object]:
    """The texts and booleans at the top of a BSON document, up to a type that is not known here."""
    found: dict[str, object] = {}
    at = 4
    while at < len(document) - 1:
        kind, at = document[at], at + 1
        end = document.index(b"\0", at)
        name, at = document[at:end].decode("utf-8", "replace"), end + 1
        if kind == 2:
            (length,) = struct.unpack_from("<i", document, at)
            found[name] = document[at + 4 : at + 3 + length].decode("utf-8", "replace")
            at += 4 + length
        elif kind in (3, 4):
            at += int(struct.unpack_from("<i", document, at)[0])
        elif kind in FIXED:
            if kind == 8:
                found[name] = document[at] == 1
            at += FIXED[kind]
        else:
            break
    return found


def _document(file: BinaryIO, read: bool) -> bytes | None:
    """The next document, empty unless it is to be `read`; None at a terminator."""
    start = file.read(4)
    if start == TERMINATOR:
        return None
    (length,) = struct.unpack("<i", start)
    if length < 5:
        raise ValueError
    rest = file.read(length - 4) if read else b""
    if not read:
        file.seek(length - 5, 1)
        rest = file.read(1)
    if rest[-1:] != b"\0" or (read and len(rest) != length - 4):
        raise ValueError
    return start + rest if read else b""


def fault(path: str) -> str:
    """What is wrong with the archive at `path`; empty when nothing is."""
    try:
        with Path(path).open("rb") as file:
            return _fault(file, Path(path).stat().st_size)
    except (ValueError, struct.error, IndexError):
        return "it ends in the middle, or is no archive of mongodump"


def _fault(file: BinaryIO, size: int) -> str:
    if file.read(4) != MAGIC or _document(file, read=True) is None:
        raise ValueError
    wanted: set[tuple[object, object]] = set()
    while (about := _document(file, read=True)) is not None:
        told = fields(about)
        # A view has no documents of its own.
        if told.get("type") == "collection":
            wanted.add((told.get("db"), told.get("collection")))
    while file.tell() < size:
        head = _document(file, read=True)
        if head is None:
            raise ValueError
        told = fields(head)
        name = (told.get("db"), told.get("collection"))
        if told.get("EOF"):
            wanted.discard(name)
        else:
            wanted.add(name)
        while _document(file, read=False) is not None:
            pass
    if wanted:
        return f"the collection {min(str(collection) for _, collection in wanted)} is not whole"
    return ""


if __name__ == "__main__":
    sys.stdout.write(fault(sys.argv[1]))

"""Dumps: which of them are whole."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from pathlib import Path

import pytest

from ronron.backup import archive, dump
from ronron.errors import RonronError
from ronron.servers.local import LocalRunner

MARIADB = b"INSERT INTO x;\n-- Dump completed on 2026-11-24 15:28:00\n"
POSTGRES = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
REDIS = b"REDIS0011" + b"x" * 100 + b"\xff" + b"checksum"
SQLITE = b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n"


def bson(**values: str | bool | int) -> bytes:
    """A BSON document of texts, booleans and 64-bit numbers."""
    body = b""
    for name, value in values.items():
        key = name.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + key + bytes([value])
        elif isinstance(value, int):
            body += b"\x12" + key + struct.pack("<q", value)
        else:
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
    return struct.pack("<i", len(body) + 5) + body + b"\0"


END = b"\xff" * 4


def mongodb(*blocks: bytes) -> bytes:
    """An archive as mongodump's specification has it, of two collections and a view."""
    about = [
        bson(db="chat", collection=name, metadata="{}", size=1, type=kind)
        for name, kind in (("users", "collection"), ("rooms", "collection"), ("all", "view"))
    ]
    header = bson(concurrent_collections=4, version="0.1", server_version="8.0")
    return archive.MAGIC + header + b"".join(about) + END + b"".join(blocks)


def block(collection: str, *documents: bytes, over: bool = False) -> bytes:
    last: dict[str, bool | int] = {"EOF": over, "CRC": 7 if over else 0}
    return bson(db="chat", collection=collection, **last) + b"".join(documents) + END


USERS = [block("users", bson(name="ada"), bson(name="eve")), block("users", over=True)]
ROOMS = [block("rooms", bson(name="all", open=True)), block("rooms", over=True)]
MONGODB = mongodb(USERS[0], ROOMS[0], *USERS[1:], *ROOMS[1:])


def test_an_archive_of_mongodump_is_whole_when_every_collection_is(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    for content, said in (
        (MONGODB, ""),
        (mongodb(*USERS), "rooms is not whole"),
        (mongodb(*USERS, ROOMS[0]), "rooms is not whole"),
        (mongodb(*USERS, *ROOMS)[:-4] + b"x" * 4, "ends in the middle"),
    ):
        path.write_bytes(content)
        assert said in archive.fault(str(path))
        assert bool(said) == bool(archive.fault(str(path)))
    # One whose last bytes look like an end, at the borders of its parts too. One of no collection
    # is whole.
    empty = MONGODB.index(bson(db="chat", collection="users")[4:20]) - 4
    whole = []
    for cut in range(len(MONGODB)):
        path.write_bytes(MONGODB[:cut] + END)
        if not archive.fault(str(path)):
            whole.append(cut)
    assert whole == [empty, len(MONGODB) - len(END)]


def test_a_database_file_of_sqlites_has_as_many_pages_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE a (b); INSERT INTO a VALUES (1);")
    assert dump.check(LocalRunner(), "blog", "db", "sqlite", str(path)).size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RonronError, match="its end is not that of a whole sqlite dump"):
        dump.check(LocalRunner(), "blog", "db", "sqlite", str(path))


@pytest.mark.parametrize(
    ("engine", "content"),
    [
        ("mariadb", MARIADB),
        ("postgres", POSTGRES),
        ("mongodb", MONGODB),
        ("redis", REDIS),
        ("sqlite", SQLITE),
    ],
)
def test_a_dump_counts_only_with_its_end(tmp_path: Path, engine: str, content: bytes) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    found = dump.check(LocalRunner(), "blog", "db", engine, str(path))
    assert (found.size, found.engine) == (len(content), engine)
    for cut in (content[: len(content) // 2], b"", content[:1]):
        path.write_bytes(cut)
        with pytest.raises(RonronError, match="blog: the dump of db is not to be used"):
            dump.check(LocalRunner(), "blog", "db", engine, str(path))
    path.unlink()
    with pytest.raises(RonronError, match="there is no dump of db"):
        dump.check(LocalRunner(), "blog", "db", engine, str(path))

"""Dumps of databases: made by a swarm job, and believed only when their end is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ronron.errors import RonronError
from ronron.events import Report, step
from ronron.servers.runner import Runner
from ronron.swarm import jobs

if TYPE_CHECKING:
    from docker import DockerClient

    from ronron.catalog.recipe import Database

SECONDS = 3600.0
STORAGE = "ronron.storage"

# Prints a file's size, and its first and last bytes in hexadecimal.
_ENDS = """
import json, os, sys
with open(sys.argv[1], "rb") as file:
    head = file.read(64)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 512))
    print(json.dumps({"size": size, "head": head.hex(), "tail": file.read().hex()}))
"""


@dataclass(frozen=True)
class Dump:
    """A database's dump as a file of the storage server; size in bytes."""

    database: str
    engine: str
    path: str
    size: int


def fault(engine: str, size: int, head: bytes, tail: bytes) -> str:
    """What is wrong with a dump of `size` bytes that begins and ends so; empty when nothing is.

    How dumps end is taken from the tools' sources: mariadb-dump, mysqldump and pg_dump write a
    comment, mongodump an archive's magic number and terminator, Redis its name and a byte before
    the checksum, sqlite3 its COMMIT.
    """
    if size == 0:
        return "it is empty"
    end = tail.rstrip()
    whole = {
        "mariadb": b"-- Dump completed" in tail,
        "mysql": b"-- Dump completed" in tail,
        "postgres": b"PostgreSQL database dump complete" in tail,
        "mongodb": head.startswith(bytes.fromhex("6de29981")) and tail.endswith(b"\xff" * 4),
        "redis": head.startswith(b"REDIS") and tail[-9:-8] == b"\xff",
        "sqlite": end.endswith(b"COMMIT;") or head.startswith(b"SQLite format 3\0"),
    }
    return "" if whole.get(engine, True) else f"its end is not that of a whole {engine} dump"


def check(runner: Runner, app: str, database: str, engine: str, path: str) -> Dump:
    """Look at the dump of a database of `app` at `path`.

    Raises RonronError when it is not there, empty or not whole.
    """
    done = runner.run(["python3", "-c", _ENDS, path], check=False)
    if done.status:
        raise RonronError(f"{app}: there is no dump of {database}: {path} on {runner.name}")
    seen = json.loads(done.text)
    wrong = fault(engine, seen["size"], bytes.fromhex(seen["head"]), bytes.fromhex(seen["tail"]))
    if wrong:
        raise RonronError(
            f"{app}: the dump of {database} is not to be used: {wrong}",
            remedy="the last good one is kept",
        )
    return Dump(database, engine, path, seen["size"])


def make(
    docker: DockerClient,
    storage: Runner,
    app: str,
    name: str,
    database: Database,
    folder: str,
    owner: tuple[int, int],
    report: Report,
) -> Dump:
    """Dump a database of `app` into `folder` on the storage server.

    `owner` are the numeric user and group that the database's program runs as. The last good dump
    stays until this one has been looked at. Raises RonronError when the job fails or the dump is
    not whole.
    """
    service = database.service or name
    path = f"{folder}/{name}.dump"
    with step(report, f"dump {name}", app):
        uid, gid = owner
        work = f"{folder}/.{name}"
        storage.run(["rm", "-rf", "--", work])
        storage.run(["install", "-d", "-o", str(uid), "-g", str(gid), "-m", "0700", work])
        script = 'umask 077; exec "$@" > ' + f"{jobs.MOUNT}/dump"
        command = ("sh", "-c", script, "sh", *database.dump)
        job = jobs.Job(app, service, f"dump-{name}", command, work, STORAGE)
        try:
            jobs.run(docker, job, SECONDS)
            check(storage, app, name, database.engine, f"{work}/dump")
            storage.run(["sync", f"{work}/dump"])
            storage.run(["chown", "root:root", f"{work}/dump"])
            storage.run(["mv", f"{work}/dump", path])
        except RonronError as error:
            raise RonronError(
                error.message if error.message.startswith(app) else f"{app}: {error.message}",
                remedy=error.remedy,
                details=error.details,
            ) from error
        finally:
            storage.run(["rm", "-rf", "--", work], check=False)
        return check(storage, app, name, database.engine, path)


def load(
    docker: DockerClient,
    app: str,
    name: str,
    database: Database,
    folder: str,
    network: str,
    report: Report,
) -> None:
    """Restore the dump `dump` in `folder` on the storage server into the database on `network`."""
    service = database.service or name
    with step(report, f"load {name}", app):
        command = ("sh", "-c", f'exec "$@" < {jobs.MOUNT}/dump', "sh", *database.restore)
        job = jobs.Job(app, service, f"load-{name}", command, folder, STORAGE, network=network)
        jobs.run(docker, job, SECONDS)

"""Dumps of databases: made by a swarm job, and believed only when their end is there."""

from __future__ import annotations

import json
import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ronron.backup import archive
from ronron.errors import RonronError, ServerError
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
    the checksum, sqlite3 its COMMIT; the header of SQLite's own file says how many pages it has.
    """
    if size == 0:
        return "it is empty"
    whole = {
        "mariadb": b"-- Dump completed" in tail,
        "mysql": b"-- Dump completed" in tail,
        "postgres": b"PostgreSQL database dump complete" in tail,
        "mongodb": head.startswith(archive.MAGIC) and tail.endswith(archive.TERMINATOR),
        "redis": head.startswith(b"REDIS") and tail[-9:-8] == b"\xff",
        "sqlite": tail.rstrip().endswith(b"COMMIT;") or _pages(head) == size,
    }
    return "" if whole[engine] else f"its end is not that of a whole {engine} dump"


def _pages(head: bytes) -> int:
    """The size that a database file of SQLite's has by its header; 0 for what is none."""
    if not head.startswith(b"SQLite format 3\0") or len(head) < 32:
        return 0
    size, (count,) = int.from_bytes(head[16:18], "big"), struct.unpack(">I", head[28:32])
    return (65536 if size == 1 else size) * int(count)


def check(runner: Runner, app: str, database: str, engine: str, path: str) -> Dump:
    """Look at the dump of a database of `app` at `path`.

    Raises RonronError when it is not there, empty or not whole.
    """
    done = runner.run(["python3", "-c", _ENDS, path], check=False)
    if done.status:
        raise RonronError(f"{app}: there is no dump of {database}: {path} on {runner.name}")
    seen = json.loads(done.text)
    wrong = fault(engine, seen["size"], bytes.fromhex(seen["head"]), bytes.fromhex(seen["tail"]))
    if engine == "mongodb" and not wrong:
        program = resources.files("ronron.backup").joinpath("archive.py").read_text()
        wrong = runner.run(["python3", "-c", program, path], timeout=SECONDS).text
    if wrong:
        raise RonronError(
            f"{app}: the dump of {database} is not to be used: {wrong}",
            remedy="the last good one is kept",
        )
    return Dump(database, engine, path, seen["size"])


@dataclass(frozen=True)
class Place:
    """Where a database's volume is: its server, the label of that node, Docker's name for it, its
    folder, and the numeric user and group that the database's program runs as.

    `image` runs the two commands, where that is not the service's own.
    """

    holder: Runner
    label: str
    volume: str
    folder: str
    owner: tuple[int, int]
    image: str = ""


def make(
    docker: DockerClient,
    storage: Runner,
    app: str,
    name: str,
    database: Database,
    folder: str,
    place: Place,
    report: Report,
) -> Dump:
    """Dump a database of `app` into `folder` on the storage server.

    The last good dump stays until this one has been looked at. Raises RonronError when the job
    fails or the dump is not whole.
    """
    service = database.service or name
    path = f"{folder}/{name}.dump"
    # A database that is a file is dumped where that is, with its folder to be read only.
    here = place.holder if database.dumps_files else storage
    with step(report, f"dump {name}", app):
        work = f"{folder}/.{name}"
        try:
            _work(here, app, work, place.owner)
            script = 'umask 077; exec "$@" > ' + f"{jobs.MOUNT}/dump"
            command = ("sh", "-c", script, "sh", *database.dump)
            job = jobs.Job(app, service, f"dump-{name}", command, work, STORAGE, image=place.image)
            if database.dumps_files:
                folders = {place.volume: place.folder}
                job = replace(job, node_label=place.label, folders=folders, read_only=True)
            jobs.run(docker, job, SECONDS)
            if here.name != storage.name:
                _work(storage, app, work, (0, 0))
                carry(here, f"{work}/dump", storage, f"{work}/dump")
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
            for runner in {one.name: one for one in (here, storage)}.values():
                with suppress(ServerError):
                    runner.run(["rm", "-rf", "--", work], check=False)
        return check(storage, app, name, database.engine, path)


def _work(runner: Runner, app: str, work: str, owner: tuple[int, int]) -> None:
    """An empty folder for a job; those above it are root's alone."""
    above = str(PurePosixPath(work).parent)
    runner.run(["rm", "-rf", "--", work])
    runner.run(["install", "-d", "-m", "0700", str(PurePosixPath(above).parent), above])
    uid, gid = owner
    runner.run(["install", "-d", "-o", str(uid), "-g", str(gid), "-m", "0700", work])


def carry(source: Runner, path: str, target: Runner, place: str) -> None:
    """Copy a file from one server to another, as a stream through this computer.

    Raises ServerError when it did not arrive whole.
    """
    reading = source.start(["cat", "--", path])
    writing = target.start(["sh", "-c", 'umask 077; exec cat > "$1"', "sh", place])
    for process in (reading, writing):
        assert process.stdin  # noqa: S101 - as `start` says
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
    try:
        with suppress(BrokenPipeError):
            shutil.copyfileobj(reading.stdout, writing.stdin, 1 << 20)  # type: ignore[arg-type]
        with suppress(BrokenPipeError):
            writing.stdin.close()  # type: ignore[union-attr]
        # Where nothing takes it any more, the other must not wait for somebody who does.
        reading.stdout.close()  # type: ignore[union-attr]
        for process, runner in ((writing, target), (reading, source)):
            if process.wait():
                said = process.stderr.read().decode(errors="replace").splitlines()  # type: ignore[union-attr]
                raise ServerError(runner.name, f"{path} was not copied", details=said[-5:])
    finally:
        for process in (reading, writing):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]


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
    with step(report, f"load {name}", app):
        service = database.service or name
        command = _loading(database)
        job = jobs.Job(app, service, f"load-{name}", command, folder, STORAGE, network=network)
        jobs.run(docker, job, SECONDS)


def load_files(
    docker: DockerClient,
    storage: Runner,
    app: str,
    name: str,
    database: Database,
    folder: str,
    place: Place,
    report: Report,
    what: str = "load",
) -> None:
    """Restore the dump `dump` in `folder` on the storage server into the empty folder of `place`,
    without a database that runs: what is one file is put there. `what` begins the job's name."""
    with step(report, f"load {name}", app):
        if place.holder.name != storage.name:
            _work(place.holder, app, folder, place.owner)
            carry(storage, f"{folder}/dump", place.holder, f"{folder}/dump")
            uid, gid = place.owner
            place.holder.run(["chown", f"{uid}:{gid}", f"{folder}/dump"])
        service, command = database.service or name, _loading(database)
        job = jobs.Job(
            app, service, f"{what}-{name}", command, folder, place.label, image=place.image,
            folders={place.volume: place.folder},
        )  # fmt: skip
        jobs.run(docker, job, SECONDS)


def _loading(database: Database) -> tuple[str, ...]:
    return ("sh", "-c", f'exec "$@" < {jobs.MOUNT}/dump', "sh", *database.restore)

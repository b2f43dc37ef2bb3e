"""One app's drill: its newest snapshot restored aside, looked into, started, and asked.

The data is looked at before the app itself starts: a program that finds an empty database fills it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ronron.backup import dump, owners
from ronron.backup.app import Protected, place_of
from ronron.backup.restic import Restic, Snapshot, size
from ronron.backup.restore import Choice, databases_of, held_in, require_room
from ronron.catalog.checks import Check, checks_of
from ronron.catalog.routing import WEB_SERVICE
from ronron.catalog.stack import VOLUMES, Stack
from ronron.errors import RonronError, ServerError
from ronron.events import Event, Report, step
from ronron.servers.runner import Runner
from ronron.swarm import aside, jobs
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

FOLDER = f"{VOLUMES}/.drill"
"""On the storage server: what drills restore, by app, for as long as they last."""

DATABASE_SECONDS = 300.0
SPARE_MEMORY = 256 << 20
SPARE_DISK = 1 << 30
"""What must be left for others beside a drill, in bytes."""

# Prints, as JSON, what of `query` is not in a folder: of `listed` the paths that are not there or
# empty, and whether a file that is not empty matches `pattern`. Links that lead out do not count.
_LOOK = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1]).resolve()
query = json.load(sys.stdin)
def there(path):
    try:
        real = path.resolve()
        return real.is_file() and real.stat().st_size > 0 and folder in real.parents
    except OSError:
        return False
missing = [name for name in query["listed"] if not there(folder / name.lstrip("/"))]
found = not query["pattern"] or any(map(there, folder.glob(query["pattern"])))
print(json.dumps({"missing": missing[:5], "count": len(missing), "found": found}))
"""


@dataclass
class Clock:
    """How long each phase took, in seconds, in their order."""

    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is done in the context; one that comes again is added."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


@dataclass(frozen=True)
class Place:
    """Where a drill is held: the swarm's manager, and the server that holds the data."""

    docker: DockerClient
    manager: Runner
    server: Runner
    node: str


def fits(place: Place, stack: Stack, snapshot: Snapshot) -> None:
    """Raise RonronError when the server has too little memory or disk to spare for a drill."""
    text = place.server.run(["cat", "/proc/meminfo"]).text
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) << 10
    need = aside.memory(stack) + SPARE_MEMORY
    if free < need:
        raise RonronError(
            f"{stack.app}: a drill may take {size(need)} of memory, and {place.server.name} has "
            f"{size(free)} to spare",
            remedy="give the storage server more memory, or lower the app's limits",
        )
    place.server.run(["install", "-d", "-m", "0700", FOLDER])
    need = snapshot.size * 2 + SPARE_DISK
    require_room(place.server, FOLDER, need, f"{stack.app}: a drill")


def hold(
    place: Place,
    restic: Restic,
    snapshot: Snapshot,
    app: Protected,
    stack: Stack,
    seconds: float,
    clock: Clock,
    report: Report,
) -> None:
    """Restore `snapshot` aside, and see that the app works with it and that its data is there.

    `stack` is the app's as it is deployed; it may take `seconds` to answer. Raises RonronError with
    the first thing that is wrong. Whatever happens, the caller clears away what is left.
    """

    def told(event: Event) -> None:
        report(replace(event, where=app.name))

    checks = checks_of(app.recipe.extension, {v.name: v.kind for v in app.volumes})
    _proves_something(app, checks)
    fits(place, stack, snapshot)
    work = f"{FOLDER}/{app.name}"
    with clock.phase("fetch"), step(report, "fetch", app.name):
        place.server.run(["install", "-d", "-m", "0700", work])
        restic.restore(snapshot, work)
        databases = dict(databases_of(place.server, snapshot, app, Choice(), work))
        folders = dict(_folders(place.server, snapshot, app, work))
    copy = aside.isolated(stack, folders, place.node)
    rules = app.recipe.extension.databases
    # Databases that are files of the app itself must not find it running before they are looked at.
    servers = {rule.service or name for name, rule in rules.items() if not rule.dumps_files}
    if rules:
        with clock.phase("load"), step(report, "load", app.name):
            for name, rule in rules.items():
                if rule.restores_files:
                    there = _put(place, app, name, folders)
                    dump.load_files(
                        place.docker, place.server, app.name, name, rule, databases[name], there,
                        told, what="drill",
                    )  # fmt: skip
            if servers:
                aside.start(place.docker, place.manager, copy, servers, DATABASE_SECONDS, report)
                network = aside.network_of(place.docker, app.name)
            for name, rule in rules.items():
                if not rule.restores_files:
                    dump.load(
                        place.docker, aside.name_of(app.name), name, rule, databases[name], network,
                        told,
                    )  # fmt: skip
    with clock.phase("check"), step(report, "look into the data", app.name):
        for check in checks.values():
            printed: list[str] = []
            if check.command:
                try:
                    if check.service in servers:
                        text = aside.execute(place.server, app.name, check.service, check.command)
                    else:
                        text = _beside(place, app, check, folders, work)
                except RonronError as error:
                    raise RonronError(
                        f"{app.name}: {check.about}: cannot be asked of {check.service}",
                        details=error.details,
                    ) from error
                printed = [line.strip() for line in text.splitlines() if line.strip()]
                if check.rows and not printed:
                    raise RonronError(f"{app.name}: {check.about}: nothing was found")
            if check.volume:
                look(place.server, app.name, check, folders[check.volume], printed)
    with clock.phase("start"), step(report, "start", app.name):
        aside.start(place.docker, place.manager, copy, None, seconds, report)
        _ask(place.server, app, stack, seconds)


def _folders(
    server: Runner, snapshot: Snapshot, app: Protected, work: str
) -> Iterator[tuple[str, str]]:
    """The app's volumes with their folders in `work`: as restored, or made empty."""
    held = held_in(snapshot)
    before = owners.first_id(server, snapshot, work)
    for volume in app.volumes:
        if volume.kind == "files" and volume.name in held:
            owners.settle(server, f"{work}{held[volume.name]}", before, volume.first_id)
            yield volume.name, f"{work}{held[volume.name]}"
            continue
        folder = f"{work}/made/{volume.name}"
        server.run(["install", "-d", "-m", "0711", f"{work}/made"])
        server.run(["install", "-d", *volume.ownership, "-m", volume.mode, folder])
        yield volume.name, folder


def _proves_something(app: Protected, checks: Mapping[str, Check]) -> None:
    """Refuse a drill that would pass whatever is in the backup."""
    extension = app.recipe.extension
    dumped = {rule.volume for rule in extension.databases.values()}
    bare = [v.name for v in app.volumes if v.kind == "database" and v.name not in dumped]
    if bare:
        raise RonronError(f"{app.name}: no dump is declared for {bare[0]}: it is in no backup")
    asked = {check.service for check in checks.values() if check.rows}
    for name, rule in extension.databases.items():
        if (rule.service or name) not in asked:
            raise RonronError(
                f"{app.name}: its recipe has no check that an empty {name} would fail",
                remedy="add one to x-ronron.checks: docs/recipes.md",
            )


def _put(place: Place, app: Protected, name: str, folders: Mapping[str, str]) -> dump.Place:
    """Where a database that is files is loaded: into its volume's folder aside."""
    rule = app.recipe.extension.databases[name]
    there = place_of(app, rule, dict.fromkeys(app.volumes, place.server))
    return replace(there, label=dump.STORAGE, folder=folders[rule.volume])


def _beside(
    place: Place, app: Protected, check: Check, folders: Mapping[str, str], work: str
) -> str:
    """What a check prints that looks into files: by a job like the service, which does not run."""
    rules = app.recipe.extension.databases
    name = next(n for n, rule in rules.items() if (rule.service or n) == check.service)
    there = _put(place, app, name, folders)
    uid, gid = there.owner
    place.server.run(["install", "-d", "-o", str(uid), "-g", str(gid), "-m", "0700", f"{work}/out"])
    command = ("sh", "-c", f'exec "$@" > {jobs.MOUNT}/rows', "sh", *check.command)
    job = jobs.Job(
        app.name, check.service, "check", command, f"{work}/out", dump.STORAGE, image=there.image,
        folders={there.volume: there.folder}, read_only=True,
    )  # fmt: skip
    jobs.run(place.docker, job, DATABASE_SECONDS)
    return place.server.run(["cat", f"{work}/out/rows"]).text


def look(server: Runner, app: str, check: Check, folder: str, listed: Sequence[str]) -> None:
    """Look for the files of `check` in its volume's `folder`; `listed` are those it names.

    Raises RonronError when one is missing or empty.
    """
    query = {"listed": listed, "pattern": check.file}
    argv = ["python3", "-c", _LOOK, folder]
    seen = json.loads(server.run(argv, stdin=json.dumps(query).encode()).text)
    if seen["count"]:
        others = f" and {seen['count'] - 1} others" if seen["count"] > 1 else ""
        raise RonronError(
            f"{app}: {check.about}: {seen['missing'][0]}{others} missing or empty in the volume "
            f"{check.volume}"
        )
    if not seen["found"]:
        raise RonronError(
            f"{app}: {check.about}: no file {check.file} in the volume {check.volume}"
        )


def _ask(server: Runner, app: Protected, stack: Stack, seconds: float) -> None:
    """Ask the app for the page that proves that it works."""
    web = app.recipe.extension.web
    if web is None:
        return
    last = ["nothing was tried"]
    host = stack.domain or app.name

    def look() -> bool:
        try:
            status = aside.ask(server, app.name, WEB_SERVICE, web.port, web.health, host)
        except ServerError as error:
            last[0] = error.details[-1] if error.details else error.message
            return False
        last[0] = f"HTTP status {status}"
        return status < 400

    try:
        until(look, seconds, "the app to answer", pause=1.0)
    except RonronError as error:
        raise RonronError(
            f"{app.name}: {web.health} does not answer after {seconds:.0f} s: {last[0]}"
        ) from error

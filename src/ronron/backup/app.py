"""One app as it is backed up: dumps, volumes of files, and what it takes to deploy it again."""

from __future__ import annotations

import importlib.metadata
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ronron.backup import dump
from ronron.backup.dump import Dump, Place
from ronron.backup.restic import Restic, Snapshot
from ronron.catalog.recipe import Database, Recipe
from ronron.catalog.stack import VOLUMES, Volume
from ronron.engine.build import registry_digest
from ronron.errors import RonronError
from ronron.events import Report, step
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from docker import DockerClient

BACKUPS = "/srv/ronron/backups"
"""On the storage server, by app: the newest dumps, and in `about` what describes the app."""


@dataclass(frozen=True)
class Protected:
    """A deployed app, and what belongs to it.

    `content` is that of its newest record: the stack, the app's file, the images. `vault` is its
    file in the vault, as it is: encrypted. `configs` are the contents of the stack's configs, by
    the stack's own names. `tools` maps the images that dumps run with to their names in the site's
    registry.
    """

    name: str
    recipe: Recipe
    volumes: tuple[Volume, ...]
    content: Mapping[str, Any]
    vault: bytes | None
    configs: Mapping[str, bytes] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Volume, ...]:
        """Its volumes of files that are backed up."""
        rules = self.recipe.extension.volumes
        left = {name for name, rule in rules.items() if not rule.backup}
        return tuple(v for v in self.volumes if v.kind == "files" and v.name not in left)

    @property
    def files_root(self) -> str:
        """The folder that its volumes of files are below, of the file system that has them."""
        return next((volume.root for volume in self.files), VOLUMES)

    @property
    def paths(self) -> tuple[str, ...]:
        """What a snapshot of it holds."""
        return (f"{BACKUPS}/{self.name}", *(volume.path for volume in self.files))


@dataclass(frozen=True)
class Sent:
    """A snapshot that restic made of `app`, not yet seen in the repository.

    `own` counts its files that are not in the app's volumes, None where it has none of files.
    `doubts` are what an operator should look at though the backup is whole.
    """

    app: str
    id: str
    dumps: tuple[Dump, ...]
    own: int | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backed:
    """A snapshot that the repository was seen to hold; `held` counts the files in the app's
    volumes, None where it has none of files. The rest is as in Sent."""

    snapshot: Snapshot
    dumps: tuple[Dump, ...]
    held: int | None = None
    doubts: tuple[str, ...] = ()


def place_of(app: Protected, database: Database, runners: Mapping[Volume, Runner]) -> Place:
    """Where a database's volume is, by the runners of the servers that hold the app's volumes."""
    volume = next(one for one in app.volumes if one.name == database.volume)
    return Place(
        runners[volume],
        volume.label,
        f"{app.name}_{volume.name}",
        volume.path,
        volume.owner,
        app.tools.get(database.image, ""),
    )


def back_up(
    docker: DockerClient,
    storage: Runner,
    restic: Restic,
    app: Protected,
    runners: Mapping[Volume, Runner],
    report: Report,
) -> Sent:
    """Dump the app's databases, make a snapshot of it, and see that it holds the dumps.

    Raises RonronError when a dump fails or is not whole, or a file cannot be read; a snapshot of an
    app whose dump failed is never made.
    """
    folder = f"{BACKUPS}/{app.name}"
    storage.run(["install", "-d", "-m", "0700", BACKUPS, folder])
    databases = app.recipe.extension.databases
    dumps = tuple(
        dump.make(
            docker, storage, app.name, name, rule, folder, place_of(app, rule, runners), report
        )
        for name, rule in databases.items()
    )
    with step(report, "back up", app.name):
        own = _describe(storage, folder, app, dumps, _digests(docker, app))
        made = restic.backup(app.name, app.paths)
        entries = restic.entries(made, folder) if made and dumps else ()
        there = {entry.path: entry.size for entry in entries}
        for one in dumps:
            if there.get(one.path) != one.size:
                raise RonronError(
                    f"{app.name}: the snapshot {made[:8]} does not hold the dump of "
                    f"{one.database} whole",
                    remedy="ronron backup check",
                )
    return Sent(app.name, made, dumps, own if app.files else None, tuple(_doubts(app)))


def seen(sent: Sent, listed: Sequence[Snapshot]) -> Backed:
    """What was sent, as the repository lists it. Raises RonronError when it does not."""
    for one in listed:
        if one.id == sent.id:
            held = None if sent.own is None else one.files - sent.own
            return Backed(one, sent.dumps, held, sent.doubts)
    raise RonronError(
        f"{sent.app}: restic made a snapshot, but the repository does not list it",
        remedy="ronron backup check",
    )


def _doubts(app: Protected) -> list[str]:
    databases = {rule.volume for rule in app.recipe.extension.databases.values()}
    left = [v.name for v in app.volumes if v.kind == "database" and v.name not in databases]
    return [f"{app.name}: no dump is declared for {', '.join(left)}: not backed up"] if left else []


def _digests(docker: DockerClient, app: Protected) -> dict[str, str]:
    """The digests of the images by service, of those that the site's registry tells now."""
    services = json.loads(app.content["stack"]).get("services") or {}
    images = {name: body["image"] for name, body in services.items()}
    found = {name: registry_digest(docker, image, seconds=5.0) for name, image in images.items()}
    return {name: digest for name, digest in found.items() if digest}


def _describe(
    storage: Runner,
    folder: str,
    app: Protected,
    dumps: tuple[Dump, ...],
    digests: Mapping[str, str],
) -> int:
    """Write what describes the app into the folder `about` of its backups, whole; how many files
    that folder of backups then has."""
    about = {
        "app": app.name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ronron": importlib.metadata.version("ronron"),
        "recipe": app.recipe.name,
        "recipe_digest": app.content.get("recipe_digest", ""),
        "images": app.content.get("images", {}),
        "digests": digests,
        "domain": app.content.get("domain"),
        "volumes": [
            {"name": v.name, "class": v.kind, "path": v.path, "uid": v.uid, "gid": v.gid,
             "mode": v.mode}
            for v in app.volumes
        ],
        "first_id": next((v.first_id for v in app.volumes), 0),
        "dumps": [
            {"database": d.database, "engine": d.engine, "path": d.path, "size": d.size}
            for d in dumps
        ],
    }  # fmt: skip
    files = {
        "about.json": json.dumps(about, indent=2).encode(),
        "app.json": json.dumps(app.content["app"], indent=2).encode(),
        "stack.json": app.content["stack"].encode(),
    }
    files |= {f"configs/{name}": content for name, content in app.configs.items()}
    if app.vault is not None:
        files["vault.age"] = app.vault
    if app.recipe.folder.name == app.recipe.name:
        files |= {f"recipe/{name}": data for name, data in _files(app.recipe.folder).items()}
    script = (
        'rm -rf "$1/.about" && mkdir -m 0700 "$1/.about" && tar -x -C "$1/.about" && '
        'rm -rf "$1/about" && mv "$1/.about" "$1/about" && find "$1" -type f -printf .'
    )
    return len(storage.run(["sh", "-c", script, "sh", folder], stdin=_tar(files)).text)


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()

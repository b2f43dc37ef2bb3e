"""Everything of an app in one archive of open formats, for whom it belongs to.

The snapshot is read once, as a stream, and written on as it comes: nothing of it is kept in between
but what describes the app.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import yaml

from ronron.backup.app import BACKUPS
from ronron.backup.restic import Restic, Snapshot
from ronron.catalog import portable
from ronron.catalog.recipe import Recipe
from ronron.catalog.stack import ROOTS
from ronron.errors import RonronError
from ronron.site.userns import IDS

ENDINGS = {
    "mariadb": "sql", "mysql": "sql", "postgres": "sql", "sqlite": "sqlite", "mongodb": "archive",
    "redis": "rdb",
}  # fmt: skip
"""How the file of a dump ends, by engine."""


@dataclass(frozen=True)
class Exported:
    """What an archive holds; `missing` are configs whose content the snapshot does not have."""

    snapshot: Snapshot
    volumes: tuple[str, ...]
    databases: tuple[str, ...]
    files: int
    missing: tuple[str, ...] = ()


@dataclass
class _Archive:
    """The archive in the making; `sizes` are those of the dumps in it, by path. `first_id` is who
    was 0 to the app's containers, and is 0 in it."""

    app: str
    target: tarfile.TarFile
    first_id: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    volumes: dict[str, None] = field(default_factory=dict)
    files: int = 0

    def text(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        entry = tarfile.TarInfo(f"{self.app}/{name}")
        entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
        self.target.addfile(entry, io.BytesIO(content))

    def copy(self, entry: tarfile.TarInfo, name: str, source: tarfile.TarFile) -> None:
        """Add an entry of the snapshot under another name, with its owner, mode and attributes."""
        entry.name = f"{self.app}/{name}"
        entry.uid, entry.gid = (
            number - self.first_id if self.first_id <= number < self.first_id + IDS else number
            for number in (entry.uid, entry.gid)
        )
        if entry.islnk():
            entry.linkname = f"{self.app}/volumes/{entry.linkname.split(f'{self.app}/', 1)[-1]}"
        kept = {key: v for key, v in entry.pax_headers.items() if key.startswith("SCHILY.")}
        entry.pax_headers = kept
        self.target.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        self.files += entry.isreg()


def write(
    restic: Restic,
    snapshot: Snapshot,
    output: IO[bytes],
    compression: str,
    describe: Callable[[Mapping[str, Any]], Recipe],
    secrets: Mapping[str, str] | None,
    hidden: Iterable[str],
) -> Exported:
    """Write the archive of a snapshot to `output`; `compression` is `gz` or nothing.

    `describe` tells an app's recipe from its file. `secrets` are those to include, None for none;
    `hidden` are names of the site that its Compose file shall not tell. Raises RonronError when the
    snapshot could not be read whole.
    """
    own = f"{BACKUPS}/{snapshot.app}/"
    # Wherever the volumes were when the snapshot was made.
    roots = tuple(f"{root}/{snapshot.app}/" for root in ROOTS)
    told = _told(restic, snapshot, f"{own}about/")
    about = _json(snapshot, told, "about.json")
    dumps = {made["path"]: made for made in about["dumps"]}
    mode = "w|gz" if compression == "gz" else "w|"
    with (
        restic.archive(snapshot) as stream,
        tarfile.open(fileobj=stream, mode="r|") as source,
        tarfile.open(fileobj=output, mode=mode, format=tarfile.PAX_FORMAT) as target,  # type: ignore[call-overload]
    ):
        archive = _Archive(snapshot.app, target, about.get("first_id", 0))
        recipe = describe(_json(snapshot, told, "app.json"))
        stack = _json(snapshot, told, "stack.json")
        missing = _describe(archive, snapshot, about, stack, recipe, told, secrets, hidden)
        for entry in source:
            path = "/" + entry.name.strip("/")
            if path.startswith(roots):
                name = next(path.removeprefix(root) for root in roots if path.startswith(root))
                archive.volumes[name.partition("/")[0]] = None
                archive.copy(entry, f"volumes/{name}", source)
            elif path in dumps:
                archive.sizes[path] = entry.size
                archive.copy(entry, f"databases/{_file(dumps[path])}", source)
    for path, made in dumps.items():
        if archive.sizes.get(path) != made["size"]:
            raise RonronError(
                f"{snapshot.app}: the snapshot {snapshot.short_id} does not hold the dump of "
                f"{made['database']} whole"
            )
    databases = tuple(made["database"] for made in dumps.values())
    return Exported(snapshot, tuple(archive.volumes), databases, archive.files, missing)


def _told(restic: Restic, snapshot: Snapshot, folder: str) -> dict[str, bytes]:
    """The files that describe the app, by their paths in `folder`."""
    found = {}
    with (
        restic.archive(snapshot, folder.rstrip("/")) as stream,
        tarfile.open(fileobj=stream, mode="r|") as source,
    ):
        for entry in source:
            path = "/" + entry.name.strip("/")
            file = source.extractfile(entry) if entry.isreg() else None
            if file and path.startswith(folder):
                found[path.removeprefix(folder)] = file.read()
    return found


def _json(snapshot: Snapshot, told: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(told[name])
    except (KeyError, ValueError):
        raise RonronError(
            f"{snapshot.app}: the snapshot {snapshot.short_id} does not say what is in it",
            remedy="choose another with --at",
        ) from None
    return found


def _file(made: Mapping[str, Any]) -> str:
    return f"{made['database']}.{ENDINGS.get(made['engine'], 'dump')}"


def _describe(
    archive: _Archive,
    snapshot: Snapshot,
    about: Mapping[str, Any],
    stack: Mapping[str, Any],
    recipe: Recipe,
    told: Mapping[str, bytes],
    secrets: Mapping[str, str] | None,
    hidden: Iterable[str],
) -> tuple[str, ...]:
    """Write what explains the archive; returns the configs whose content was not kept."""
    files = [one["name"] for one in about["volumes"] if one["class"] == "files"]
    plain = portable.compose(archive.app, stack, about["images"], files, hidden)
    head = f"# {recipe.extension.title}, as it was on {snapshot.time:%Y-%m-%d}: see README.md\n"
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    configs = {
        name.removeprefix("configs/"): content
        for name, content in told.items()
        if name.startswith("configs/")
    }
    missing = tuple(name for name in plain.get("configs", {}) if name not in configs)
    wanted = list(plain.get("secrets", {}))
    archive.text("README.md", _readme(about, snapshot, recipe, plain, missing, secrets).encode())
    archive.text("compose.yml", (head + text).encode())
    for name, content in configs.items():
        mode = _mode(plain, name)
        archive.text(f"configs/{name}", content, mode)
    for name in wanted:
        if secrets is not None and name in secrets:
            # The container's user reads it, whoever that is.
            archive.text(f"secrets/{name}", secrets[name].encode(), 0o444)
    return missing


def _mode(plain: Mapping[str, Any], config: str) -> int:
    """A config's mode, which Compose takes from the file."""
    for body in plain["services"].values():
        for used in body.get("configs") or ():
            if isinstance(used, Mapping) and used.get("source") == config and "mode" in used:
                return int(used["mode"])
    return 0o444


def _readme(
    about: Mapping[str, Any],
    snapshot: Snapshot,
    recipe: Recipe,
    plain: Mapping[str, Any],
    missing: Iterable[str],
    secrets: Mapping[str, str] | None,
) -> str:
    app, extension = snapshot.app, recipe.extension
    lines = [
        f"# {app}: {extension.title}",
        "",
        f"Everything of this app as it was on {snapshot.time:%Y-%m-%d at %H:%M} UTC"
        + (f", when it answered at https://{about['domain']}/." if about.get("domain") else "."),
        f"Licence: {extension.license}. From: {extension.website or 'see the images'}.",
        "",
        "| what | where |",
        "| --- | --- |",
        "| how the app is started: images, variables, limits | `compose.yml`, for Docker Compose |",
    ]
    for made in about["dumps"]:
        lines.append(
            f"| the database {made['database']}, as {made['engine']}'s own tool wrote it | "
            f"`databases/{_file(made)}` |"
        )
    for one in about["volumes"]:
        if one["class"] == "files":
            lines.append(
                f"| files, with owners ({one['uid']}:{one['gid']}) and modes | "
                f"`volumes/{one['name']}/` |"
            )
    if plain.get("configs"):
        lines.append("| files that the containers read | `configs/` |")
    if secrets is not None:
        lines.append("| passwords and keys: keep them to yourself | `secrets/` |")
    return "\n".join([*lines, "", *_start(about, recipe, plain, missing, secrets), ""])


def _start(
    about: Mapping[str, Any],
    recipe: Recipe,
    plain: Mapping[str, Any],
    missing: Iterable[str],
    secrets: Mapping[str, str] | None,
) -> list[str]:
    rules = recipe.extension.databases
    lines = [
        "## How to start it", "",
        "On a computer with Docker and its Compose plugin, as root. Unpack the archive with owners"
        " and modes: `tar --extract --same-owner --xattrs --file …`", "",
    ]  # fmt: skip
    wanted = [name for name in plain.get("secrets", {}) if name not in (secrets or {})]
    if wanted:
        lines += ["Passwords are not in this archive. New ones do for databases:", ""]
        lines += ["    mkdir -p secrets"]
        for name in wanted:
            lines.append(f"    openssl rand -hex 16 | tr -d '\\n' > secrets/{name}")
        lines += ["    chmod 444 secrets/*", ""]
    permanent = {
        name: recipe.extension.secrets[name].permanent
        for name in wanted
        if name in recipe.extension.secrets and recipe.extension.secrets[name].permanent
    }
    for name, why in permanent.items():
        lines += [f"Ask for `{name}`, a new one will not do: {why}.", ""]
    for name in missing:
        lines += [f"The content of `configs/{name}` was not kept in this snapshot.", ""]
    known = [made for made in about["dumps"] if made["database"] in rules]
    if known:
        services = dict.fromkeys(rules[m["database"]].service or m["database"] for m in known)
        lines += [f"    docker compose up --detach --wait {' '.join(services)}"]
        for made in known:
            rule = rules[made["database"]]
            service = rule.service or made["database"]
            words = shlex.join(rule.restore)
            lines.append(f"    docker compose exec -T {service} {words} < databases/{_file(made)}")
    lines += ["    docker compose up --detach", ""]
    lines.append(
        f"It answers on http://127.0.0.1:{portable.PORT}/ of that computer, for a web server with a"
        " certificate in front of it. Domain and mail relay are set in `compose.yml`."
    )
    return lines

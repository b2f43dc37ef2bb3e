"""Changing a site's files: what is not changed stays as it was written, comments included.

Each change is checked as loading would check it before a file is written, and files are written
whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ronron.errors import OperatorError, Problem, SiteError
from ronron.site import reading, yamltext
from ronron.site.files import write_atomically
from ronron.site.load import SITE_FILE, app_file, parse_app, parse_site
from ronron.site.models import App, Server, Site
from ronron.site.yamltext import Change

POOL = ("storage", "pool")
APP_SCHEMA = "# yaml-language-server: $schema=../.schema/app.json\n"


def add_servers(folder: Path, servers: Sequence[Server]) -> Site:
    """Declare `servers` in `ronron.yml` and return the site with them.

    Raises OperatorError when one is there already, SiteError when the site would not be valid.
    """
    site, text = site_with(folder, servers)
    write_atomically(folder / SITE_FILE, text.encode())
    return site


def site_with(folder: Path, servers: Sequence[Server]) -> tuple[Site, str]:
    """The site as it would be with `servers` too, and the text of its file; nothing is written.

    Raises as `add_servers`.
    """
    text = _text(folder / SITE_FILE)
    site = _site(text)
    for server in servers:
        if server.name in site.servers:
            raise OperatorError(
                f"{SITE_FILE}: servers.{server.name}: is there already",
                remedy="choose another name with --name",
            )
    text = yamltext.apply(text, [_added(server) for server in servers], SITE_FILE)
    return _site(text), text


def remove_servers(folder: Path, names: Sequence[str]) -> Site:
    """Remove the servers `names` from `ronron.yml` and return the site without them.

    Raises OperatorError when there is no such server, SiteError when the site would not be valid.
    """
    site, text = site_without(folder, names)
    write_atomically(folder / SITE_FILE, text.encode())
    return site


def site_without(folder: Path, names: Sequence[str]) -> tuple[Site, str]:
    """The site as it would be without the servers `names`, and the text of its file.

    Nothing is written. Raises as `remove_servers`.
    """
    text = _text(folder / SITE_FILE)
    site = _site(text)
    wanted = [Change(("servers", site.server(name).name), None) for name in names]
    text = yamltext.apply(text, wanted, SITE_FILE)
    return _site(text), text


def pool_with(folder: Path, disk: str, *, erase: bool) -> tuple[Site, str]:
    """The site as it would be with `disk` in its pool too, and the text of its file.

    With `erase`, what the disk holds may be erased. Nothing is written. Raises OperatorError when
    there is no pool, or the disk is in it; SiteError when the site would not be valid.
    """
    text = _text(folder / SITE_FILE)
    pool = _site(text).storage.pool
    if pool is None:
        raise OperatorError(
            f"{SITE_FILE}: storage.pool: there is none to extend",
            remedy="declare one: storage: {pool: {disks: [/dev/disk/by-id/…]}}",
        )
    if disk in pool.disks:
        raise OperatorError(
            f"{SITE_FILE}: storage.pool.disks: {disk} is there already",
            remedy="ronron apply brings it into the pool; ronron storage status shows the disks",
        )
    wanted = [Change((*POOL, "disks"), [*pool.disks, disk])]
    if erase:
        wanted.append(Change((*POOL, "erase"), [*pool.erase, disk]))
    text = yamltext.apply(text, wanted, SITE_FILE)
    return _site(text), text


def extend_pool(folder: Path, disk: str, *, erase: bool) -> Site:
    """Add `disk` to the pool in `ronron.yml`. Returns and raises as `pool_with`."""
    site, text = pool_with(folder, disk, erase=erase)
    write_atomically(folder / SITE_FILE, text.encode())
    return site


def forget_erased(folder: Path, disk: str) -> None:
    """Take `disk` out of those that may be erased. Raises SiteError when the file is not valid."""
    text = _text(folder / SITE_FILE)
    pool = _site(text).storage.pool
    left = [name for name in pool.erase if name != disk] if pool else []
    text = yamltext.apply(text, [Change((*POOL, "erase"), left or None)], SITE_FILE)
    write_atomically(folder / SITE_FILE, text.encode())


def write_app(folder: Path, app: App) -> Path:
    """Write `apps/NAME.yml`, or change it where it differs from `app`; returns its path.

    Raises SiteError when the file that is there is not valid, or `app` could not be loaded.
    """
    file = app_file(app.name)
    path = folder / file
    if path.exists():
        text = _text(path)
        before = _app(app.name, reading.parse(text, file))
        text = yamltext.apply(text, list(yamltext.changes(_dump(before), _dump(app))), file)
    else:
        text = APP_SCHEMA + yamltext.block(_dump(app), levels=3)
    if _app(app.name, reading.parse(text, file)) != app:
        raise OperatorError(f"{file}: cannot be changed by ronron", remedy="change it by hand")
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, text.encode())
    return path


def remove_app(folder: Path, name: str) -> None:
    """Remove `apps/NAME.yml`, and what `deploy` copied to `stacks/` for it; the vault stays.

    Raises OperatorError when there is none.
    """
    try:
        (folder / app_file(name)).unlink()
    except FileNotFoundError as error:
        raise OperatorError(f"{app_file(name)}: is not there", remedy="see ronron list") from error
    (folder / "stacks" / f"{name}.yml").unlink(missing_ok=True)
    shutil.rmtree(folder / "stacks" / name, ignore_errors=True)


def _added(server: Server) -> Change:
    return Change(("servers", server.name), _dump(server) or {"address": server.address})


def _dump(model: App | Server) -> dict[str, Any]:
    """What a file says of `model`: what is not the default, in the order of the model's keys."""
    return model.model_dump(exclude={"name"}, exclude_defaults=True)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: cannot be read: {error}") from error


def _site(text: str) -> Site:
    """The site in the text of a `ronron.yml`. Raises SiteError."""
    found: list[Problem] = []
    site = parse_site(reading.parse(text, SITE_FILE), found)
    if site is None or found:
        raise SiteError(found)
    return site


def _app(name: str, data: dict[str, Any] | Problem) -> App:
    """The app `name` in what its file holds. Raises SiteError."""
    found: list[Problem] = []
    app = parse_app(name, data, found)
    if app is None or found:
        raise SiteError(found)
    return app

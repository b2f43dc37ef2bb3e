"""The recovery sheet: one page to print, for the day on which everything else is lost."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ronron.backup.repository import PASSWORD, Repository
from ronron.site.keys import Recipient
from ronron.site.models import Site

WIDTH = 16
_LOGIN = {
    "local": "none: a folder of the storage server, LOST WITH THAT SERVER",
    "sftp": "SSH with the private key sftp_key",
    "rest": "HTTP with rest_user and rest_password, if the server asks",
    "s3": "S3 with s3_key and s3_secret",
    "rclone": "as the file rclone_config says",
}


@dataclass(frozen=True)
class Known:
    """What the sheet is made of. `remotes` are the site's git remotes, by name; `apps` as declared.

    `secrets` are values to print, by their names; none is printed otherwise.
    """

    site: Site
    apps: Sequence[str]
    repository: Repository
    recipients: Sequence[Recipient]
    remotes: Mapping[str, str]
    secrets: Mapping[str, str]
    today: date


def text(known: Known) -> str:
    """The page, in lines of at most 78 characters where the site's own words allow it."""
    site, repository = known.site, known.repository
    version = importlib.metadata.version("ronron")
    parts = [
        f"RECOVERY SHEET OF {site.name.upper()}",
        f"made {known.today}, ronron {version}, Python {platform.python_version()}",
        "",
        *_section("The site", _site(known)),
        *_section("Backups", _backups(known)),
        *_section("Keys", _keys(known)),
        *_section(
            "Servers",
            ((s.name, f"{s.address}: {', '.join(s.roles)}") for s in site.servers.values()),
        ),
        "What to do",
        "----------",
    ]
    steps = _steps(known, version)
    number = 0
    for line in steps:
        number += not line.startswith(" ")
        parts.append(line if line.startswith(" ") else f"{number}. {line}")
    parts += ["", "Try it before you need it: ronron drill restores the newest backups aside."]
    if repository.kind == "local":
        parts += ["", "THE REPOSITORY IS ON ONE OF THE SERVERS: choose another place for it."]
    return "\n".join(parts) + "\n"


def _section(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"{name:<{WIDTH}}{value}" for name, value in rows]
    return [title, "-" * len(title), *lines, ""]


def _site(known: Known) -> Iterable[tuple[str, str]]:
    yield "name", f"{known.site.name}, apps below {known.site.domain}"
    yield "apps", ", ".join(known.apps) or "none"
    for name, url in known.remotes.items():
        yield f"git {name}", url
    if not known.remotes:
        yield "git", "NO REMOTE: the site's folder is on one computer alone"


def _backups(known: Known) -> Iterable[tuple[str, str]]:
    repository = known.repository
    yield "repository", repository.location
    yield "program", "restic, 0.17 or newer"
    yield "login", _LOGIN[repository.kind]
    names = [PASSWORD, *(name for name in repository.secrets if name != PASSWORD)]
    for name in names:
        value = known.secrets.get(name, "in the vault: vault/backup.age")
        lines = value.strip().splitlines() or [""]
        yield name, lines[0]
        yield from (("", line) for line in lines[1:])


def _keys(known: Known) -> Iterable[tuple[str, str]]:
    recovery = [one for one in known.recipients if one.recovery]
    for one in recovery:
        yield "recovery key", f"its public half is {one.key}"
        yield "", "the key itself, AGE-SECRET-KEY-1…, is kept at: ____________________"
    if not recovery:
        yield "recovery key", "THERE IS NONE: run ronron secrets init"
    for one in known.recipients:
        if not one.recovery:
            yield "also opened by", one.comment or one.key


def _steps(known: Known, version: str) -> Iterable[str]:
    url = next(iter(known.remotes.values()), "REMOTE")
    yield f"On any computer with Python 3.11 or newer, install ronron {version}."
    yield f"git clone {url} {known.site.name} && cd {known.site.name}"
    yield "ronron secrets init --recover      (type the recovery key)"
    yield "Get as many servers as above: Debian 13, your SSH key, the same names. Write their"
    yield "   addresses into ronron.yml; have the DNS names point to them."
    addresses = " ".join(server.address for server in known.site.servers.values())
    yield f"ronron server add {addresses}      (pins their new host keys)"
    yield "ronron backups      (does the repository answer?)"
    yield "ronron rebuild"
    yield "ronron status"

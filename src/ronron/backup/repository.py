"""A site's restic repository: where it is, and what it takes to reach it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ronron.backup.sealed import FOLDER, Order
from ronron.errors import OperatorError
from ronron.site.secret import Secret
from ronron.site.vault import Secrets

if TYPE_CHECKING:
    from ronron.site.backup import Backup

VAULT_NAME = "backup"
"""The vault's file with the repository's password and what it takes to log in."""

PASSWORD = "password"  # noqa: S105 - its name
CACHE = "/var/cache/ronron/restic"

LOGINS: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "sftp": ("sftp_key",),
    "rest": (),
    "s3": ("s3_key", "s3_secret"),
    "rclone": ("rclone_config",),
}
"""By kind of repository: the secrets without which nobody gets in."""


@dataclass(frozen=True)
class Repository:
    """Where snapshots are kept. `secrets` are those of the vault's file `backup`.

    `ca` is the PEM text of a private CA; `known_hosts` are the site's pinned host keys.
    """

    location: str
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ca: str = ""
    known_hosts: str = ""

    @property
    def kind(self) -> str:
        """local, sftp, rest, s3 or rclone."""
        return "local" if self.location.startswith("/") else self.location.partition(":")[0]

    @property
    def host(self) -> str | None:
        """The host of a repository that is reached by SSH."""
        if self.kind != "sftp":
            return None
        return self.location.removeprefix("sftp:").partition(":")[0].rpartition("@")[2]

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the secrets that are needed and not in the vault."""
        return tuple(name for name in (PASSWORD, *LOGINS[self.kind]) if name not in self.secrets)

    def order(self, *arguments: str) -> Order:
        """How restic is run with `arguments` on this repository.

        Raises OperatorError that says which secret is missing, and how to set it.
        """
        if self.missing:
            name = self.missing[0]
            what = "ronron backup init" if name == PASSWORD else f"ronron secrets set backup {name}"
            raise OperatorError(f"vault/backup.age: has no {name}", remedy=what)
        known = {name: value.reveal() for name, value in self.secrets.items()}
        files = {"password": known[PASSWORD], "repository": self._url(known)}
        environment = {
            "RESTIC_PASSWORD_FILE": f"{FOLDER}/password",
            "RESTIC_REPOSITORY_FILE": f"{FOLDER}/repository",
            "RESTIC_CACHE_DIR": CACHE,
            "RESTIC_PROGRESS_FPS": "1",
        }
        argv = ["restic"]
        if self.ca:
            files["ca"] = self.ca
            argv += ["--cacert", f"{FOLDER}/ca"]
        if self.kind == "s3":
            environment |= {
                "AWS_ACCESS_KEY_ID": known["s3_key"],
                "AWS_SECRET_ACCESS_KEY": known["s3_secret"],
            }
        if self.kind == "rclone":
            files["rclone"] = known["rclone_config"]
            environment["RCLONE_CONFIG"] = f"{FOLDER}/rclone"
        if self.kind == "sftp":
            files |= {"key": _with_newline(known["sftp_key"]), "known_hosts": self.known_hosts}
            argv += ["-o", f"sftp.args={shlex.join(_SSH)}"]
        return Order((*argv, *arguments), environment, files)

    def _url(self, known: Mapping[str, str]) -> str:
        if self.kind != "rest" or "rest_user" not in known:
            return self.location
        url = urlsplit(self.location.removeprefix("rest:"))
        login = (
            f"{quote(known['rest_user'], safe='')}:{quote(known.get('rest_password', ''), safe='')}"
        )
        return "rest:" + url._replace(netloc=f"{login}@{url.netloc}").geturl()


_SSH = (
    *("-i", f"{FOLDER}/key", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
    *("-o", f"UserKnownHostsFile={FOLDER}/known_hosts", "-o", "StrictHostKeyChecking=yes"),
    *("-o", "GlobalKnownHostsFile=none", "-o", "ServerAliveInterval=30"),
)


def _with_newline(key: str) -> str:
    """OpenSSH refuses a private key's file without its last newline."""
    return key if key.endswith("\n") else key + "\n"


def repository_of(settings: Backup | None, secrets: Secrets, folder: Path) -> Repository:
    """The repository that the site in `folder` declares. Raises OperatorError without one."""
    if settings is None:
        raise OperatorError(
            "ronron.yml: backup: is missing",
            remedy="say where backups go, such as backup: {repository: /mnt/backup}",
        )
    known_hosts = folder / "known_hosts"
    return Repository(
        settings.repository,
        secrets.values,
        ca=(folder / settings.ca).read_text(encoding="utf-8") if settings.ca else "",
        known_hosts=known_hosts.read_text(encoding="utf-8") if known_hosts.exists() else "",
    )

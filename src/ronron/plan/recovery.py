"""What the recovery sheet says of a site: from its own files alone, no server is asked."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ronron.backup.repository import VAULT_NAME, repository_of
from ronron.backup.sheet import Known
from ronron.site.keys import recipients
from ronron.site.load import LoadedSite
from ronron.site.vault import Secrets, Vault, identity_path


def known(loaded: LoadedSite, *, with_secrets: bool) -> Known:
    """What the sheet is made of.

    Raises OperatorError without a repository, or a key that opens its file of the vault.
    """
    vault = Vault(loaded.folder, identity_path(loaded.site.name))
    secrets = vault.read(VAULT_NAME) if vault.exists(VAULT_NAME) else Secrets()
    values = {name: value.reveal() for name, value in secrets.values.items()}
    return Known(
        loaded.site,
        tuple(loaded.apps),
        repository_of(loaded.site.backup, secrets, loaded.folder),
        recipients(vault),
        remotes(loaded.folder),
        values if with_secrets else {},
        datetime.now(UTC).date(),
    )


def remotes(folder: Path) -> Mapping[str, str]:
    """The git remotes of the site's folder, by name, without logins; none where there is no git."""
    argv = ["git", "-C", str(folder), "config", "--get-regexp", r"^remote\..*\.url$"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return {}
    pairs = (line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return {
        key.removeprefix("remote.").removesuffix(".url"): re.sub(r"(://)[^/@]*@", r"\1", url)
        for key, url in pairs
    }

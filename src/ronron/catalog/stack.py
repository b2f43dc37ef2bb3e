"""What an app is once it is rendered: its stack, and what must be there before that.

And the names that all apps share: the site's registry, and the folders of volumes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ronron.catalog.interpolate import escape
from ronron.digest import short_digest

REGISTRY = "registry.ronron.internal:5000"
"""The site's registry, by the name that provisioning writes to every server's hosts file."""

VOLUMES = "/srv/ronron/volumes"
"""The folder of the volumes on a server's own disk, and of none but these."""

SHARED = "/srv/ronron/shared"
"""Where every server has the volumes of files, when they are shared: a mount."""

ROOTS = (VOLUMES, SHARED)
"""Where volumes are, or were: a snapshot may be older than `storage.shared`."""

PLATFORM = ("socket-proxy", "registry", "proxy")
"""The platform's own apps, in the order in which they start."""


@dataclass(frozen=True)
class Image:
    """An image that a service runs: its name upstream, and in the site's registry.

    Without a service it is what a database's commands run with.
    `folder` holds the Dockerfile that builds it where no registry answers; None if none does.
    """

    service: str
    upstream: str
    reference: str
    folder: Path | None


@dataclass(frozen=True)
class Config:
    """A Docker config's content; `template` names the driver by which Swarm fills it in, if any."""

    content: bytes
    template: str = ""


@dataclass(frozen=True)
class Volume:
    """The folder of a volume on its server: numeric owner, octal mode, class.

    `uid` and `gid` are as containers know them, `first_id` is the server's own for their 0.
    """

    app: str
    name: str
    kind: str
    uid: int
    gid: int
    mode: str
    services: tuple[str, ...]
    shared: bool = False
    quota: int = 0
    """How large it may get, in bytes; 0 for no limit."""
    first_id: int = 0

    @property
    def owner(self) -> tuple[int, int]:
        """The numeric user and group that the folder has on the server."""
        return self.first_id + self.uid, self.first_id + self.gid

    @property
    def ownership(self) -> tuple[str, ...]:
        """The options by which `install` gives that owner."""
        uid, gid = self.owner
        return "-o", str(uid), "-g", str(gid)

    @property
    def root(self) -> str:
        """The folder of all volumes on the same file system: what takes a volume's place, and what
        was in its place, are kept below it too, so that they can be renamed."""
        return SHARED if self.shared else VOLUMES

    @property
    def path(self) -> str:
        """The folder's path on the server."""
        return f"{self.root}/{self.app}/{self.name}"

    @property
    def label(self) -> str:
        """The label of the node that holds the volume; of a shared one, that makes its folder."""
        if self.app in PLATFORM:
            return "ronron.proxy"
        if self.kind == "files":
            return "ronron.storage"
        return f"ronron.volume.{self.app}.{self.name}"

    @property
    def fence(self) -> str:
        """The label of a node whose copy of the volume is out of date: no task may use it."""
        return f"ronron.fenced.{self.app}.{self.name}"


@dataclass(frozen=True)
class Stack:
    """An app rendered: `compose` for `docker stack deploy`, and what must be there before.

    `configs` are by the names that they have in Docker; `secrets` maps the stack's own names
    of secrets to the names of Docker secrets. `refusals` are the HTTP statuses by which the proxy
    keeps a stranger out: whoever asks gets no other answer.
    """

    app: str
    recipe: str
    recipe_digest: str
    domain: str | None
    health: str
    compose: Mapping[str, Any]
    configs: Mapping[str, Config]
    secrets: Mapping[str, str]
    images: tuple[Image, ...]
    volumes: tuple[Volume, ...]
    refusals: tuple[int, ...] = ()

    @cached_property
    def text(self) -> str:
        """The stack as `docker stack deploy` reads it (JSON is YAML), in canonical form."""
        text = _canonical(self.compose)
        return _canonical(escape(self.compose)) if "$" in text else text

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that change with anything in the stack."""
        return short_digest(self.text.encode())


def _canonical(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))

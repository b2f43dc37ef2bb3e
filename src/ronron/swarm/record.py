"""What was last deployed, kept in the swarm itself as Docker configs, newest revision last.

A record holds the stack as handed to `docker stack deploy` and the service specifications that
the swarm made of it. Comparing the first with a new rendering shows what would change; comparing
the second with the swarm's services shows drift. Two digests in its labels make the usual case,
nothing to do, cheap.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ronron.swarm import spec

KEPT = 5
"""How many revisions of an app are kept to roll back to."""


@dataclass(frozen=True)
class Record:
    """One revision of an app. `data` is compressed JSON; the digests are those of its parts."""

    app: str
    revision: int
    stack_digest: str
    specs_digest: str
    data: bytes
    id: str = ""

    @property
    def name(self) -> str:
        """The Docker config's name."""
        return f"ronron.{self.app}.{self.revision}"

    @property
    def labels(self) -> dict[str, str]:
        """The Docker config's labels."""
        return {
            "ronron.app": self.app,
            "ronron.revision": str(self.revision),
            "ronron.stack": self.stack_digest,
            "ronron.specs": self.specs_digest,
        }

    @property
    def content(self) -> dict[str, Any]:
        """`stack` (Compose text), `specs` (canonical, by service), `app`, `recipe`, `by`, `at`…"""
        content: dict[str, Any] = json.loads(zlib.decompress(self.data))
        return content


def make(
    app: str,
    revision: int,
    *,
    stack: str,
    stack_digest: str,
    specs: Mapping[str, str],
    about: Mapping[str, Any],
) -> Record:
    """A record of `stack` (Compose text) and the canonical `specs` by service; `about` is kept."""
    content = {**about, "stack": stack, "specs": dict(specs)}
    data = zlib.compress(json.dumps(content, sort_keys=True).encode())
    return Record(app, revision, stack_digest, spec.digest(specs), data)


def parse(config: Mapping[str, Any]) -> Record | None:
    """Read a record from a config as the Engine API lists it; None when it is not a record."""
    details = config["Spec"]
    labels = details.get("Labels") or {}
    if "ronron.revision" not in labels:
        return None
    return Record(
        labels["ronron.app"],
        int(labels["ronron.revision"]),
        labels["ronron.stack"],
        labels["ronron.specs"],
        base64.b64decode(details["Data"]),
        config["ID"],
    )

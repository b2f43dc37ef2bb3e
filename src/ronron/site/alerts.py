"""`alerts` in `ronron.yml`: from when on something is wrong, and who is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from ronron.site import values
from ronron.site.fields import Key, Model

Percent = Annotated[int, Field(ge=1, le=100)]

KINDS = ("cpu", "memory", "disk")
"""What has a threshold."""


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
        raise values.fault("is no URL", "such as https://ntfy.example.org/topic")
    return value


Url = Annotated[str, AfterValidator(_url)]


class Thresholds(Model):
    """Per cent that one server may use, where it differs from the others."""

    cpu: Percent | None = Field(default=None, description="Of its processors.")
    memory: Percent | None = Field(default=None, description="Of its memory.")
    disk: Percent | None = Field(default=None, description="Of each of its disks.")


class Matrix(Model):
    """A Matrix room that gets alerts; the account's token is the secret `matrix_token`."""

    homeserver: Url = Field(description="URL of the account's home server.")
    room: str = Field(
        pattern=r"^![^\s:]+(:\S+)?$", description="The room's internal id: `!abc:example.org`."
    )


class Alerts(Model):
    """From when on something is wrong, and who is told. The recipe `monitoring` acts on it."""

    cpu: Percent = Field(default=95, description="Per cent of a server's processors.")
    memory: Percent = Field(default=95, description="Per cent of a server's memory.")
    disk: Percent = Field(default=95, description="Per cent of a disk, and of its inodes.")
    servers: dict[Key, Thresholds] = Field(
        default={}, description="By server: thresholds that differ."
    )
    email: Annotated[
        tuple[Annotated[str, AfterValidator(values.email)], ...], Field(strict=False)
    ] = Field(default=(), description="E-mail addresses; sent by the relay in `mail`.")
    matrix: Matrix | None = Field(default=None, description="A Matrix room.")
    ntfy: Url | None = Field(default=None, description="URL of an ntfy topic.")

    @field_validator("servers", mode="before")
    @classmethod
    def _empty(cls, servers: Any) -> Any:  # noqa: ANN401
        if not isinstance(servers, Mapping):
            return servers
        return {name: value or {} for name, value in servers.items()}

    def threshold(self, server: str, kind: str) -> int:
        """The per cent of `kind` (one of KINDS) above which `server` is in trouble."""
        own = getattr(self.servers.get(server), kind, None)
        common: int = getattr(self, kind)
        return common if own is None else int(own)

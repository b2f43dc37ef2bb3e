"""A server's Docker engine, reached through its runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ronron.engine.client import connect
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from docker import DockerClient

DOCKER_SOCKET = "/var/run/docker.sock"


@contextmanager
def engine_of(runner: Runner) -> Iterator[DockerClient]:
    """Open the engine of the machine behind `runner`; errors as of `engine.client.connect`."""
    with runner.socket(DOCKER_SOCKET) as socket, connect(socket, f"on {runner.name}") as engine:
        yield engine


def networks(engine: DockerClient, name: str) -> list[Mapping[str, Any]]:
    """The networks of that very name: Docker's own filter finds those that contain it too."""
    return [one for one in engine.api.networks(names=[name]) if one["Name"] == name]

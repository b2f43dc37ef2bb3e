"""The sockets of container engines: who reaches one commands every server of the swarm."""

from __future__ import annotations

import posixpath

from ronron.site.userns import SOCKET

_NAMES = ("docker.sock", "podman.sock", "containerd.sock")
_ABOVE = (
    "/", "/var", "/run", "/var/run", "/var/lib", "/var/lib/docker", "/run/docker",
    posixpath.dirname(SOCKET),
)  # fmt: skip


def is_reached(path: str) -> bool:
    """Whether a container that has `path` of its server has a socket, or a folder above one."""
    path = posixpath.normpath(path)
    path = f"/{path.lstrip('/')}" if path.startswith("/") else path
    if path.startswith("/var/run/"):
        path = path.removeprefix("/var")
    return path.endswith(_NAMES) or path in _ABOVE

"""A Docker Engine, opened over its socket; its errors and the connection's become ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ronron.errors import RonronError

if TYPE_CHECKING:
    from docker import DockerClient

if not os.environ.get("DOCKER_HOST", "").startswith("ssh:"):
    # docker's own transport over SSH loads paramiko: half of the time that its import takes.
    sys.modules.setdefault("docker.transport.sshconn", None)  # type: ignore[arg-type]

_SECONDS = 120
_REMEDY = "is the Docker engine running, and may this user reach it? try: docker info"


def load() -> None:
    """Load the Docker library, while something else is waited for: it takes a fifth of a second."""
    import docker  # noqa: F401


@contextmanager
def connect(
    socket: Path | None = None, place: str = "", *, seconds: int = _SECONDS
) -> Iterator[DockerClient]:
    """Open the engine behind `socket`, or this computer's as the environment says.

    `place` is what errors call it, such as `on worker-1`; `seconds` is how long an answer may take.

    Raises RonronError when no engine answers, when the connection is lost inside the context,
    and when the engine refuses a request that the caller did not expect it to refuse.
    """
    import requests
    from docker import errors

    place = place or ("on this computer" if socket is None else f"behind {socket}")
    try:
        client = _open(socket, seconds)
    except (errors.DockerException, requests.RequestException, OSError) as error:
        raise RonronError(f"no Docker engine answers {place}", remedy=_REMEDY) from error
    try:
        yield client
    except errors.APIError as error:
        # Before RequestException, which it is as well.
        raise RonronError(f"the Docker engine {place} refused: {error.explanation}") from error
    except requests.RequestException as error:
        raise RonronError(
            f"the Docker engine {place} stopped answering", remedy=_REMEDY, details=[str(error)]
        ) from error
    except errors.DockerException as error:
        raise RonronError(f"the Docker engine {place}: {error}") from error
    finally:
        client.close()


def local_engine() -> DockerClient | None:
    """Return this computer's engine as the environment says, or None when none answers.

    The caller closes it.
    """
    import requests
    from docker import errors

    try:
        return _open(None)
    except (errors.DockerException, requests.RequestException, OSError):
        return None


def _open(socket: Path | None, seconds: int = _SECONDS) -> DockerClient:
    import docker

    if socket is None:
        client = docker.from_env(timeout=seconds)
    else:
        client = docker.DockerClient(base_url=f"unix://{socket}", timeout=seconds)
    try:
        client.ping()
    except BaseException:
        client.close()
        raise
    return client

"""Limits to the size of volumes: set by the file system, where it can."""

from __future__ import annotations

from importlib import resources

from ronron.catalog.stack import Volume
from ronron.errors import OperatorError
from ronron.servers.process import last_lines
from ronron.servers.runner import Runner


def program() -> str:
    """The functions that read limits on a server; run with PATH and BYTES it sets one."""
    return resources.files("ronron.swarm").joinpath("quota_program.py").read_text()


def functions() -> str:
    """The same, as a part of a program that begins otherwise."""
    return program().replace("from __future__ import annotations\n", "", 1)


def set_limit(runner: Runner, volume: Volume) -> None:
    """Give a volume's folder the limit that is declared for it.

    Raises OperatorError with the reason where the file system cannot, or it holds more already.
    """
    words = ["python3", "-", volume.path, str(volume.quota)]
    done = runner.run(words, stdin=program().encode(), check=False)
    if done.status:
        reason = " ".join(last_lines(done.stderr)[-1:])
        raise OperatorError(
            f"apps/{volume.app}.yml: volumes.{volume.name}.quota: cannot be set on {runner.name}: "
            f"{reason}",
            remedy="remove it, or see docs/storage.md for what it takes",
        )

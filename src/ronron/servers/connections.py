"""The site's servers, each with one connection, opened when it is needed and closed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ronron.errors import OperatorError, ServerError
from ronron.servers.ssh import Reached, SshRunner

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite

KEY_VARIABLE = "RONRON_SSH_KEY"
"""Environment variable that names the private key's file."""

Result = TypeVar("Result")


class Connections(Mapping[str, SshRunner]):
    """The runner of every server of a site, by name."""

    def __init__(self, runners: Mapping[str, SshRunner]) -> None:
        self._runners = dict(runners)

    def __getitem__(self, name: str) -> SshRunner:
        return self._runners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runners)

    def __len__(self) -> int:
        return len(self._runners)

    def open(self, names: Iterable[str] | None = None) -> dict[str, ServerError]:
        """Connect to all servers, or to those named, at once; returns who failed and why."""
        _, failures = self.on_each(lambda runner: runner.open(), names)
        return failures

    def on_each(
        self, work: Callable[[SshRunner], Result], names: Iterable[str] | None = None
    ) -> tuple[dict[str, Result], dict[str, ServerError]]:
        """Do `work` on all servers, or on those named, at once.

        Returns the results and the failures, each by server name: one server that fails hides no
        other. Anything raised but ServerError is a bug, and raised here.
        """
        wanted = list(self if names is None else names)
        results: dict[str, Result] = {}
        failures: dict[str, ServerError] = {}
        with ThreadPoolExecutor(max(1, min(32, len(wanted)))) as threads:
            started = {name: threads.submit(work, self[name]) for name in wanted}
        for name, future in started.items():
            try:
                results[name] = future.result()
            except ServerError as error:
                failures[name] = error
        return results, failures


@contextmanager
def connections(loaded: LoadedSite) -> Iterator[Connections]:
    """Runners for all servers of the site; connections are closed when the context ends."""
    site = loaded.site
    with connections_to(
        site.servers.values(), loaded.known_hosts, resolver=site.resolver, key=key_file(loaded)
    ) as opened:
        yield opened


@contextmanager
def connecting(loaded: LoadedSite) -> Iterator[Connections]:
    """As `connections`; the managers are connected to at once, while the caller does other things.

    That one is not reached is told by the first command for it.
    """
    managers = [server.name for server in loaded.site.managers]
    with connections(loaded) as opened, ThreadPoolExecutor(1) as threads:
        threads.submit(opened.open, managers)
        yield opened


@contextmanager
def connections_to(
    servers: Iterable[Reached],
    known_hosts: Path,
    *,
    resolver: str | None = None,
    key: Path | None = None,
) -> Iterator[Connections]:
    """Runners for `servers`, which need not be in a site yet; closed when the context ends."""
    control = Path(tempfile.mkdtemp(prefix="ronron-"))
    opened = Connections(
        {
            server.name: SshRunner(server, known_hosts, control, resolver=resolver, key=key)
            for server in servers
        }
    )
    try:
        yield opened
    finally:
        with contextlib.suppress(OSError):
            opened.on_each(lambda runner: runner.close())
        shutil.rmtree(control, ignore_errors=True)


def key_file(loaded: LoadedSite) -> Path | None:
    """The private key to log in with: of RONRON_SSH_KEY, or the site's; None for ssh's own way.

    Raises OperatorError when there is no such file.
    """
    named = os.environ.get(KEY_VARIABLE) or loaded.site.ssh.key
    if not named:
        return None
    key = loaded.folder / Path(named).expanduser()
    if not key.is_file():
        raise OperatorError(
            f"{key}: there is no such SSH key", remedy=f"correct ssh.key or {KEY_VARIABLE}"
        )
    return key

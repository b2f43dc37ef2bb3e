"""Steps as pyinfra operations, and the facts of a server as one pyinfra fact."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from importlib import resources
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import add_op, operation
from pyinfra.api.state import State
from pyinfra.operations import apt

from ronron.servers.facts import Facts, parse, program
from ronron.servers.provision.model import (
    Action,
    FetchKey,
    Install,
    MakeFolder,
    Run,
    RunService,
    SetHostName,
    StopService,
    WriteFile,
)
from ronron.servers.ssh import WRITE_WHOLE

Commands = Generator[StringCommand, None, None]

LOCK_SECONDS = 300
"""How long to wait for another apt, such as the daily upgrade, to end."""


class ServerFacts(FactBase[Facts | None]):
    """All that provisioning needs to know of a server, in one round trip."""

    def command(self, query: str) -> StringCommand:
        """`query` is a Query's JSON."""
        return StringCommand(shlex.join(("python3", "-c", program(), query)))

    def process(self, output: list[str]) -> Facts:
        """Read what the program printed."""
        return parse("\n".join(output))


@operation()
def host_name(value: str) -> Commands:
    """Set the host name now and for later starts (`name` would be the operation's title)."""
    yield StringCommand(shlex.join(("hostname", value)))
    yield _write("/etc/hostname", f"{value}\n", 0o644)


@operation()
def write(path: str, content: str, mode: int) -> Commands:
    """Write a file of root's, whole, with its mode; the content goes over standard input."""
    yield _write(path, content, mode)


@operation()
def key(url: str, path: str, fingerprint: str) -> Commands:
    """Fetch an OpenPGP key that has this fingerprint."""
    script = resources.files("ronron.servers.provision").joinpath("fetch_key.py").read_text()
    yield StringCommand(shlex.join(("python3", "-", url, path, fingerprint)), _stdin=script)


@operation()
def run(commands: tuple[tuple[str, ...], ...], stdin: str = "") -> Commands:
    """Run commands one after the other."""
    for command in commands:
        yield StringCommand(shlex.join(command), _stdin=stdin)


def add(state: State, host: Host, action: Action, *, reload: bool = True) -> None:
    """Add the operation that carries out `action` on `host` to what `state` will run.

    With `reload` systemd reads its units anew before it starts one.
    """
    function, arguments = _operation(action, reload)
    add_op(state, function, host=host, **arguments)


def _operation(action: Action, reload: bool) -> tuple[Any, dict[str, Any]]:
    match action:
        case SetHostName(name):
            return host_name, {"value": name}
        case MakeFolder(path, mode):
            return run, {"commands": (("sh", "-ec", FOLDER, "sh", f"{mode:o}", path),)}
        case WriteFile(path, content, mode):
            return write, {"path": path, "content": content, "mode": mode}
        case FetchKey(url, path, fingerprint):
            return key, {"url": url, "path": path, "fingerprint": fingerprint}
        case Install(packages):
            return apt.packages, {
                "packages": list(packages),
                "update": True,
                "no_recommends": True,
                "extra_install_args": f"-o DPkg::Lock::Timeout={LOCK_SECONDS}",
                "_retries": 3,
                "_retry_delay": 10,
            }
        case RunService(service, restart):
            return run, {"commands": (_started(service, restart, reload),)}
        case StopService(service):
            return run, {"commands": (("systemctl", "--quiet", "disable", "--now", service),)}
        case Run(_, commands, stdin):
            return run, {"commands": commands, "stdin": stdin}


FOLDER = 'mkdir -p -m "$1" "$2"; chown root:root "$2"; chmod "$1" "$2"'
START = """
systemctl() { command systemctl --quiet "$@"; }
[ -z "$3" ] || systemctl daemon-reload
systemctl is-enabled "$1" || systemctl enable "$1"
systemctl "$2" "$1"
"""


def _started(service: str, restart: bool, reload: bool) -> tuple[str, ...]:
    """Enable a service, and start it or start it again, in one round trip."""
    how = "restart" if restart else "start"
    return ("sh", "-ec", START, "sh", service, how, "reload" if reload else "")


def _write(path: str, content: str, mode: int) -> StringCommand:
    words = ("sh", "-c", WRITE_WHOLE, "sh", path, f"{mode:o}", str(len(content.encode())))
    return StringCommand(shlex.join(words), _stdin=content)

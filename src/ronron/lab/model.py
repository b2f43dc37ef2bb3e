"""What a lab is: its servers, its name server, its certificate authority and its keys."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ronron.errors import OperatorError
from ronron.servers.hostkeys import HostKey

LABEL = "ronron.lab"
"""Label of everything that belongs to a lab; its value is the lab's name."""

SERVER_LABEL = "ronron.lab.server"
"""Label of a server's container; its value is the server's name."""

MOST_SERVERS = 5
_NAME = re.compile(r"[a-z](-?[a-z0-9])*")


@dataclass(frozen=True)
class LabServer:
    """One disposable server. `host_key` is None until it has started once."""

    name: str
    address: str
    container: str
    ip: str
    running: bool
    host_key: HostKey | None
    user: str = "root"
    port: int = 22


@dataclass(frozen=True)
class Lab:
    """A lab as it is now. `resolver` is the address of its name server.

    `acme_ca_pem` signed the HTTPS certificate of the ACME directory itself; `acme_root_pem` is
    the root of the certificates that it issues, another one after each start of the lab. Both
    are empty while the lab is stopped.

    `http_port` and `https_port` of 127.0.0.1 lead to ports 80 and 443 of the manager.

    `encrypted_networks` is whether the kernel can carry encrypted overlay networks: where it
    cannot, Docker accepts them, and no packet arrives.
    """

    name: str
    servers: tuple[LabServer, ...]
    running: bool
    resolver: str
    acme_ca_pem: str
    acme_root_pem: str
    http_port: int
    https_port: int
    ssh_key: Path
    encrypted_networks: bool

    @property
    def domain(self) -> str:
        """The lab's domain: every name in it, but for the servers' own, is the manager's."""
        return domain(self.name)

    @property
    def network(self) -> str:
        """The name of the lab's Docker network."""
        return resource(self.name)

    @property
    def acme_directory(self) -> str:
        """The URL of the ACME directory, for whoever asks the lab's name server."""
        return f"https://acme.{self.domain}:14000/dir"

    @property
    def refused_domain(self) -> str:
        """A domain for which the lab's ACME server refuses certificates, to see what happens."""
        return f"refused.{self.domain}"

    def server(self, name: str) -> LabServer:
        """Return the server called `name`; raises OperatorError when there is none."""
        for server in self.servers:
            if server.name == name:
                return server
        names = ", ".join(server.name for server in self.servers)
        raise OperatorError(f"lab {self.name} has no server {name}", remedy=f"it has {names}")


def check_name(name: str) -> str:
    """Return `name`; raises OperatorError when a lab cannot be called so."""
    if not _NAME.fullmatch(name) or len(name) > 30:
        raise OperatorError(
            f"{name!r} cannot be the name of a lab",
            remedy="small letters, digits and single hyphens, a letter first, at most 30",
        )
    return name


def domain(name: str) -> str:
    """The domain of the lab `name`."""
    return f"{name}.localhost"


def resource(name: str, part: str = "") -> str:
    """The name in Docker of the lab's network, or of the container of one of its parts."""
    return f"ronron-lab-{name}-{part}" if part else f"ronron-lab-{name}"


def server_names(count: int) -> list[str]:
    """The names of a lab's servers, the manager first."""
    return ["manager", *(f"worker-{number}" for number in range(1, count))]


def folder(name: str) -> Path:
    """Where the lab's SSH key is kept, below the user's data folder."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "ronron" / "labs" / name

"""What provisioning is asked for, what it would change, and how. Nothing of pyinfra here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ronron.errors import ServerError


@dataclass(frozen=True)
class Change:
    """One thing that is, or would be, changed on a server; `lines` is a file's short diff."""

    server: str
    item: str
    before: str
    after: str
    why: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProvisioningPlan:
    """All changes in the order they are made, and the servers that failed with the reason."""

    changes: tuple[Change, ...] = ()
    failures: tuple[ServerError, ...] = ()


@dataclass(frozen=True)
class RegistryAccess:
    """What lets a server pull from the site's registry: PEM texts, the key never shown.

    `registry` is its HOST:PORT as images name it.
    """

    registry: str
    ca: str
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class StorageAccess:
    """What lets a server take part in the site's distributed storage: PEM texts, never shown."""

    certificate: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class LogAccess:
    """What lets a server write to the site's log store: PEM texts, the key never shown."""

    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class File:
    """A file of root's; the content of a `secret` one is shown nowhere.

    `service` is the one that is restarted when the file is newer.
    `then` is a command to run when it was written, once services run; with a `mark`, also when that
    file is older: what was interrupted is finished so.
    """

    path: str
    content: str = field(repr=False)
    mode: int = 0o644
    why: str = ""
    secret: bool = False
    service: str = ""
    then: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Part:
    """What one part of the platform wants on a server: folders (path, mode) before files, these
    before packages, services that are enabled and run, and those that are stopped. A
    kernel without one of `modules` is refused."""

    packages: tuple[str, ...] = ()
    folders: tuple[tuple[str, int], ...] = ()
    files: tuple[File, ...] = ()
    services: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def __add__(self, other: Part) -> Part:
        """Both parts, each thing once."""
        return Part(
            packages=_joined(self.packages, other.packages),
            folders=_joined(self.folders, other.folders),
            files=_joined(self.files, other.files),
            services=_joined(self.services, other.services),
            stopped=_joined(self.stopped, other.stopped),
            modules=_joined(self.modules, other.modules),
        )


_Item = TypeVar("_Item")


def _joined(one: tuple[_Item, ...], other: tuple[_Item, ...]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys((*one, *other)))


@dataclass(frozen=True)
class Pool:
    """The pool of disks that a server shall have; `uuid` is what its file system is to have.

    Disks in `erase` may be erased, whatever they hold.
    """

    disks: tuple[str, ...]
    kind: Literal["lvm", "btrfs"]
    filesystem: Literal["ext4", "xfs", "btrfs"]
    erase: tuple[str, ...]
    uuid: str


@dataclass(frozen=True)
class Declared:
    """What one server shall be.

    `hosts` has every server's names, full name first, after its address, which is empty when it
    was not found. `subnet` is the site's network, which Docker's own bridges stay clear of.
    `packages` are what its roles need beside Docker, `part` what the parts of the platform do. This
    travels to the worker on its standard input.
    """

    server: str
    manager: bool
    hosts: tuple[tuple[str, tuple[str, ...]], ...]
    subnet: str
    docker: Literal["debian", "docker"] = "debian"
    no_new_privileges: bool = True
    userns_remap: bool = False
    registry: RegistryAccess | None = None
    packages: tuple[str, ...] = ()
    part: Part = Part()
    pool: Pool | None = None


@dataclass(frozen=True)
class SetHostName:
    """Give the server its name, now and at each start."""

    name: str


@dataclass(frozen=True)
class MakeFolder:
    """Make a folder of root's with these permission bits."""

    path: str
    mode: int


@dataclass(frozen=True)
class WriteFile:
    """Write a file of root's whole. The content may be secret: it is shown nowhere."""

    path: str
    content: str = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True)
class FetchKey:
    """Fetch an OpenPGP key from `url` to `path`, and refuse it without this fingerprint."""

    url: str
    path: str
    fingerprint: str


@dataclass(frozen=True)
class Install:
    """Install packages, after reading the package lists anew."""

    packages: tuple[str, ...]


@dataclass(frozen=True)
class RunService:
    """Enable and start a systemd service; `restart` it when it runs already."""

    service: str
    restart: bool = False


@dataclass(frozen=True)
class StopService:
    """Stop a systemd service, and do not start it again."""

    service: str


@dataclass(frozen=True)
class Run:
    """Run commands as root, one after the other, until one fails; `stdin` is given to each."""

    title: str
    commands: tuple[tuple[str, ...], ...]
    stdin: str = field(default="", repr=False)


Action = SetHostName | MakeFolder | WriteFile | FetchKey | Install | RunService | StopService | Run


@dataclass(frozen=True)
class Step:
    """One action, and the changes that it makes."""

    action: Action
    changes: tuple[Change, ...]

"""Comparing: what is declared for a server, and what it is, in; the steps between them, out."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator

from ronron.servers.check import WEB_PORTS
from ronron.servers.facts import Entry, Facts, Query, Service
from ronron.servers.provision import contents, remap
from ronron.servers.provision.model import (
    Change,
    Declared,
    FetchKey,
    Install,
    MakeFolder,
    Run,
    RunService,
    SetHostName,
    Step,
    StopService,
    WriteFile,
)
from ronron.servers.storage import pool, units

BASE = "/srv/ronron"
HOSTS = "/etc/hosts"
DAEMON = "/etc/docker/daemon.json"
ROUTES = "/etc/sysctl.d/61-ronron-routes.conf"
UPGRADES = "/etc/apt/apt.conf.d/52ronron"
SOURCE = "/etc/apt/sources.list.d/docker.sources"
CLOUD = "/etc/cloud/cloud.cfg.d"
CERTIFICATES = "/etc/docker/certs.d"

TIME_DAEMONS = ("systemd-timesyncd", "chrony", "ntpsec", "openntpd", "ntp")
"""Packages that keep the time, each with a service of its name; the first if there is none."""

DEBIAN_DOCKER = ("docker.io", "docker-cli")
DOCKER_DOCKER = ("docker-ce", "docker-ce-cli", "containerd.io")
CERTIFICATE_AUTHORITIES = "ca-certificates"
UNITS = (units.MOUNT, units.DOCKER)
MOST_LINES = 30
"""A longer diff is cut."""


def query(declared: Declared) -> Query:
    """What has to be known of a server before `steps`."""
    certificates = [path for path, _, _ in _certificates(declared)]
    return Query(
        packages=(
            *DEBIAN_DOCKER,
            *DOCKER_DOCKER,
            *TIME_DAEMONS,
            "unattended-upgrades",
            "apparmor",
            CERTIFICATE_AUTHORITIES,
            *declared.packages,
            *declared.part.packages,
        ),
        services=("docker", *TIME_DAEMONS, *declared.part.services, *declared.part.stopped),
        files=(
            *(HOSTS, "/etc/hostname", DAEMON, ROUTES, UPGRADES, SOURCE, f"{CLOUD}/99-ronron.cfg"),
            *(file.path for file in declared.part.files if not file.secret),
            *UNITS,
            *(remap.RANGES if declared.userns_remap else ()),
        ),
        secrets=(
            *certificates,
            contents.DOCKER_KEY,
            *(file.path for file in declared.part.files if file.secret),
            *(file.mark for file in declared.part.files if file.mark),
        ),
        ports=WEB_PORTS if declared.manager else (),
        folders=(*(path for path, _ in _folders(declared)), CLOUD, units.WANTED),
        disks=declared.pool.disks if declared.pool else (),
        modules=(*pool.modules(declared.pool), *declared.part.modules),
    )


def steps(declared: Declared, seen: Facts) -> list[Step]:
    """Everything between `seen` and `declared`, in the order of doing; nothing when they agree.

    Files come before packages, so that a new daemon starts with its settings.
    """
    differ = _Comparison(declared, seen)
    return [
        *differ.host_name(),
        *differ.folders(),
        *differ.files(),
        *differ.packages(),
        *differ.storage(),
        *differ.services(),
        *differ.commands(),
    ]


def docker_packages(declared: Declared, seen: Facts) -> tuple[str, ...]:
    """Docker's packages for this system: Debian's come in two parts from Debian 13 on."""
    if declared.docker == "docker":
        return DOCKER_DOCKER
    apart = seen.system == "debian" and seen.version not in ("11", "12")
    return DEBIAN_DOCKER if apart else DEBIAN_DOCKER[:1]


def _folders(declared: Declared) -> list[tuple[str, int]]:
    found = [(BASE, 0o711), (f"{BASE}/volumes", 0o711), ("/etc/docker", 0o755)]
    if declared.pool:
        found.append((f"{units.DOCKER.rpartition('/')[0]}", 0o755))
    if declared.docker == "docker":
        found.append(("/etc/apt/keyrings", 0o755))
    if declared.registry:
        found.append((CERTIFICATES, 0o755))
        found.append((f"{CERTIFICATES}/{declared.registry.registry}", 0o755))
    return [*found, *declared.part.folders]


def _certificates(declared: Declared) -> list[tuple[str, str, int]]:
    """Path, content and permission bits; Docker looks for exactly these names."""
    access = declared.registry
    if access is None:
        return []
    folder = f"{CERTIFICATES}/{access.registry}"
    return [
        (f"{folder}/ca.crt", access.ca, 0o644),
        (f"{folder}/client.cert", access.certificate, 0o644),
        (f"{folder}/client.key", access.key, 0o600),
    ]


class _Comparison:
    """One server's declaration beside its facts."""

    def __init__(self, declared: Declared, seen: Facts) -> None:
        self.declared = declared
        self.seen = seen
        self.changed: set[str] = set()
        """Services whose files change."""

    def change(self, item: str, before: str, after: str, why: str = "", *lines: str) -> Change:
        return Change(self.declared.server, item, before, after, why, lines)

    def host_name(self) -> Iterator[Step]:
        name = self.declared.server
        kept = self.seen.entries.get("/etc/hostname", Entry(0)).text or ""
        if self.seen.host_name != name or kept.strip() != name:
            before = self.seen.host_name if self.seen.host_name != name else kept.strip()
            change = self.change("host name", before or "absent", name)
            yield Step(SetHostName(name), (change,))

    def folders(self) -> Iterator[Step]:
        for path, mode in _folders(self.declared):
            found = self.seen.entries.get(path)
            if found is None or found.mode != mode:
                before = f"mode {found.mode:04o}" if found else "absent"
                change = self.change(path, before, f"folder, mode {mode:04o}")
                yield Step(MakeFolder(path, mode), (change,))

    def files(self) -> Iterator[Step]:
        declared, seen = self.declared, self.seen
        current = seen.entries.get(HOSTS, Entry(0)).text or ""
        yield from self.file(
            HOSTS, contents.hosts(current, declared.hosts), why="servers are found by name"
        )
        if CLOUD in seen.entries:
            yield from self.file(f"{CLOUD}/99-ronron.cfg", contents.CLOUD_INIT)
        addresses = [address for address, _ in declared.hosts]
        settings = contents.daemon_json(
            declared.subnet,
            addresses,
            no_new_privileges=declared.no_new_privileges,
            userns_remap=declared.userns_remap,
        )
        for path in remap.RANGES if declared.userns_remap else ():
            current = seen.entries.get(path, Entry(0)).text or ""
            yield from self.file(path, remap.ranges(current), why="the users of containers")
        yield from self.routes()
        for step in self.file(DAEMON, settings):
            self.changed.add("docker")
            yield step
        yield from self.file(UPGRADES, contents.UPGRADES, why="security upgrades, without Docker")
        for path, content, mode in _certificates(declared):
            yield from self.file(path, content, mode, secret=True, why="the site's registry")
        if declared.docker == "docker":
            yield from self.docker_source()
        for one in declared.part.files:
            for step in self.file(one.path, one.content, one.mode, secret=one.secret, why=one.why):
                self.changed.add(one.service)
                yield step

    def file(
        self, path: str, content: str, mode: int = 0o644, *, secret: bool = False, why: str = ""
    ) -> Iterator[Step]:
        found = self.seen.entries.get(path)
        same = found is not None and found.sha256 == hashlib.sha256(content.encode()).hexdigest()
        if found is not None and same and found.mode == mode and found.owner == 0:
            return
        lines: tuple[str, ...] = ()
        if found is None:
            before, after = "absent", "written"
        elif same:
            before = f"mode {found.mode:04o}, owner {found.owner}"
            after = f"mode {mode:04o}, owner 0"
        else:
            before, after = "differs", "as declared"
        if found is not None and not secret and not same:
            lines = diff(found.text or "", content)
        yield Step(WriteFile(path, content, mode), (self.change(path, before, after, why, *lines),))

    def routes(self) -> Iterator[Step]:
        """In force before Docker has its IPv6 bridge."""
        cards = self.seen.advertised
        if not cards:
            return
        text = contents.router_advertisements(cards)
        written = [*self.file(ROUTES, text, why="its routes by IPv6")]
        late = [
            self.change(f"accept_ra of {card}", str(value), str(contents.ACCEPT_RA))
            for card, value in cards.items()
            if value != contents.ACCEPT_RA
        ]
        yield from written
        if written or late:
            yield Step(
                Run("take routes", ((contents.SYSCTL, ROUTES),)),
                () if written else tuple(late),
            )

    def docker_source(self) -> Iterator[Step]:
        seen = self.seen
        if CERTIFICATE_AUTHORITIES not in seen.packages:  # the key comes over HTTPS
            yield self.install(CERTIFICATE_AUTHORITIES)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(seen.machine, seen.machine)
        if contents.DOCKER_KEY not in seen.entries:
            key = FetchKey(
                f"{contents.DOCKER_SITE}/{seen.system}/gpg",
                contents.DOCKER_KEY,
                contents.DOCKER_FINGERPRINT,
            )
            yield Step(key, (self.change(contents.DOCKER_KEY, "absent", key.fingerprint),))
        yield from self.file(
            SOURCE, contents.docker_source(seen.system, seen.codename, architecture)
        )

    def packages(self) -> Iterator[Step]:
        wanted = [
            *docker_packages(self.declared, self.seen),
            "unattended-upgrades",
            *self.declared.packages,
            *self.declared.part.packages,
        ]
        if self.declared.docker == "debian":
            wanted.append(CERTIFICATE_AUTHORITIES)
        if self.seen.apparmor:
            wanted.append("apparmor")
        if self.time_daemon not in self.seen.packages:
            wanted.append(self.time_daemon)
        missing = tuple(name for name in wanted if name not in self.seen.packages)
        if missing:
            yield self.install(*missing)

    def install(self, *packages: str) -> Step:
        changes = (self.change(f"package {one}", "absent", "installed") for one in packages)
        return Step(Install(packages), tuple(changes))

    @property
    def time_daemon(self) -> str:
        present = [name for name in TIME_DAEMONS if name in self.seen.packages]
        return present[0] if present else TIME_DAEMONS[0]

    def storage(self) -> Iterator[Step]:
        wanted, seen = self.declared.pool, self.seen.storage
        if wanted is None or seen is None:
            return
        uuid = seen.pool.uuid or wanted.uuid
        yield from self.file(units.MOUNT, units.mount(uuid, wanted.filesystem), why="the pool")
        yield from self.file(units.DOCKER, units.docker(), why="no container starts without it")
        yield from pool.steps(self.declared.server, wanted, self.seen)

    def services(self) -> Iterator[Step]:
        for name in ("docker", self.time_daemon, *self.declared.part.services):
            found = self.seen.services.get(name)
            if found is None:
                before = "absent"
            elif not found.enabled:
                before = "disabled"
            elif not found.active and not found.unsuited:
                before = "stopped"
            elif not found.unsuited and (path := self.newer(name, found)):
                change = self.change(f"service {name}", "running", "restarted", f"{path} is newer")
                yield Step(RunService(name, restart=True), (change,))
                continue
            else:
                continue
            change = self.change(f"service {name}", before, "enabled and started")
            yield Step(RunService(name), (change,))

        for name in self.declared.part.stopped:
            found = self.seen.services.get(name)
            if found is not None and (found.enabled or found.active):
                change = self.change(f"service {name}", "running", "stopped", "not needed")
                yield Step(StopService(name), (change,))

    def commands(self) -> Iterator[Step]:
        """What the files of the part want to be run after they were written."""
        wanted: dict[tuple[str, ...], list[Change]] = {}
        for file in self.declared.part.files:
            if not file.then:
                continue
            written = [*self.file(file.path, file.content, file.mode)]
            found, mark = (self.seen.entries.get(path) for path in (file.path, file.mark))
            late = bool(found and mark and mark.changed < found.changed <= self.seen.clock)
            if written or late:
                told = self.change(file.path, "written", "in force") if late else None
                wanted.setdefault(file.then, []).extend([told] if told and not written else [])
        for argv, changes in wanted.items():
            yield Step(Run(" ".join(argv), (argv,)), tuple(changes))

    def newer(self, name: str, found: Service) -> str:
        """The file that the service has not read yet: it changes, or did after the service
        started, when an apply was interrupted."""
        files = [file.path for file in self.declared.part.files if file.service == name]
        files += [DAEMON] if name == "docker" else []
        for path in files:
            entry = self.seen.entries.get(path)
            if entry is not None and found.since < entry.changed <= self.seen.clock:
                return path
        return files[-1] if files and name in self.changed else ""


def diff(before: str, after: str) -> tuple[str, ...]:
    """The lines that differ, marked `-` and `+`; a long diff is cut."""
    compared = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    lines = [line for line in list(compared)[2:] if not line.startswith("@@")]
    if len(lines) > MOST_LINES:
        return (*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more lines")
    return tuple(lines)

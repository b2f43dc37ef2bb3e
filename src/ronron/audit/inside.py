"""A server from inside: what one program there saw, and what of it is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

from ronron.audit.model import Finding
from ronron.catalog import sockets
from ronron.errors import ServerError
from ronron.servers.process import last_lines
from ronron.servers.runner import Runner
from ronron.site.audit import Severity

SECONDS = 1200.0
"""How long the program on a server may take: lynis and docker-bench-security take minutes."""

LISTS_DAYS = 7
SHOWN = 6
"""How many of many are named."""


@dataclass(frozen=True)
class Readable:
    """A file that every user of the server can read, and what is in it."""

    path: str
    kind: str


@dataclass(frozen=True)
class Container:
    """A running container. `name` is its service's, `mounts` what it has of its server's files,
    `memory` its limit in bytes (0: none), `packages` its Debian packages that have a newer
    version: theirs and the newest."""

    name: str
    app: str
    image: str
    user: str
    privileged: bool
    namespaces: tuple[str, ...]
    mounts: tuple[str, ...]
    memory: int
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    created: str
    packages: Mapping[str, tuple[str, str]]

    @property
    def is_root(self) -> bool:
        """Whether its first process runs as root."""
        return self.user.partition(":")[0] in ("", "0", "root")


@dataclass(frozen=True)
class Lynis:
    """lynis' report; `age` in seconds."""

    index: int | None
    warnings: tuple[str, ...]
    suggestions: int
    age: float


@dataclass(frozen=True)
class BenchWarning:
    """A check of docker-bench-security that did not pass; `id` is its number, `2.8`."""

    id: str
    desc: str
    details: str
    remediation: str


@dataclass(frozen=True)
class DockerBench:
    """What docker-bench-security warns of; `problem` is why nothing is known."""

    warnings: tuple[BenchWarning, ...]
    problem: str = ""


@dataclass(frozen=True)
class Inside:
    """A server from inside. `lists_age` is the age of its package lists in seconds, negative when
    there are none, `search_ended` the folder where the search for secrets was given up, `udp` where
    programs listen: port, address, and program; `sshd` its settings by the user who logs in."""

    clock: float
    secrets: tuple[Readable, ...]
    search_ended: str
    containers: tuple[Container, ...]
    security: tuple[str, ...]
    upgrades: tuple[str, ...]
    lists_age: float
    reboot: bool
    docker_listens: tuple[str, ...]
    udp: tuple[tuple[int, str, str], ...]
    sshd: Mapping[str, Mapping[str, str]]
    lynis: Lynis | None
    docker_bench: DockerBench | None


def look(runner: Runner, users: Sequence[str] = (), *, deep: bool = False) -> Inside:
    """Look at the server behind `runner`, whose sshd is asked of `users`.

    Raises ServerError when the program fails there.
    """
    program = resources.files("ronron.audit").joinpath("look.py").read_bytes()
    argv = ["python3", "-", json.dumps({"deep": deep, "users": users})]
    done = runner.run(argv, stdin=program, check=False, timeout=SECONDS)
    if done.status:
        lines = last_lines(done.stderr)
        raise ServerError(runner.name, "it could not be looked at from inside", details=lines)
    return parse(done.text)


def parse(text: str) -> Inside:
    """What the program printed."""
    data: dict[str, Any] = json.loads(text)
    lynis, bench = data["lynis"], data["docker_bench"]
    return Inside(
        clock=data["clock"],
        secrets=tuple(Readable(**one) for one in data["secrets"]),
        search_ended=data["search_ended"],
        containers=tuple(_container(one) for one in data["containers"]),
        security=tuple(data["upgrades"]["security"]),
        upgrades=tuple(data["upgrades"]["other"]),
        lists_age=data["lists_age"],
        reboot=data["reboot"],
        docker_listens=tuple(data["docker_listens"]),
        udp=tuple((port, address, program) for port, address, program in data["udp"]),
        sshd=data["sshd"],
        lynis=Lynis(**{**lynis, "warnings": tuple(lynis["warnings"])}) if lynis else None,
        docker_bench=_docker_bench(bench) if bench else None,
    )


def _docker_bench(data: dict[str, Any]) -> DockerBench:
    warnings = tuple(BenchWarning(**one) for one in data["warnings"])
    return DockerBench(warnings, data["problem"])


def _container(data: dict[str, Any]) -> Container:
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    packages = {name: (old, new) for name, (old, new) in data["packages"].items()}
    return Container(**{**data, **lists, "packages": packages})


def findings(
    server: str, seen: Inside, explained: Mapping[str, str], image_days: int
) -> Iterator[Finding]:
    """What is wrong with a server. `explained` maps apps that may have the Docker socket to the
    reason in their recipes."""
    where = f"server {server}"
    for file in seen.secrets:
        what = f"every user of the server can read {file.kind}"
        remedy = f"chmod o-rwx {file.path}"
        yield Finding("secret-readable", "high", where, what, file.path, remedy)
    if seen.search_ended:
        what = "the search for readable secrets ended early: there are too many files"
        remedy = "look below that folder yourself, or close it: chmod o-x"
        yield Finding("secrets-unsearched", "low", where, what, seen.search_ended, remedy)
    for address in seen.docker_listens:
        what = "the Docker daemon listens on TCP: who reaches it is root"
        remedy = "remove hosts from /etc/docker/daemon.json and -H from its unit"
        yield Finding("docker-tcp", "critical", where, what, address, remedy)
    for container in seen.containers:
        yield from _of_container(server, container, explained)
    yield from _images(server, seen, image_days)
    yield from _packages(where, seen)
    if seen.lynis is not None:
        yield from _of_lynis(where, seen.lynis)
    for one in seen.docker_bench.warnings if seen.docker_bench else ():
        what = f"docker-bench-security warns: {one.desc}"
        evidence = f"check {one.id}" + (f": {one.details}" if one.details else "")
        # By its number, so that one check is accepted and the others are not.
        yield Finding(f"docker-bench-{one.id}", "low", where, what, evidence, one.remediation)


def _of_container(server: str, one: Container, explained: Mapping[str, str]) -> Iterator[Finding]:
    where = f"app {one.app}" if one.app else f"server {server}"
    name = f"container {one.name} on {server}"
    if one.privileged:
        what = "a privileged container is root on its server"
        remedy = "remove privileged; add single capabilities with cap_add"
        yield Finding("container-privileged", "critical", where, what, name, remedy)
    for path in filter(sockets.is_reached, one.mounts):
        reason = explained.get(one.app, "")
        what = "a container with the Docker socket commands the server"
        evidence = f"{name}: {path}" + (f"; its recipe says: {reason}" if reason else "")
        remedy = "remove the mount, or put a proxy of single requests before it"
        yield Finding(
            "container-docker-socket",
            "info" if reason else "critical",
            where,
            what,
            evidence,
            remedy,
        )
    if one.namespaces:
        what = "a container shares namespaces of its server"
        evidence = f"{name}: {', '.join(one.namespaces)}"
        remedy = "remove network_mode, pid, ipc or uts: host"
        yield Finding("container-host-namespace", "high", where, what, evidence, remedy)
    if one.is_root and not one.privileged:
        what = "a container runs as root"
        dropped = "ALL" in one.dropped
        kept = f"with {', '.join(one.added) or 'no capability'}" if dropped else "with capabilities"
        remedy = "give it a user:, and cap_drop: [ALL]"
        severity: Severity = "info" if dropped and not one.added else "low"
        yield Finding("container-root", severity, where, what, f"{name}, {kept}", remedy)
    if not one.memory:
        what = "a container without a memory limit can take all memory of its server"
        remedy = "add deploy.resources.limits.memory"
        yield Finding("container-no-limit", "medium", where, what, name, remedy)


def _images(server: str, seen: Inside, days: int) -> Iterator[Finding]:
    now = datetime.fromtimestamp(seen.clock).astimezone()
    users: dict[str, list[Container]] = {}
    for one in seen.containers:
        users.setdefault(one.image, []).append(one)
    for image, containers in sorted(users.items()):
        apps = sorted({one.app for one in containers if one.app})
        where = f"app {apps[0]}" if len(apps) == 1 else f"server {server}"
        first = containers[0]
        age = now - _time(first.created) if first.created else timedelta()
        if age > timedelta(days=days):
            what = f"an image is older than {days} days: what was mended since is not in it"
            remedy = "ronron upgrade, or a newer version under images:"
            evidence = f"{image}, {age.days} days old"
            yield Finding("image-old", "medium", where, what, evidence, remedy)
        if first.packages:
            what = f"{len(first.packages)} packages in an image have newer versions in Debian"
            named = [f"{name} {old} → {new}" for name, (old, new) in first.packages.items()]
            remedy = "build or pull the image again: ronron upgrade"
            evidence = f"{image}: {_some(named)}"
            yield Finding("image-fixes-pending", "medium", where, what, evidence, remedy)


def _time(text: str) -> datetime:
    """Docker's time, which has nine digits of a second."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text))


def _packages(where: str, seen: Inside) -> Iterator[Finding]:
    if seen.security:
        what = f"{len(seen.security)} security upgrades are pending"
        remedy = "unattended-upgrades installs them within a day: journalctl -u apt-daily-upgrade"
        yield Finding("upgrades-security", "high", where, what, _some(seen.security), remedy)
    if seen.upgrades:
        what = f"{len(seen.upgrades)} other upgrades are pending"
        remedy = "apt-get --with-new-pkgs upgrade"
        yield Finding("upgrades-other", "info", where, what, _some(seen.upgrades), remedy)
    days = seen.lists_age / 86400
    if days < 0 or days > LISTS_DAYS:
        what = "the package lists are old: nobody knows which fixes are pending"
        evidence = "there are none" if days < 0 else f"{days:.0f} days old"
        remedy = "apt-get update; systemctl status apt-daily.timer"
        yield Finding("package-lists-old", "medium", where, what, evidence, remedy)
    if seen.reboot:
        what = "a restart is pending: a new kernel or library is not used yet"
        remedy = "ronron server restart --needed: drained first, one after the other"
        yield Finding("reboot-pending", "low", where, what, "/run/reboot-required", remedy)


def _of_lynis(where: str, lynis: Lynis) -> Iterator[Finding]:
    for warning in lynis.warnings:
        test, _, text = warning.partition("|")
        remedy = f"lynis show details {test}"
        yield Finding(
            "lynis-warning", "low", where, f"lynis warns: {text.strip('|-')}", test, remedy
        )
    what = f"lynis' hardening index is {lynis.index}"
    evidence = f"{lynis.suggestions} suggestions, {lynis.age / 86400:.0f} days ago"
    remedy = "lynis show report" if lynis.suggestions else ""
    yield Finding("lynis-index", "info", where, what, evidence, remedy)


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

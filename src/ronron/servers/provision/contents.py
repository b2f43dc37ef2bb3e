"""The files that provisioning writes, as pure values."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Sequence

BEGIN = "# ronron: begin (written by ronron apply)"
END = "# ronron: end"

POOLS = ("172.24.0.0/14", "172.28.0.0/14", "192.168.128.0/17", "10.192.0.0/12")
"""Private networks that Docker's bridges may take their /24 from; the first free one is used."""

LOG_OPTIONS = {
    "labels": "com.docker.swarm.service.name,com.docker.swarm.task.name",
}
"""What the journal has of a container's lines beside its name: its service and task."""

Hosts = Sequence[tuple[str, Sequence[str]]]


def hosts(current: str, entries: Hosts) -> str:
    """`/etc/hosts` with the managed block of `entries` (address, names) and the rest kept.

    Outside the block a server's name is dropped from the line that has it, since the first line
    wins: Debian's installer writes the server's own name beside 127.0.1.1. An entry without an
    address keeps the one that it has.
    """
    names = {name for _, given in entries for name in given}
    block = [BEGIN, *_block(current, entries), END]
    kept: list[str] = []
    inside = False
    for line in current.splitlines():
        if line == BEGIN:
            inside = True
        elif line == END:
            inside = False
        elif not inside and (rest := _without(line, names)) is not None:
            kept.append(rest)
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join([*kept, *block]) + "\n"


def _block(current: str, entries: Hosts) -> Iterator[str]:
    lines = [line.split() for line in current.splitlines() if not line.startswith("#")]
    for address, names in entries:
        known = [words[0] for words in lines if names[0] in words[1:]]
        if kept := address or next(iter(known), ""):
            yield f"{kept} {' '.join(names)}"


def _without(line: str, names: set[str]) -> str | None:
    """`line` without `names`; None when no other name is left."""
    words = line.split("#", 1)[0].split()
    if not names.intersection(words[1:]):
        return line
    left = [word for word in words if word not in names]
    return " ".join(left) if len(left) > 1 else None


FIGURES = "127.0.0.1:9323"
"""Where Docker tells figures of itself."""


def daemon_json(
    subnet: str,
    addresses: Iterable[str],
    *,
    no_new_privileges: bool = True,
    userns_remap: bool = False,
) -> str:
    """`/etc/docker/daemon.json`.

    Containers log to the journal: `docker service logs`, fail2ban and the log shipper read there.
    Bridges take their networks clear of the site's `subnet` and of the servers' addresses. With
    `no_new_privileges` a program in a container has the rights of who started it, at most: a swarm
    knows that setting of the daemon alone, and none of a service. So it is with `userns_remap`.
    Docker tells figures of itself to the server's own programs, which hand them to the monitoring.
    Published ports are forwarded by IPv6 as by IPv4, with the clients' own addresses: Docker before
    27 does that with `experimental` alone.
    """
    settings: dict[str, object] = {
        "default-address-pools": [{"base": pool(subnet, addresses), "size": 24}],
        "experimental": True,
        "ip6tables": True,
        "log-driver": "journald",
        "log-opts": LOG_OPTIONS,
        "metrics-addr": FIGURES,
        "no-new-privileges": no_new_privileges,
    }
    if userns_remap:
        settings["userns-remap"] = "default"
    return json.dumps(settings, indent=2) + "\n"


def pool(subnet: str, addresses: Iterable[str]) -> str:
    """The first of POOLS that overlaps neither `subnet` nor a /24 around one of `addresses`."""
    taken = [ipaddress.ip_network(subnet)]
    for address in filter(None, addresses):
        if ipaddress.ip_address(address).version == 4:
            taken.append(ipaddress.ip_network(f"{address}/24", strict=False))
    for base in POOLS:
        if not any(ipaddress.ip_network(base).overlaps(network) for network in taken):
            return base
    return POOLS[0]


ACCEPT_RA = 2
SYSCTL = "/usr/lib/systemd/systemd-sysctl"
"""Where procps is missing, too."""


def router_advertisements(cards: Iterable[str]) -> str:
    """Settings of the kernel by which `cards` go on taking their routes from IPv6 routers.

    With an IPv6 bridge of Docker's a server forwards, and one that forwards takes none: its way out
    would be gone (accept_ra in the kernel's documentation of its network settings).
    """
    lines = "".join(f"net.ipv6.conf.{card}.accept_ra = {ACCEPT_RA}\n" for card in cards)
    return "# Written by ronron apply: containers have IPv6, and the server its routes.\n" + lines


UPGRADES = """\
// Written by ronron apply: security upgrades every day, Docker's packages held back, since
// their upgrade restarts every container.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Package-Blacklist {
    "^docker";
    "^containerd";
    "^runc";
};
"""

CLOUD_INIT = """\
# Written by ronron apply: the host name and /etc/hosts are ronron's.
preserve_hostname: true
manage_etc_hosts: false
"""

DOCKER_SITE = "https://download.docker.com/linux"
DOCKER_KEY = "/etc/apt/keyrings/docker.asc"
DOCKER_FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
"""Docker's package signing key, from its installation documentation."""


def docker_source(system: str, codename: str, architecture: str) -> str:
    """The apt source of Docker's own packages, in deb822 form."""
    return (
        "# Written by ronron apply.\n"
        "Types: deb\n"
        f"URIs: {DOCKER_SITE}/{system}\n"
        f"Suites: {codename}\n"
        "Components: stable\n"
        f"Architectures: {architecture}\n"
        f"Signed-By: {DOCKER_KEY}\n"
    )

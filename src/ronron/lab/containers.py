"""The lab's network and containers: how they are created, started and waited for."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ronron.errors import RonronError
from ronron.lab.model import LABEL, MOST_SERVERS, SERVER_LABEL, domain, resource, server_names

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

ACME_HOST = 2
"""The ACME server's place in the lab's network; servers come from FIRST_HOST on."""
FIRST_HOST = 11
KERNEL_IPV6 = Path("/proc/sys/net/ipv6")
SECONDS = 180.0
"""How long a server may take to start."""

# Bits of a capability set, lowest first: linux/capability.h, up to what every engine knows.
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
)
# The host's clock, kernel modules and memory are none of a lab's business.
_WITHHELD = {"SYS_TIME", "SYS_MODULE", "SYS_RAWIO"}
_LEGACY_CONTROL_GROUPS = (
    "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 "
    "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
)


def capabilities(processes: str) -> list[str]:
    """The capabilities to give to a server: those that the engine has itself, but for a few.

    `processes` holds the lines `Name:`, `NSpid:` and `CapBnd:` of the engine host's
    `/proc/PID/status`, PID 1 first. Engines refuse what they lack, some of them to drop it too.
    Engines inside of containers, as in other labs, have more than one NSpid.
    """
    allowed = None
    name = ""
    nested = False
    for line in processes.splitlines():
        field, *values = line.split()
        if field == "Name:":
            name = " ".join(values)
        elif field == "NSpid:":
            nested = len(values) > 1
        elif allowed is None:
            allowed = int(values[0], 16)
        elif name in ("dockerd", "containerd") and not nested:
            allowed &= int(values[0], 16)
    return [
        capability
        for bit, capability in enumerate(_CAPABILITIES.split())
        if capability not in _WITHHELD and (allowed or 0) >> bit & 1
    ]


def host_capabilities(engine: DockerClient, image: str) -> list[str]:
    """`capabilities` of the machine on which the engine runs."""
    output: bytes = engine.containers.run(
        image,
        ["-c", "grep -hE '^(Name|NSpid|CapBnd):' /proc/1/status /proc/[0-9]*/status || :"],
        entrypoint="/bin/sh",
        pid_mode="host",
        network_mode="none",
        remove=True,
    )
    return capabilities(output.decode())


def ensure_network(engine: DockerClient, lab: str) -> Network:
    """Return the lab's network, created if missing, in a range that Docker knows to be free."""
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    name = resource(lab)
    found = engine.networks.list(names=[name], filters={"label": f"{LABEL}={lab}"})
    for network in found:
        if network.name == name:
            network.reload()
            return network
    for attempt in range(5):
        # Containers may choose their address only where the network's creator chose the range.
        offered = engine.networks.create(name, labels={LABEL: lab})
        offered.reload()
        subnet = offered.attrs["IPAM"]["Config"][0]["Subnet"]
        offered.remove()
        try:
            network = engine.networks.create(
                name,
                labels={LABEL: lab},
                ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]),
            )
        except APIError:
            if attempt == 4:
                raise
            continue
        network.reload()
        return network
    raise AssertionError


def address(network: Network, host: int) -> str:
    """The `host`-th address of the network's range."""
    subnet = ipaddress.ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"])
    return str(subnet[host])


def create_acme(engine: DockerClient, lab: str, image: str, network: Network) -> Container:
    """Create the container of the name server and certificate authority."""
    return _create(
        engine,
        network,
        address(network, ACME_HOST),
        f"acme.{domain(lab)}",
        image=image,
        command=[domain(lab), *server_names(MOST_SERVERS)],
        name=resource(lab, "acme"),
        labels={LABEL: lab},
        stop_signal="SIGKILL",
    )


def create_server(
    engine: DockerClient,
    lab: str,
    server: str,
    image: str,
    network: Network,
    *,
    public_key: str,
    allowed: Iterable[str],
    ports: tuple[int, int] | None,
) -> Container:
    """Create the container of one server, with `ports` of 127.0.0.1 leading to its 80 and 443.

    `allowed` are the capabilities that it gets.
    """
    legacy = engine.info().get("CgroupVersion", "1") == "1"
    number = server_names(MOST_SERVERS).index(server)
    published = {f"{inner}/tcp": ("127.0.0.1", outer) for inner, outer in _pairs(ports)}
    return _create(
        engine,
        network,
        address(network, FIRST_HOST + number),
        f"{server}.{domain(lab)}",
        image=image,
        command=[address(network, ACME_HOST), public_key],
        name=resource(lab, server),
        # Like a server fresh from its provider: its name is for provisioning to set.
        hostname="debian",
        labels={LABEL: lab, SERVER_LABEL: server},
        environment={"SYSTEMD_PROC_CMDLINE": _LEGACY_CONTROL_GROUPS} if legacy else {},
        cap_add=list(allowed),
        cgroupns="private",
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        device_cgroup_rules=["a *:* rwm"],
        # Docker turns IPv6 off in networks that have none; servers have it, if the kernel does.
        sysctls={"net.ipv6.conf.all.disable_ipv6": "0"} if KERNEL_IPV6.is_dir() else {},
        tmpfs={"/run": "mode=755", "/tmp": "exec,mode=1777"},  # noqa: S108
        volumes=["/var/lib/docker"],
        ports=published,
    )


def _pairs(ports: tuple[int, int] | None) -> list[tuple[int, int]]:
    return [] if ports is None else [(80, ports[0]), (443, ports[1])]


def _create(
    engine: DockerClient,
    network: Network,
    ip: str,
    alias: str,
    **options: Any,  # noqa: ANN401
) -> Container:
    endpoint = engine.api.create_endpoint_config(aliases=[alias], ipv4_address=ip)
    return engine.containers.create(
        network=network.name, networking_config={str(network.name): endpoint}, **options
    )


def free_ports(lab: str, taken: Iterable[int] = ()) -> tuple[int, int]:
    """Two free ports of 127.0.0.1, the same for the same lab as long as they are free.

    They lie below the ports that systems give to outgoing connections.
    """
    skipped = set(taken)
    start = zlib.crc32(lab.encode()) % 6000
    found: list[int] = []
    for step in range(12000):
        port = 20000 + (2 * start + step) % 12000
        if port not in skipped and _is_free(port):
            found.append(port)
        if len(found) == 2:
            return found[0], found[1]
    raise RonronError("no free port of 127.0.0.1 is left between 20000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def execute(container: Container, argv: list[str]) -> tuple[int, str]:
    """Run `argv` in a running container; returns its exit status and output."""
    status, output = container.exec_run(argv)
    assert status is not None  # noqa: S101
    assert isinstance(output, bytes)  # noqa: S101
    return status, output.decode(errors="replace")


def wait_for(what: str, ready: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until `ready()`; raises RonronError when it is not after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not ready():
        if time.monotonic() > deadline:
            raise RonronError(f"{what} after {seconds:.0f} s")
        pause.wait(0.1)


def wait_for_server(container: Container) -> None:
    """Wait until the server's systemd has started everything and its sshd answers.

    Raises RonronError with the container's last lines when it stopped or takes too long.
    """

    def ready() -> bool:
        container.reload()
        if container.status != "running":
            raise RonronError(f"{container.name} stopped as it started")
        _, state = execute(container, ["systemctl", "is-system-running"])
        return state.strip() in ("running", "degraded") and _ssh_answers(ip_of(container))

    try:
        wait_for(f"{container.name} has not started", ready)
    except RonronError as error:
        lines = container.logs(tail=10).decode(errors="replace").splitlines()
        raise RonronError(error.message, details=lines) from error


def ip_of(container: Container) -> str:
    """The address that a lab's container has, or had when it was stopped."""
    for endpoint in container.attrs["NetworkSettings"]["Networks"].values():
        fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address", "")
        return str(endpoint.get("IPAddress") or fixed)
    return ""


def _ssh_answers(ip: str) -> bool:
    try:
        with socket.create_connection((ip, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False

"""A lab brought up, found and removed. No state file: Docker's labels say what is ours."""

from __future__ import annotations

import io
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ronron.engine.client import connect
from ronron.errors import OperatorError
from ronron.events import Report, ignore, step
from ronron.lab import containers, images
from ronron.lab.model import (
    LABEL,
    MOST_SERVERS,
    SERVER_LABEL,
    Lab,
    LabServer,
    check_name,
    domain,
    folder,
    resource,
    server_names,
)
from ronron.servers.check import ENCRYPTION_TEST
from ronron.servers.hostkeys import HostKey

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
_KEY = "id_ed25519"
REMOVE_SECONDS = 600
"""How long the removal of a server may take: its images and volumes go with it."""


def up(name: str = "lab", servers: int | None = None, *, report: Report = ignore) -> Lab:
    """Bring the lab `name` up with `servers` servers (default: as many as it has, or 3).

    What is there is reused, what is stopped started, what is missing created: an interrupted
    `up` is completed by the next. Raises OperatorError for a wrong name or number, RonronError
    when no Docker engine answers or a server does not start.
    """
    check_name(name)
    if servers is not None and not 1 <= servers <= MOST_SERVERS:
        raise OperatorError(
            f"a lab of {servers} servers cannot be", remedy=f"choose 1 to {MOST_SERVERS}"
        )
    with connect() as engine:
        wanted = _wanted(engine, name, servers)
        public_key = _ensure_key(name, new=not _members(engine, name))
        network = containers.ensure_network(engine, name)
        acme_image = images.ensure(engine, "acme", report)
        server_image = images.ensure(engine, "server", report)
        _ensure_acme(engine, name, acme_image, network, report)
        _ensure_servers(engine, name, wanted, server_image, network, public_key, report)
        lab = _read(engine, name)
    assert lab is not None  # noqa: S101
    return lab


def find(name: str = "lab") -> Lab | None:
    """Return the lab `name` as it is now, running or stopped, or None when there is none."""
    with connect() as engine:
        return _read(engine, name)


def names() -> list[str]:
    """The names of all labs of this computer, incomplete ones too."""
    with connect() as engine:
        return _names(engine)


def down(name: str = "lab", *, keep_images: bool = False, report: Report = ignore) -> bool:
    """Remove everything of the lab `name`; returns whether there was anything.

    The images go with the last lab, unless `keep_images`: the next `up` is then quick.
    """
    check_name(name)
    key = folder(name)
    with connect(seconds=REMOVE_SECONDS) as engine:
        members = _members(engine, name)
        networks = engine.networks.list(filters={"label": f"{LABEL}={name}"})
        found = bool(members or networks or key.exists())
        if found:
            with step(report, "remove", f"lab {name}"):
                with ThreadPoolExecutor() as threads:
                    list(threads.map(_remove, members))
                for network in networks:
                    network.remove()
                shutil.rmtree(key, ignore_errors=True)
        if not keep_images and not _names(engine):
            images.remove(engine)
    return found


def _wanted(engine: DockerClient, name: str, servers: int | None) -> list[str]:
    existing = {member.labels.get(SERVER_LABEL) for member in _members(engine, name)} - {None}
    if servers is None:
        servers = len(existing) or 3
    if len(existing) > servers:
        raise OperatorError(
            f"lab {name} has {len(existing)} servers already",
            remedy=f"remove it first: ronron lab down --name {name}",
        )
    return server_names(servers)


def _ensure_key(name: str, *, new: bool) -> str:
    """Return the lab's public SSH key in the form of `authorized_keys`; made for a new lab."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = folder(name) / _KEY
    if new:
        key = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
    try:
        private = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"lab {name} was made by another user, or its key {path} is lost",
            remedy=f"remove it: ronron lab down --name {name}",
        ) from error
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


def _ensure_acme(
    engine: DockerClient, name: str, image: str, network: Network, report: Report
) -> None:
    container = _get(engine, resource(name, "acme"))
    if container and container.status == "running":
        return
    with step(report, "start name server and certificate authority", f"lab {name}"):
        container = container or containers.create_acme(engine, name, image, network)
        container.start()
        containers.wait_for(
            f"{container.name} has not started", lambda: _root(name, container) != ""
        )


def _ensure_servers(
    engine: DockerClient,
    lab: str,
    wanted: list[str],
    image: str,
    network: Network,
    public_key: str,
    report: Report,
) -> None:
    missing = [name for name in wanted if _get(engine, resource(lab, name)) is None]
    allowed = containers.host_capabilities(engine, image) if missing else []

    def ensure(name: str) -> None:
        container = _get(engine, resource(lab, name))
        if container and container.status == "running":
            return
        with step(report, "start", f"{name}.{domain(lab)}"):
            taken: set[int] = set()
            while True:
                ports = containers.free_ports(lab, taken) if name == wanted[0] else None
                created = container or containers.create_server(
                    engine,
                    lab,
                    name,
                    image,
                    network,
                    public_key=public_key,
                    allowed=allowed,
                    ports=ports,
                )
                if _start(created, again=container is None and ports is not None):
                    break
                taken.update(ports or ())
            containers.wait_for_server(created)

    with ThreadPoolExecutor() as threads:
        list(threads.map(ensure, wanted))


def _start(container: Container, *, again: bool) -> bool:
    """Start a container. If it may be created `again`, a port taken meanwhile is no error."""
    from docker.errors import APIError

    try:
        container.start()
    except APIError as error:
        busy = "port is already allocated" in str(error) or "address already in use" in str(error)
        if not (again and busy):
            raise
        container.remove(force=True, v=True)
        return False
    return True


def _get(engine: DockerClient, container: str) -> Container | None:
    from docker.errors import NotFound

    try:
        return engine.containers.get(container)
    except NotFound:
        return None


def _members(engine: DockerClient, name: str) -> list[Container]:
    return engine.containers.list(
        all=True, filters={"label": f"{LABEL}={name}"}, ignore_removed=True
    )


def _names(engine: DockerClient) -> list[str]:
    labels = [
        *(network.attrs["Labels"] for network in engine.networks.list(filters={"label": LABEL})),
        *(
            container.labels
            for container in engine.containers.list(
                all=True, filters={"label": LABEL}, ignore_removed=True
            )
        ),
    ]
    return sorted({entry[LABEL] for entry in labels})


def _remove(container: Container) -> None:
    from docker.errors import NotFound

    try:
        container.remove(force=True, v=True)
    except NotFound:
        return


def _read(engine: DockerClient, name: str) -> Lab | None:
    found = {member.name: member for member in _members(engine, name)}
    acme = found.get(resource(name, "acme"))
    manager = found.get(resource(name, "manager"))
    if acme is None or manager is None:
        return None
    bindings = manager.attrs["HostConfig"]["PortBindings"]
    http, https = (int(bindings[f"{port}/tcp"][0]["HostPort"]) for port in (80, 443))
    servers = tuple(
        _read_server(name, server, found[resource(name, server)])
        for server in server_names(MOST_SERVERS)
        if resource(name, server) in found
    )
    answering = acme.status == "running"
    return Lab(
        name=name,
        servers=servers,
        running=answering and all(server.running for server in servers),
        resolver=containers.ip_of(acme),
        acme_ca_pem=containers.execute(acme, ["cat", "/etc/lab/ca.pem"])[1] if answering else "",
        acme_root_pem=_root(name, acme) if answering else "",
        http_port=http,
        https_port=https,
        ssh_key=folder(name) / _KEY,
        encrypted_networks=manager.status == "running"
        and containers.execute(manager, list(ENCRYPTION_TEST))[0] == 0,
    )


def _read_server(lab: str, name: str, container: Container) -> LabServer:
    return LabServer(
        name=name,
        address=f"{name}.{domain(lab)}",
        container=str(container.name),
        ip=containers.ip_of(container),
        running=container.status == "running",
        host_key=_host_key(container),
    )


def _host_key(container: Container) -> HostKey | None:
    """The server's host key, read from its own disk: nothing is trusted on first use."""
    from docker.errors import NotFound

    try:
        chunks, _ = container.get_archive(_HOST_KEY)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            file = archive.extractfile(Path(_HOST_KEY).name)
            words = file.read().decode().split() if file else []
    except NotFound:
        return None
    return HostKey(words[0], words[1]) if len(words) >= 2 else None


def _root(name: str, acme: Container) -> str:
    """The root that the running ACME server issues from, or nothing while it does not answer."""
    url = f"https://acme.{domain(name)}:15000/roots/0"
    status, output = containers.execute(acme, ["curl", "-fsS", "--cacert", "/etc/lab/ca.pem", url])
    return output if status == 0 else ""

"""What is done to a lab that is there: log in, stop a server, move it, ask from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ronron.engine.client import connect
from ronron.errors import RonronError
from ronron.lab import containers
from ronron.lab.model import LABEL, MOST_SERVERS, Lab, resource
from ronron.servers.connections import Connections, connections_to
from ronron.servers.hostkeys import pin


@contextmanager
def connections(lab: Lab) -> Iterator[Connections]:
    """Runners for the lab's servers, logged in by the lab's key; closed when the context ends."""
    with tempfile.TemporaryDirectory(prefix="ronron-lab-") as folder:
        known_hosts = Path(folder) / "known_hosts"
        for server in lab.servers:
            if server.host_key:
                pin(known_hosts, server.name, [server.host_key])
        with connections_to(
            lab.servers, known_hosts, resolver=lab.resolver, key=lab.ssh_key
        ) as opened:
            yield opened


def stop_server(lab: Lab, name: str, *, grace: int = 0) -> None:
    """Stop a server: at once as by a power cut, or after `grace` seconds to shut down in."""
    with connect() as engine:
        engine.containers.get(lab.server(name).container).stop(timeout=grace)


def start_server(lab: Lab, name: str) -> None:
    """Start a stopped server, and wait until it can be logged in to."""
    with connect() as engine:
        container = engine.containers.get(lab.server(name).container)
        container.start()
        containers.wait_for_server(container)


def move_server(lab: Lab, name: str) -> str:
    """Give a server another address, as some providers do, and return it.

    Its connections break; the lab's name server answers with the new address a second later.
    """
    server = lab.server(name)
    with connect() as engine:
        container = engine.containers.get(server.container)
        network = engine.networks.get(lab.network)
        network.reload()
        taken = {
            entry["IPv4Address"].split("/")[0] for entry in network.attrs["Containers"].values()
        }
        ip = next(
            candidate
            for host in range(containers.FIRST_HOST + MOST_SERVERS, 250)
            if (candidate := containers.address(network, host)) not in taken
        )
        network.disconnect(container)
        network.connect(container, ipv4_address=ip, aliases=[server.address])
    return ip


def client(lab: Lab, argv: Iterable[str], *, timeout: float = 60.0) -> tuple[int, str]:
    """Run `argv` (curl, openssl, python3) in the lab's network, on a computer outside the site.

    Returns its exit status and output, errors included. Beware: curl takes every name below
    `localhost` for itself, unless told otherwise by `--resolve`.
    """
    import requests

    with connect() as engine:
        image = engine.containers.get(resource(lab.name, "acme")).attrs["Image"]
        container = engine.containers.create(
            image,
            list(argv),
            entrypoint=[],
            network=lab.network,
            dns=[lab.resolver],
            labels={LABEL: lab.name},
        )
        try:
            container.start()
            status = container.wait(timeout=timeout)["StatusCode"]
            return int(status), container.logs().decode(errors="replace")
        except requests.exceptions.ConnectionError as error:
            raise RonronError(f"{' '.join(argv)}: not done after {timeout:.0f} s") from error
        finally:
            container.remove(force=True, v=True)

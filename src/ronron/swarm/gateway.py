"""The bridge by which containers are reached from outside of the swarm's own networks.

Docker makes it when a server comes into the swarm, for IPv4 alone. Clients that come by IPv6 are
then brought to published ports by a process of Docker's, and all have the bridge's address there.
"""

from __future__ import annotations

from docker import DockerClient
from docker.types import IPAMConfig, IPAMPool

from ronron.servers.runner import Runner
from ronron.swarm import engines

NAME = "docker_gwbridge"
SUBNET = "fd72:6f6e:726f:6e::/64"
"""Addresses that are this server's alone (RFC 4193): what leaves it has the server's own."""

DISABLED = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
OPTIONS = {
    "com.docker.network.bridge.name": NAME,
    "com.docker.network.bridge.enable_icc": "false",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
}
"""As Docker sets them where it makes the bridge itself (libnetwork, swarm's default gateway)."""


def make(engine: DockerClient, runner: Runner) -> None:
    """Make the bridge with IPv6, on a server that has that and no bridge in use.

    One that is left from another swarm is made anew.
    """
    if runner.run(["cat", DISABLED], check=False).text.strip() != "0":
        return
    for old in engines.networks(engine, NAME):
        found = engine.api.inspect_network(old["Id"])
        if found["EnableIPv6"] or found["Containers"]:
            return
        engine.api.remove_network(old["Id"])
    engine.networks.create(
        NAME,
        driver="bridge",
        options=OPTIONS,
        enable_ipv6=True,
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)]),
    )

"""Reality: what the servers and the swarm are now. Reading only; one server hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from ronron.catalog.routing import MTU_OPTION, PROXY_NETWORK, overhead
from ronron.engine import client
from ronron.errors import RonronError, ServerError
from ronron.events import Report, step
from ronron.servers.connections import Connections
from ronron.servers.names import lookup_all
from ronron.site.load import LoadedSite
from ronron.swarm import autolock, state
from ronron.swarm import facts as server_facts
from ronron.swarm.engines import engine_of

DEFAULT_MTU = 1500


@dataclass(frozen=True)
class Reality:
    """The servers that answered, with what they know of the swarm; those that did not, with why;
    the swarm itself; and every server's addresses: its own, and the one that its name has."""

    facts: Mapping[str, server_facts.ServerFacts] = field(default_factory=dict)
    failures: Mapping[str, RonronError] = field(default_factory=dict)
    swarm: state.SwarmState = field(default_factory=state.SwarmState)
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def link_mtu(self) -> int:
        """The smallest MTU of the servers' links, in bytes.

        The proxy's network keeps the one that it was made with, whichever servers answer now.
        """
        made = self.swarm.networks.get(PROXY_NETWORK, {})
        if MTU_OPTION in made:
            return int(made[MTU_OPTION]) + overhead("encrypted" in made)
        return min((item.mtu for item in self.facts.values()), default=DEFAULT_MTU)

    @cached_property
    def folders(self) -> frozenset[str]:
        """The folders of volumes that exist on some server."""
        return frozenset().union(*(item.folders for item in self.facts.values()))


def observe(loaded: LoadedSite, servers: Connections, report: Report) -> Reality:
    """Look at every server, and at the swarm through the first manager that has one."""
    interface = loaded.site.network.interface
    site = loaded.site
    named = {name: server.address for name, server in site.servers.items()}
    with step(report, "look at the servers"), ThreadPoolExecutor(2) as threads:
        looking = threads.submit(
            servers.on_each,
            lambda runner: server_facts.read(
                runner,
                interface,
                site.servers[runner.name].user,
                userns_remap=site.docker.userns_remap,
            ),
        )
        asking = threads.submit(lookup_all, named, site.resolver)
        client.load()
        found, failures = looking.result()
    addresses = {
        name: (*facts.defence.addresses, *filter(None, [asking.result().get(name)]))
        for name, facts in found.items()
    }
    for name in [name for name, facts in found.items() if facts.swarm_state == autolock.LOCKED]:
        del found[name]
        failures[name] = ServerError(
            name, "restarted, and its part of the swarm is locked", remedy="ronron server unlock"
        )
    for server in loaded.site.managers:
        if server.name in found and found[server.name].manager:
            with engine_of(servers[server.name]) as engine:
                return Reality(found, failures, state.observe(engine), addresses)
    return Reality(found, failures, addresses=addresses)


def observe_swarm(loaded: LoadedSite, servers: Connections, report: Report) -> Reality:
    """Look at the swarm alone, through the first manager that has one: all that an app without
    volumes needs, and quickly done."""
    managers = [server.name for server in loaded.site.managers]
    with step(report, "look at the swarm"):
        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(servers.open, managers)
            client.load()
            failures = opening.result()
        for name in managers:
            if name not in failures:
                try:
                    with engine_of(servers[name]) as engine:
                        return Reality({}, failures, state.observe(engine))
                except ServerError as error:
                    failures[name] = error
                except RonronError:  # there is no engine yet, or it is in no swarm
                    continue
    return Reality({}, failures)

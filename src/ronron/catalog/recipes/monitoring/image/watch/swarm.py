"""What the swarm's managers know, as figures and as targets for Prometheus: pure functions.

Their input are the Engine API's own lists of nodes, services, tasks and networks.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KILLED = 137
"""The exit status of a process that SIGKILL ended: the kernel's, when memory is out."""

UNHEALTHY = "unhealthy container"
"""In the error of a task that the swarm ended for its health check; it may have needed SIGKILL."""

URL_LABEL = "ronron.url"
"""On an app's web service: what proves that it works."""

REFUSALS_LABEL = "ronron.refusals"
"""On an app's web service: by which statuses the proxy refuses strangers, such as `401_403`."""

ROUTER = re.compile(r"traefik\.http\.routers\.[^.]+\.rule")
HOST = re.compile(r"\bHost\(([^)]*)\)")
NAME = re.compile(r"[`\"]([^`\"]+)[`\"]")
"""In a service's labels: the rules of its routers, their hosts, and the names of each."""

Item = Mapping[str, Any]


class Sample(NamedTuple):
    """One value of one metric."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Swarm:
    """The four lists, as the Engine API gave them."""

    nodes: tuple[Item, ...]
    services: tuple[Item, ...]
    tasks: tuple[Item, ...]
    networks: tuple[Item, ...]

    @property
    def servers(self) -> dict[str, str]:
        """Names of servers by the ids of their nodes."""
        return {node["ID"]: node["Description"]["Hostname"] for node in self.nodes}


@dataclass
class Memory:
    """What has to be remembered between two looks: the swarm forgets old tasks.

    `places` is where each service ran last; `failed` and `killed` count tasks by service.
    """

    places: dict[str, str] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def learn(self, swarm: Swarm) -> None:
        """Take in what happened since the last look."""
        servers = swarm.servers
        first = not self.seen
        for task in sorted(swarm.tasks, key=lambda item: str(item.get("UpdatedAt", ""))):
            service, state = task["ServiceID"], task["Status"]["State"]
            place = servers.get(task.get("NodeID", ""))
            if place and (state == "running" or service not in self.places):
                self.places[service] = place
            # A service's container that ended without a fault is started again, too.
            if state in ("failed", "rejected", "complete") and task["ID"] not in self.seen:
                self.seen.add(task["ID"])
                if first:
                    continue  # it may be days old
                self.failed[service] = self.failed.get(service, 0) + 1
                container = task["Status"].get("ContainerStatus") or {}
                unhealthy = UNHEALTHY in str(task["Status"].get("Err", ""))
                if container.get("ExitCode") == KILLED and not unhealthy:
                    self.killed[service] = self.killed.get(service, 0) + 1
        known = {task["ID"] for task in swarm.tasks}
        self.seen = (self.seen & known) | {"begun"}


def labels_of(service: Item) -> Mapping[str, str]:
    """A service's labels."""
    return service["Spec"].get("Labels") or {}


def identity(service: Item, memory: Memory) -> dict[str, str]:
    """The labels that every figure of a service bears: app, service, and where it ran last."""
    app = labels_of(service).get("ronron.app", "")
    name = str(service["Spec"]["Name"])
    place = memory.places.get(service["ID"], "")
    return {"app": app, "service": name.removeprefix(f"{app}_"), "server": place}


def samples(swarm: Swarm, memory: Memory) -> Iterator[Sample]:
    """All figures."""
    yield Sample("ronron_swarm_up", {}, 1)
    yield from _nodes(swarm)
    yield from _services(swarm, memory)
    yield from _networks(swarm)


def _nodes(swarm: Swarm) -> Iterator[Sample]:
    for node in swarm.nodes:
        server = node["Description"]["Hostname"]
        role = node["Spec"]["Role"]
        ready = node["Status"]["State"] == "ready"
        yield Sample("ronron_server_ready", {"server": server, "role": role}, ready)
        if manager := node.get("ManagerStatus"):
            reachable = manager.get("Reachability") == "reachable"
            yield Sample("ronron_manager_reachable", {"server": server}, reachable)


def _services(swarm: Swarm, memory: Memory) -> Iterator[Sample]:
    servers = swarm.servers
    active = [n for n in swarm.nodes if n["Spec"]["Availability"] == "active"]
    by_service: dict[str, list[Item]] = {}
    for task in swarm.tasks:
        by_service.setdefault(task["ServiceID"], []).append(task)
    for service in swarm.services:
        about = identity(service, memory)
        if not about["app"]:
            continue  # no app's: a drill's, or somebody's own
        mode = service["Spec"]["Mode"]
        tasks = [t for t in by_service.get(service["ID"], ()) if t["DesiredState"] == "running"]
        running = [task for task in tasks if task["Status"]["State"] == "running"]
        if "Replicated" in mode:
            wanted = mode["Replicated"].get("Replicas", 1)
        elif "Global" in mode:
            wanted = min(len(active), len(tasks))
        else:
            continue  # a job
        yield Sample("ronron_service_replicas_wanted", about, wanted)
        yield Sample("ronron_service_replicas_running", about, len(running))
        counted = {key: about[key] for key in ("app", "service")}
        failed, killed = memory.failed.get(service["ID"], 0), memory.killed.get(service["ID"], 0)
        yield Sample("ronron_service_failures_total", counted, failed)
        yield Sample("ronron_service_killed_total", counted, killed)
        for task in running:
            container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID", "")
            place = {**about, "server": servers.get(task.get("NodeID", ""), ""), "id": container}
            yield Sample("ronron_task_info", place, 1)


def _networks(swarm: Swarm) -> Iterator[Sample]:
    """Addresses of each overlay: a task holds one, and so does each server that has tasks in it."""
    used: dict[str, int] = {}
    places: dict[str, set[str]] = {}
    for task in swarm.tasks:
        if task["DesiredState"] != "running":
            continue
        for attachment in task.get("NetworksAttachments") or ():
            network = attachment["Network"]["ID"]
            used[network] = used.get(network, 0) + len(attachment.get("Addresses") or ())
            places.setdefault(network, set()).add(task.get("NodeID", ""))
    for network in swarm.networks:
        if network.get("Driver") != "overlay" or network.get("Ingress"):
            continue
        ranges = [item["Subnet"] for item in (network.get("IPAM") or {}).get("Config") or ()]
        sizes = [ipaddress.ip_network(item).num_addresses - 3 for item in ranges]
        name, key = {"network": network["Name"]}, network["Id"]
        held = used.get(key, 0) + len(places.get(key, ()))
        yield Sample("ronron_network_addresses_used", name, held)
        yield Sample("ronron_network_addresses_total", name, sum(sizes))


def exporters(swarm: Swarm, service: str, port: int) -> list[dict[str, Any]]:
    """Targets: the tasks of the global service `service`, by their addresses in its own network."""
    servers = swarm.servers
    ids = {item["ID"] for item in swarm.services if item["Spec"]["Name"] == service}
    found = []
    for task in swarm.tasks:
        if task["ServiceID"] not in ids or task["Status"]["State"] != "running":
            continue
        for attachment in (task.get("NetworksAttachments") or ())[:1]:
            address = attachment["Addresses"][0].partition("/")[0]
            server = servers.get(task["NodeID"], "")
            found.append({"targets": [f"{address}:{port}"], "labels": {"server": server}})
    return found


def pages(swarm: Swarm, memory: Memory) -> list[dict[str, Any]]:
    """Targets: the health URL of each app that has a domain, and by which module of the blackbox
    exporter it is asked."""
    return [
        {
            "targets": [labels_of(service)[URL_LABEL]],
            "labels": {**identity(service, memory), "__module": _module(labels_of(service))},
        }
        for service in swarm.services
        if URL_LABEL in labels_of(service)
    ]


def domains(swarm: Swarm) -> dict[str, str]:
    """The app of each domain that the proxy has a certificate for, as its routers name them."""
    return {
        domain: labels["ronron.app"]
        for labels in map(labels_of, swarm.services)
        if "ronron.app" in labels
        for key, rule in labels.items()
        if ROUTER.fullmatch(key)
        for host in HOST.findall(rule)
        for domain in NAME.findall(host)
    }


def _module(labels: Mapping[str, str]) -> str:
    statuses = labels.get(REFUSALS_LABEL)
    return f"page_{statuses}" if statuses else "page"


def text(found: Iterable[Sample]) -> str:
    """Samples in Prometheus' text format."""
    return "".join(
        f"{item.name}{{{','.join(_pair(*pair) for pair in item.labels.items())}}} {item.value:g}\n"
        if item.value < 1e6
        else f"{item.name}{{{','.join(_pair(*pair) for pair in item.labels.items())}}} "
        f"{item.value:.0f}\n"
        for item in found
    )


def _pair(name: str, value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'

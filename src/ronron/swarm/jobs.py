"""Work beside an app's services: jobs that run once, and a database of its own for a restore.

Both are made from the specification of a service that is there: its image, user, variables,
secrets, configs and limits. They have names and labels of their own, so that nothing takes them for
the app's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ronron.catalog.routing import PROXY_NETWORK
from ronron.errors import RonronError
from ronron.servers.runner import Runner
from ronron.swarm import engines
from ronron.swarm.converge import last_lines
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "ronron.beside"
MOUNT = "/ronron"
"""Where a job finds its folder."""

REMOVE_SECONDS = 60
_ENDED_BADLY = ("failed", "rejected", "remove", "orphaned")


@dataclass(frozen=True)
class Job:
    """A command to run once: like `service` of `app`, on the node that bears `node_label`.

    `folder` on that node is mounted at MOUNT. `folders` maps those of the service's volumes that it
    gets, by Docker's names, to the folders that are mounted for them, `read_only` if so. On
    `network` instead of the app's own where it is given; with `image` instead of the service's.
    `what` is its name beside the app.
    """

    app: str
    service: str
    what: str
    command: tuple[str, ...]
    folder: str
    node_label: str
    network: str = ""
    image: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False

    @property
    def name(self) -> str:
        """The service's short name."""
        return f"ronron-{self.what}"


def run(engine: DockerClient, job: Job, seconds: float) -> None:
    """Run a job to its end. One of the same name, left by a ronron that was killed, is removed.

    Raises RonronError with its last lines when it fails or takes longer than `seconds`.
    """
    spec = _spec(engine, job.app, job.service)
    container = dict(spec["TaskTemplate"]["ContainerSpec"])
    mounts = [
        m
        if m["Type"] == "tmpfs"
        else {
            "Type": "bind",
            "Source": job.folders[m["Source"]],
            "Target": m["Target"],
            "ReadOnly": job.read_only,
        }
        for m in container.get("Mounts") or ()
        if m["Type"] == "tmpfs" or m.get("Source") in job.folders
    ]
    container |= {
        "Command": list(job.command),
        "Args": [],
        "Healthcheck": {"Test": ["NONE"]},
        "Mounts": [*mounts, {"Type": "bind", "Source": job.folder, "Target": MOUNT}],
    }
    networks = [{"Target": job.network}] if job.network else _own(engine, spec)
    if job.image:
        container["Image"] = job.image
    mode = {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    with _service(engine, job.app, job.name, spec, container, networks, job.node_label, mode):
        state, error = until(
            lambda: _ended(engine, f"{job.app}_{job.name}"), seconds, f"{job.what} of {job.app}"
        )
        if state != "complete":
            raise RonronError(
                f"{job.app}: {job.what} failed: {error or state}",
                details=last_lines(engine, job.app, job.name),
            )


@contextmanager
def beside(
    engine: DockerClient,
    app: str,
    service: str,
    what: str,
    folders: Mapping[str, str],
    seconds: float,
) -> Iterator[str]:
    """A service like `service` of `app` while the context lasts, alone on a network of its own.

    `folders` maps its volumes, by Docker's names, to the folders that it has instead. It bears the
    service's name on that network, whose name is yielded once it is healthy.
    """
    spec = _spec(engine, app, service)
    container = dict(spec["TaskTemplate"]["ContainerSpec"])
    container["Mounts"] = [
        {"Type": "bind", "Source": folders[m["Source"]], "Target": m["Target"]}
        if m.get("Source") in folders
        else m
        for m in container.get("Mounts") or ()
    ]
    name = f"ronron-{what}"
    placement = spec["TaskTemplate"].get("Placement") or {}
    with _network(engine, app, f"{app}_{name}") as network:
        networks = [{"Target": network, "Aliases": [service]}]
        mode = {"Replicated": {"Replicas": 1}}
        with _service(engine, app, name, spec, container, networks, placement, mode):
            try:
                until(
                    lambda: _running(engine, f"{app}_{name}"), seconds, f"{service} of {app} beside"
                )
            except RonronError as error:
                error.details = tuple(last_lines(engine, app, name))
                raise
            yield network


def _spec(engine: DockerClient, app: str, service: str) -> Mapping[str, Any]:
    from docker.errors import NotFound

    try:
        found: Mapping[str, Any] = engine.api.inspect_service(f"{app}_{service}")["Spec"]
    except NotFound:
        raise RonronError(
            f"{app}: its service {service} is not there", remedy="ronron status shows what runs"
        ) from None
    return found


def _own(engine: DockerClient, spec: Mapping[str, Any]) -> list[dict[str, str]]:
    """The networks of the service that are the app's alone, without its names on them: who asks
    for those means the service. On the proxy's network other apps answer to the same names."""
    shared = [one["Id"] for one in engines.networks(engine, PROXY_NETWORK)]
    attached = spec["TaskTemplate"].get("Networks") or ()
    return [{"Target": one["Target"]} for one in attached if one["Target"] not in shared]


@contextmanager
def _service(
    engine: DockerClient,
    app: str,
    name: str,
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
    networks: Sequence[Mapping[str, Any]],
    place: str | Mapping[str, Any],
    mode: Mapping[str, Any],
) -> Iterator[None]:
    """A service of that task while the context lasts; `place` is a node's label, or a placement."""
    whole = f"{app}_{name}"
    if isinstance(place, str):
        place = {"Constraints": [f"node.labels.{place} == true"]}
    template = {
        "ContainerSpec": {**container, "Labels": {LABEL: app}},
        "Resources": spec["TaskTemplate"].get("Resources") or {},
        "RestartPolicy": {"Condition": "none"} if "ReplicatedJob" in mode else {"Condition": "any"},
        "Placement": dict(place),
        "Networks": list(networks),
    }
    _remove(engine, whole)
    engine.api.create_service(
        template, name=whole, labels={LABEL: app}, mode=mode, endpoint_spec={"Mode": "dnsrr"}
    )
    try:
        yield
    finally:
        _remove(engine, whole)


@contextmanager
def _network(engine: DockerClient, app: str, name: str) -> Iterator[str]:
    """An overlay network like the app's own while the context lasts."""
    from docker.errors import APIError

    own = engines.networks(engine, f"{app}_default")
    options = {
        key: value
        for key, value in ((own[0].get("Options") or {}) if own else {}).items()
        if not key.endswith("vxlanid_list")
    }

    def gone() -> bool:
        left = engines.networks(engine, name)
        try:
            for network in left:
                engine.api.remove_network(network["Id"])
        except APIError:
            return False
        return True

    until(gone, REMOVE_SECONDS, f"the network {name} to go")
    made = engine.api.create_network(
        name, driver="overlay", options=options, labels={LABEL: app}, scope="swarm", internal=True
    )
    try:
        yield str(made["Id"])
    finally:
        until(gone, REMOVE_SECONDS, f"the network {name} to go")


def _remove(engine: DockerClient, name: str) -> None:
    """Remove a service, and wait for the containers that it had."""
    from docker.errors import NotFound

    try:
        engine.api.remove_service(name)
    except NotFound:
        return

    def gone() -> bool:
        tasks = engine.api.tasks(filters={"service": name}) if _exists(engine, name) else []
        return not tasks

    until(gone, REMOVE_SECONDS, f"{name} to go")


def _exists(engine: DockerClient, name: str) -> bool:
    from docker.errors import NotFound

    try:
        engine.api.inspect_service(name)
    except NotFound:
        return False
    return True


def _ended(engine: DockerClient, name: str) -> tuple[str, str] | None:
    """State and error of the job's task, once it has ended."""
    for task in engine.api.tasks(filters={"service": name}):
        state = task["Status"]["State"]
        if state == "complete" or state in _ENDED_BADLY:
            return state, str(task["Status"].get("Err", ""))
    return None


def _running(engine: DockerClient, name: str) -> bool:
    tasks = engine.api.tasks(filters={"service": name, "desired-state": "running"})
    return any(task["Status"]["State"] == "running" for task in tasks)


def scale(
    engine: DockerClient, manager: Runner, app: str, replicas: Mapping[str, int], seconds: float
) -> None:
    """Set how many tasks of each service run, and wait until tasks that shall not be are gone.

    `replicas` is by the services' whole names. Of nodes that the swarm does not reach nothing is
    heard: their tasks are not waited for.
    """
    for name, wanted in replicas.items():
        # Docker's own command leaves the rest of the specification as it is, to the letter.
        manager.run(["docker", "service", "scale", "--detach", f"{name}={wanted}"])
    stopped = [name for name, wanted in replicas.items() if wanted == 0]

    def gone() -> bool:
        lost = {n["ID"] for n in engine.api.nodes() if n["Status"]["State"] != "ready"}
        return not any(
            task["Status"]["State"] in ("running", "starting", "preparing", "ready", "assigned")
            and task.get("NodeID") not in lost
            for name in stopped
            for task in engine.api.tasks(filters={"service": name})
        )

    until(gone, seconds, f"the containers of {app} to stop")


def replicas_of(engine: DockerClient, app: str) -> dict[str, int]:
    """How many tasks each replicated service of `app` is to have, by its whole name."""
    found = engine.api.services(filters={"label": f"ronron.app={app}"})
    return {
        item["Spec"]["Name"]: int(item["Spec"]["Mode"]["Replicated"].get("Replicas", 1))
        for item in found
        if "Replicated" in item["Spec"]["Mode"]
    }

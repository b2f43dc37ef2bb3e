"""An app put aside: its services under another name, alone on a network that leads nowhere.

Nothing takes it for the app: it has labels of its own. It reads the app's own secrets, which the
swarm holds already, and no volume but those folders that it is given. No port is published, and the
network is internal: neither the proxy nor a mail relay nor anything else can be reached from it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ronron.catalog.stack import Config, Stack
from ronron.digest import short_digest
from ronron.errors import RonronError
from ronron.events import Report
from ronron.servers.runner import Runner
from ronron.swarm import converge, engines, jobs, stacks
from ronron.swarm.state import STACK_LABEL
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "ronron.aside"
NETWORK = "default"
REMOVE_SECONDS = 120.0
STOP_SECONDS = 5
"""How long a service may take to stop: its data is thrown away."""

# Runs on the server, in the network namespace of a container: one request, its status printed.
_ASK = """
import http.client, sys
address, port, path, host = sys.argv[1:]
connection = http.client.HTTPConnection(address, int(port), timeout=20)
headers = {"Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-Host": host,
           "User-Agent": "ronron"}
connection.request("GET", path, headers=headers)
print(connection.getresponse().status)
"""


def name_of(app: str) -> str:
    """The name of an app's stack when it is aside; no app can have it."""
    return f"drill_{app}"


def isolated(stack: Stack, folders: Mapping[str, str], server: str) -> Stack:
    """The same app, to be put aside on `server`; `folders` are its volumes', by their names.

    Raises RonronError when a service needs something of the server or of others.
    """
    name = name_of(stack.app)
    compose = copy.deepcopy(dict(stack.compose))
    configs: dict[str, Config] = {}
    for body in (compose.get("configs") or {}).values():
        config = stack.configs.get(body["name"])
        if config is None:
            raise RonronError(f"{stack.app}: the config {body['name']} is not one of its own")
        digest = short_digest(config.template.encode() + b"\0" + config.content)
        body["name"] = f"{name}_{digest}"
        configs[body["name"]] = config
    declared = (compose.get("networks") or {}).values()
    options: Mapping[str, str] = next(
        (body["driver_opts"] for body in declared if body.get("driver_opts")), {}
    )
    compose["networks"] = {
        NETWORK: {
            "driver": "overlay",
            "internal": True,
            "driver_opts": dict(options),
            "labels": {LABEL: stack.app},
        }
    }
    compose.pop("volumes", None)
    for service, body in compose["services"].items():
        _isolate(stack.app, service, body, folders, server)
    return replace(stack, compose=compose, configs=configs)


def _isolate(
    app: str, service: str, body: dict[str, Any], folders: Mapping[str, str], server: str
) -> None:
    attached = body.get("networks")
    options = attached.values() if isinstance(attached, Mapping) else ()
    aliases = sorted({alias for one in options for alias in (one or {}).get("aliases") or ()})
    body["networks"] = {NETWORK: {"aliases": aliases} if aliases else None}
    for key in ("ports", "network_mode", "extra_hosts", "dns"):
        body.pop(key, None)
    body["labels"] = {LABEL: app}
    body["stop_grace_period"] = f"{STOP_SECONDS}s"
    body["volumes"] = [_mount(app, service, mount, folders) for mount in body.get("volumes") or ()]
    deploy = body["deploy"]
    deploy["labels"] = {LABEL: app}
    deploy["placement"] = {"constraints": [f"node.hostname == {server}"]}
    deploy.get("resources", {}).pop("reservations", None)
    if deploy.get("mode", "replicated") in ("replicated", "global"):
        deploy |= {"mode": "replicated", "replicas": 1}


def _mount(app: str, service: str, mount: Any, folders: Mapping[str, str]) -> dict[str, Any]:  # noqa: ANN401 - Compose allows two types
    if not isinstance(mount, Mapping):
        source, _, rest = str(mount).partition(":")
        target, _, option = rest.partition(":")
        mount = {"type": "volume", "source": source, "target": target}
        mount |= {"read_only": True} if option == "ro" else {}
    if mount.get("type") == "tmpfs":
        return dict(mount)
    if mount.get("source") not in folders:
        raise RonronError(
            f"{app}: {service} mounts {mount.get('source') or mount.get('target')}, which is not a "
            "volume of its own: it cannot be put aside",
        )
    found = {"type": "bind", "source": folders[mount["source"]], "target": mount["target"]}
    return found | ({"read_only": True} if mount.get("read_only") else {})


def memory(stack: Stack) -> int:
    """The bytes that the services of a stack may use at most, one task each."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    total = 0
    for body in stack.compose["services"].values():
        limits = (body["deploy"].get("resources") or {}).get("limits") or {}
        text = str(limits.get("memory", "256M")).upper().removesuffix("B")
        number = float(text.rstrip("KMGT") or 0)
        total += int(number * (1 << units.get(text[-1:], 0)))
    return total


def start(
    engine: DockerClient,
    manager: Runner,
    stack: Stack,
    services: Collection[str] | None,
    seconds: float,
    report: Report,
) -> None:
    """Start the `services` of a stack that is `isolated`, or all, and wait until they are healthy.

    Raises RonronError with their last lines when they do not.
    """
    name = name_of(stack.app)
    there = {item["Spec"]["Name"] for item in engine.api.configs(filters={"label": LABEL})}
    for reference, config in stack.configs.items():
        if reference not in there:
            template = {"name": config.template} if config.template else None
            engine.api.create_config(reference, config.content, {LABEL: stack.app}, template)
    bodies = stack.compose["services"]
    wanted = {key: body for key, body in bodies.items() if services is None or key in services}
    stacks.put(
        engine, manager, name, replace(stack, compose={**stack.compose, "services": wanted}).text
    )
    try:
        converge.wait(engine, name, seconds, lambda it: report(replace(it, where=stack.app)))
    except converge.NotConverged as error:
        raise RonronError(error.message.replace(name, stack.app), details=error.details) from error


def network_of(engine: DockerClient, app: str) -> str:
    """The id of the network that an app is on when it is aside."""
    (found,) = engines.networks(engine, f"{name_of(app)}_{NETWORK}")
    return str(found["Id"])


def execute(server: Runner, app: str, service: str, command: Iterable[str]) -> str:
    """Run `command` in the container of a service that is aside on `server`; what it printed.

    Raises ServerError when it fails.
    """
    container = _container(server, app, service)
    return server.run(["docker", "exec", container, *command], timeout=300).text


def ask(server: Runner, app: str, service: str, port: int, path: str, host: str) -> int:
    """Ask a service that is aside on `server` for `path`, from its own network; the HTTP status.

    Raises ServerError when it does not answer.
    """
    container = _container(server, app, service)
    form = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    pid, address, *_ = server.run(["docker", "inspect", "-f", form, container]).text.split()
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    words = ["python3", "-c", _ASK, address, str(port), path, host]
    return int(server.run([*inside, *words], timeout=60).text)


def _container(server: Runner, app: str, service: str) -> str:
    wanted = f"label=com.docker.swarm.service.name={name_of(app)}_{service}"
    listed = server.run(["docker", "ps", "-q", "--filter", wanted]).text.split()
    if not listed:
        raise RonronError(f"{app}: no container of {service} runs")
    return listed[0]


def left(engine: DockerClient) -> set[str]:
    """The apps of which something is aside."""
    found: set[str] = set()
    filters = {"label": LABEL}
    services, configs = engine.api.services(filters=filters), engine.api.configs(filters=filters)
    for item in (*services, *configs):
        found.add(item["Spec"]["Labels"][LABEL])
    for network in engine.api.networks(filters=filters):
        found.add(network["Labels"][LABEL])
    for item in engine.api.services(filters={"label": jobs.LABEL}):
        app = str(item["Spec"]["Labels"][jobs.LABEL])
        found |= {app.removeprefix(name_of(""))} if app.startswith(name_of("")) else set()
    return found


def remove(engine: DockerClient, manager: Runner, server: Runner, app: str) -> None:
    """Remove everything that is aside of an app, and wait for its containers on `server` to end."""
    from docker.errors import APIError

    name = name_of(app)
    for item in engine.api.services(filters={"label": f"{jobs.LABEL}={name}"}):
        engine.api.remove_service(item["ID"])
    manager.run(["docker", "stack", "rm", name], check=False, timeout=120)
    listing = ["docker", "ps", "-aq", "--filter"]
    labels = [f"label={STACK_LABEL}={name}", f"label={jobs.LABEL}={name}"]
    until(
        lambda: not any(server.run([*listing, label]).text for label in labels),
        REMOVE_SECONDS,
        f"the containers of {name} to end",
    )

    def gone() -> bool:
        filters = {"label": f"{LABEL}={app}"}
        listings = (
            (engine.api.configs(filters=filters), engine.api.remove_config),
            (engine.api.networks(filters=filters), lambda key: engine.api.remove_network(key)),
        )
        kept = 0
        for items, delete in listings:
            for item in items:
                try:
                    delete(item.get("ID") or item["Id"])
                except APIError as error:
                    kept += error.status_code != 404
        return not kept and app not in left(engine)

    until(gone, REMOVE_SECONDS, f"what was aside of {app} to go")

"""Swarms for unit tests: objects as the Engine API lists them, and an engine that serves them.

The engine keeps the objects in memory and answers over a Unix socket, so that the code under test
uses the real Docker client. It knows no more of Docker than the code asks of it.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import re
import socketserver
import struct
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ronron.catalog.stack import Stack
from ronron.servers.recording import RecordingRunner
from ronron.swarm.record import Record
from ronron.swarm.state import STACK_LABEL
from serving import serving

Item = dict[str, Any]
AT = "2026-11-20T10:00:00.000000000Z"


def identity(name: str) -> str:
    """An id as Docker's look: 25 characters, here recognisable ones."""
    return re.sub(r"[^a-z0-9]", "0", name.lower()).ljust(25, "x")[:25]


def node(
    name: str,
    *,
    role: str = "worker",
    state: str = "ready",
    availability: str = "active",
    labels: Mapping[str, str] | None = None,
    id: str = "",
) -> Item:
    """A node of the swarm."""
    return {
        "ID": id or identity(f"node-{name}"),
        "Version": {"Index": 10},
        "Spec": {"Labels": dict(labels or {}), "Role": role, "Availability": availability},
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": "192.0.2.1"},
        **({"ManagerStatus": {"Leader": True}} if role == "manager" else {}),
    }


def service(
    app: str,
    name: str,
    *,
    image: str = "registry.ronron.internal:5000/hello:1.0",
    env: Sequence[str] = (),
    replicas: int = 1,
    labels: Mapping[str, str] | None = None,
    update: str = "",
    **container: Any,
) -> Item:
    """A service of an app; `container` is added to its ContainerSpec."""
    task = {
        "ContainerSpec": {
            "Image": image,
            "Labels": {STACK_LABEL: app},
            "Env": list(env),
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10_000_000_000},
            "Isolation": "default",
            **container,
        },
        "Resources": {"Limits": {"MemoryBytes": 67108864}},
        "RestartPolicy": {"Condition": "any", "Delay": 2_000_000_000, "MaxAttempts": 0},
        "Placement": {},
        "Networks": [{"Target": identity(f"{app}_default"), "Aliases": [name]}],
        "ForceUpdate": 0,
        "Runtime": "container",
    }
    spec = {
        "Name": f"{app}_{name}",
        "Labels": {STACK_LABEL: app, "ronron.app": app, **(labels or {})},
        "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": replicas}},
        "UpdateConfig": {"Parallelism": 1, "FailureAction": "rollback", "Order": "start-first"},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    return {
        "ID": identity(f"{app}-{name}"),
        "Version": {"Index": 10},
        "Spec": spec,
        **({"UpdateStatus": {"State": update}} if update else {}),
    }


def services_of(stack: Stack) -> list[Item]:
    """What the swarm makes of a stack's services: as much as a plan compares."""
    return [
        service(
            stack.app,
            name,
            image=body["image"],
            env=[f"{key}={value}" for key, value in (body.get("environment") or {}).items()],
            replicas=body["deploy"].get("replicas", 1),
            labels=body["deploy"]["labels"],
        )
        for name, body in stack.compose["services"].items()
    ]


def task(
    of: Item,
    state: str,
    *,
    desired: str = "running",
    error: str = "",
    at: str = AT,
    id: str = "task",
    on: str = "manager",
    **container: Any,
) -> Item:
    """A task of a service's present version, or of another one that differs by `container`."""
    spec = copy.deepcopy(of["Spec"]["TaskTemplate"])
    spec["ContainerSpec"] |= container
    return {
        "ID": identity(id),
        "ServiceID": of["ID"],
        "NodeID": identity(f"node-{on}"),
        "Spec": spec,
        "Status": {"State": state, "Timestamp": at, **({"Err": error} if error else {})},
        "DesiredState": desired,
    }


def config(name: str, labels: Mapping[str, str] | None = None, content: bytes = b"") -> Item:
    """A Docker config."""
    data = base64.b64encode(content).decode()
    spec = {"Name": name, "Labels": dict(labels or {}), "Data": data}
    return {"ID": identity(name), "Version": {"Index": 10}, "CreatedAt": AT, "Spec": spec}


def secret(name: str, labels: Mapping[str, str] | None = None) -> Item:
    """A Docker secret: the API never tells its content."""
    spec = {"Name": name, "Labels": dict(labels or {})}
    return {"ID": identity(name), "Version": {"Index": 10}, "CreatedAt": AT, "Spec": spec}


def recorded(record: Record) -> Item:
    """A record as the swarm keeps it."""
    return config(record.name, record.labels, record.data)


def network(name: str, subnet: str, options: Mapping[str, str], app: str = "") -> Item:
    """An overlay network."""
    return {
        "Id": identity(name),
        "Name": name,
        "Driver": "overlay",
        "Scope": "swarm",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        "Options": dict(options),
        "Labels": {STACK_LABEL: app} if app else {},
    }


@dataclass
class Engine:
    """A manager's engine: what it holds, what it was asked, and what it refuses.

    `logs` is by service name, each entry a task's id and a line. `images` maps names to ids,
    `pullable` are those of some registry, `built` has the files that each build was given.
    `values` has the content of the configs and secrets that were made. `refusals` maps a method
    and the beginning of a path to the status that is answered. `before` is called before each
    answer.
    """

    nodes: list[Item] = field(default_factory=list)
    services: list[Item] = field(default_factory=list)
    tasks: list[Item] = field(default_factory=list)
    configs: list[Item] = field(default_factory=list)
    secrets: list[Item] = field(default_factory=list)
    networks: list[Item] = field(default_factory=list)
    swarm: Item = field(default_factory=lambda: {"Version": {"Index": 7}, "Spec": {}})
    options: list[str] | None = None
    logs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    pullable: set[str] = field(default_factory=set)
    built: dict[str, list[str]] = field(default_factory=dict)
    id: str = "manager"
    refusals: dict[tuple[str, str], int] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        """The answer to one request: JSON, bytes, or a _Refusal that is raised."""
        self.asked.append((method, path))
        self.before(method, path)
        for (refused, start), status in self.refusals.items():
            if refused == method and path.startswith(start):
                raise _Refusal(status, f"{path} is refused")
        with self.lock:
            kind, _, rest = path.lstrip("/").partition("/")
            handler = getattr(self, f"_{kind.strip('_')}")
            return handler(method, unquote(rest), query, body)

    def _ping(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        return b"OK"

    def _version(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        return {"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Version": "26.1.5"}

    def _nodes(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        if not rest:
            return self.nodes
        name, _, action = rest.partition("/")
        found = _one(self.nodes, name)
        if method == "DELETE":
            self.nodes.remove(found)
        if action == "update":
            if int(query["version"]) != found["Version"]["Index"]:
                raise _Refusal(500, "rpc error: code = Unknown desc = update out of sequence")
            found["Spec"] = body
            found["Version"] = {"Index": found["Version"]["Index"] + 1}
        return found

    def _services(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        if not rest:
            return _filtered(self.services, query)
        name, _, action = rest.partition("/")
        found = _one(self.services, name)
        if action == "logs":
            lines = self.logs.get(found["Spec"]["Name"], [])
            return b"".join(_frame(f"node.id=n,task.id={id} {line}\n") for id, line in lines)
        return found

    def _tasks(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        filters = _filters(query)
        wanted = {
            item["ID"]
            for item in self.services
            if {item["ID"], item["Spec"]["Name"]} & set(filters.get("service", [item["ID"]]))
        }
        on = set(filters.get("node", ()))
        return [
            item
            for item in self.tasks
            if item["ServiceID"] in wanted and (not on or item["NodeID"] in on)
        ]

    def _configs(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        return self._kept(self.configs, method, rest, query, body)

    def _secrets(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        return self._kept(self.secrets, method, rest, query, body)

    def _kept(
        self, kept: list[Item], method: str, rest: str, query: Mapping[str, str], body: Any
    ) -> Any:
        if method == "DELETE":
            kept.remove(_one(kept, rest))
            return b""
        if rest == "create":
            if any(item["Spec"]["Name"] == body["Name"] for item in kept):
                raise _Refusal(409, f"{body['Name']} exists")
            self.values[body["Name"]] = base64.b64decode(body["Data"])
            data = {"Data": body["Data"]} if kept is self.configs else {}
            made = secret(body["Name"], body["Labels"])
            made["Spec"] |= data | {k: v for k, v in body.items() if k == "Templating"}
            kept.append(made)
            return {"ID": made["ID"]}
        return _filtered(kept, query)

    def _networks(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        if method == "DELETE":
            self.networks.remove(_one(self.networks, rest))
            return b""
        return _filtered(self.networks, query)

    def _swarm(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        if rest == "update":
            self.swarm |= {"Spec": body}
        return self.swarm

    def _info(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        return {"ID": self.id, "SecurityOptions": self.options}

    def _build(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        with tarfile.open(fileobj=io.BytesIO(body)) as context:
            self.built[query["t"]] = context.getnames()
        self.images[query["t"]] = f"sha256:{identity(query['t'])}"
        return json.dumps({"aux": {"ID": self.images[query["t"]]}}).encode()

    def _distribution(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        name = rest.removesuffix("/json")
        if name not in self.pullable:
            raise _Refusal(404, f"no {name}")
        return {"Descriptor": {"digest": "sha256:" + "0" * 64, "size": 1}, "Platforms": []}

    def _images(self, method: str, rest: str, query: Mapping[str, str], body: Any) -> Any:
        if rest == "load":
            reference, _, id = body.decode().partition("@")
            self.images[reference] = id
            return b'{"stream": "loaded"}\n'
        if rest == "create":
            name = f"{query['fromImage']}:{query['tag']}"
            if name not in self.pullable:
                raise _Refusal(404, f"no {name}")
            self.images[name] = f"sha256:{identity(name)}"
            return b'{"status": "done"}\n'
        name, _, action = rest.rpartition("/")
        if action == "push":
            if (pushed := f"{name}:{query['tag']}") not in self.images:
                return json.dumps({"error": f"{pushed} is not here"}).encode()
            self.pullable.add(pushed)
            return b'{"status": "pushed"}\n'
        if name not in self.images:
            raise _Refusal(404, f"no such image: {name}")
        if action == "get":
            return f"{name}@{self.images[name]}".encode()
        if action == "tag":
            self.images[f"{query['repo']}:{query['tag']}"] = self.images[name]
            return b""
        return {"Id": self.images[name], "RepoTags": [name]}


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _one(items: Sequence[Item], name: str) -> Item:
    for item in items:
        spec = item.get("Spec", {})
        if name in (item.get("ID"), item.get("Id"), item.get("Name"), spec.get("Name")):
            return item
    raise _Refusal(404, f"no {name}")


def _filters(query: Mapping[str, str]) -> dict[str, list[str]]:
    return json.loads(query.get("filters", "{}"))  # type: ignore[no-any-return]


def _filtered(items: Sequence[Item], query: Mapping[str, str]) -> list[Item]:
    wanted = dict(label.split("=", 1) for label in _filters(query).get("label", []))

    def fits(item: Item) -> bool:
        labels = item.get("Labels") or item.get("Spec", {}).get("Labels") or {}
        return all(labels.get(key) == value for key, value in wanted.items())

    return [item for item in items if fits(item)]


def _frame(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">BxxxL", 1, len(data)) + data


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    engine: Engine


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = re.sub(r"^/v[\d.]+/", "/", url.path)
        try:
            is_json = self.headers.get("Content-Type") == "application/json"
            content = json.loads(body) if body and is_json else body
            said = self.server.engine.answer(self.command, path, query, content)
            status, said = 200, said if isinstance(said, bytes) else json.dumps(said).encode()
        except _Refusal as refusal:
            status, said = refusal.status, json.dumps({"message": str(refusal)}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in `Engine.asked`."""


@dataclass
class ManagerRunner(RecordingRunner):
    """A recorded server whose Docker socket leads to an engine."""

    engine_socket: Path = Path("/nowhere")

    def socket(self, path: str) -> contextlib.AbstractContextManager[Path]:
        assert path == "/var/run/docker.sock"
        return contextlib.nullcontext(self.engine_socket)


@contextmanager
def served(engine: Engine) -> Iterator[ManagerRunner]:
    """Serve `engine` on a socket; yields the runner of its server."""
    # A path of its own: a socket's path is at most 107 bytes long.
    with (
        tempfile.TemporaryDirectory(prefix="ronron-") as folder,
        serving(_Server(f"{folder}/docker.sock", _Handler)) as server,
    ):
        server.engine = engine
        yield ManagerRunner("manager", engine_socket=Path(folder) / "docker.sock")

"""A swarm that is pretended: the Engine API over a Unix socket, as far as deploying needs it.

It runs nothing. Everything that it is told is kept, so that tests can look for what must not be
there: `said` are all requests but for the content of Docker secrets, which is in `secrets`.
"""

from __future__ import annotations

import base64
import json
import socketserver
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ronron.servers.recording import Answer, RecordingRunner
from serving import serving

Item = dict[str, Any]


@dataclass
class PretendedSwarm(RecordingRunner):
    """A manager with a swarm of one node, `recorded`, as a `Runner`.

    `broken` is what a service that does not start writes; empty when all start. `lock` is where
    the site's lock is.
    """

    socket_path: Path = Path()
    lock: Path = Path()
    broken: str = ""
    said: list[str] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    configs: dict[str, Item] = field(default_factory=dict)
    services: dict[str, Item] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answers = {"docker stack deploy": self._deploy, **self.answers}

    @contextmanager
    def socket(self, path: str) -> Iterator[Path]:
        """The socket of the pretended engine."""
        yield self.socket_path

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a script of Python here, with the lock's file elsewhere."""
        assert argv[0] == "python3"
        self.said.append(json.dumps(list(argv)))
        pipe = subprocess.PIPE
        words = [sys.executable, *argv[1:3], str(self.lock), *argv[4:]]
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)

    def _deploy(self, argv: Sequence[str], stdin: bytes | None) -> Answer:
        stack = json.loads(stdin or b"")
        self.said.append((stdin or b"").decode())
        app = argv[-1]
        for name, body in stack["services"].items():
            known = [stack["secrets"][secret]["name"] for secret in body.get("secrets") or ()]
            missing = set(known) - set(self.secrets)
            if missing:
                return Answer(status=1, stderr=f"secret not found: {missing}".encode())
            container = {"Image": body["image"], "Secrets": [{"SecretName": it} for it in known]}
            labels = {"com.docker.stack.namespace": app, **body["deploy"]["labels"]}
            self.services[f"{app}_{name}"] = {
                "ID": f"{app}{name}",
                "Spec": {
                    "Name": f"{app}_{name}",
                    "Labels": labels,
                    "TaskTemplate": {"ContainerSpec": container},
                    "Mode": {"Replicated": {"Replicas": 1}},
                },
                "UpdateStatus": {"State": "rollback_completed"} if self.broken else None,
            }
        return Answer()

    def answer(self, method: str, path: str, query: Item, body: Item) -> object:
        """What the Engine API answers."""
        kind, _, rest = path.strip("/").partition("/")
        if kind == "version":
            return {"ApiVersion": "1.45", "Version": "26.1.5"}
        if method == "POST" and rest == "create":
            content = base64.b64decode(body.pop("Data"))
            name = body["Name"]
            if kind == "secrets":
                self.secrets[name] = content
            else:
                encoded = base64.b64encode(content).decode()
                self.configs[name] = {"ID": name, "Spec": {**body, "Data": encoded}}
            return {"ID": name}
        if method == "DELETE":
            (self.secrets if kind == "secrets" else self.configs).pop(rest)
            return None
        if kind == "info":
            return {"SecurityOptions": []}
        if kind == "swarm":
            return {"Version": {"Index": 1}, "Spec": {}}
        if kind == "nodes":
            return [_NODE]
        if kind == "configs":
            return list(self.configs.values())
        if kind == "secrets":
            labels = {"ronron.app": "vaulted"}
            return [{"ID": it, "Spec": {"Name": it, "Labels": labels}} for it in self.secrets]
        if kind == "services":
            if rest.endswith("/logs"):
                # Frames as the API has them: 2 is standard error.
                line = self.broken.encode()
                return struct.pack(">BxxxL", 2, len(line)) + line
            known = {key: it for item in self.services.values() for key, it in _keys(item)}
            return known[rest] if rest else list(self.services.values())
        if kind == "tasks":
            wanted = json.loads(query.get("filters", ["{}"])[0]).get("service", [])
            return [self._task(it) for it in self.services.values() if _is(it, wanted)]
        return []

    def _task(self, service: Item) -> Item:
        return {
            "ID": f"task{service['ID']}",
            "NodeID": "node",
            "Spec": service["Spec"]["TaskTemplate"],
            "DesiredState": "running",
            "Status": {
                "State": "running",
                "Timestamp": "2026-11-20T10:00:00Z",
                "ContainerStatus": {"ContainerID": f"container-of-{service['ID']}"},
            },
        }


_NODE = {
    "ID": "node",
    "Spec": {"Role": "manager", "Availability": "active", "Labels": {}},
    "Description": {"Hostname": "recorded"},
    "Status": {"State": "ready", "Addr": "192.0.2.1"},
    "ManagerStatus": {"Leader": True},
}


def _keys(service: Item) -> Sequence[tuple[str, Item]]:
    return [(service["ID"], service), (service["Spec"]["Name"], service)]


def _is(service: Item, wanted: Sequence[str]) -> bool:
    return bool({service["ID"], service["Spec"]["Name"]} & set(wanted)) or not wanted


@contextmanager
def pretended_swarm(folder: Path) -> Iterator[PretendedSwarm]:
    """A pretended swarm whose socket and lock are in `folder`."""
    swarm = PretendedSwarm(socket_path=folder / "engine", lock=folder / "lock")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content: Item = json.loads(body) if body else {}
            address = urlsplit(self.path)
            path = address.path.removeprefix("/v1.45")
            kept = content
            if path == "/secrets/create":
                kept = {key: it for key, it in content.items() if key != "Data"}
            elif path == "/configs/create":
                # As text: what is in base64 alone is found nowhere.
                data = base64.b64decode(content["Data"])
                kept = {**content, "Data": _inflated(data)}
            swarm.said.append(f"{self.command} {unquote(self.path)} {json.dumps(kept)}")
            found = swarm.answer(self.command, unquote(path), parse_qs(address.query), content)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Api-Version", "1.45")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_HEAD = _do

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

    server = socketserver.ThreadingUnixStreamServer(str(swarm.socket_path), Handler)
    server.daemon_threads = True
    with serving(server):
        yield swarm


def _inflated(data: bytes) -> str:
    with suppress(zlib.error):
        data = zlib.decompress(data)
    return data.decode(errors="replace")

"""A pretended Scaleway: the part of its Instance API that security groups need, over HTTP.

It answers as https://www.scaleway.com/en/developers/api/instances/ documents. Documents have the
fields that are used; whoever shows another key than KEY is refused.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from serving import serving

ACCESS, KEY = "SCWXXXXXXXXXXXXXXXXX", "11111111-1111-4111-8111-111111111111"
PROJECT, ZONE = "22222222-2222-4222-8222-222222222222", "fr-par-1"

SMTP = {
    "id": "default-smtp", "protocol": "TCP", "direction": "outbound", "action": "drop",
    "ip_range": "0.0.0.0/0", "dest_port_from": 25, "dest_port_to": None, "position": 0,
    "editable": False, "zone": ZONE,
}  # fmt: skip
"""The kind of rule that every group has and nobody can change."""


class Scaleway:
    """What is at the provider: instances, security groups, their rules. `calls` is what changed."""

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.url = ""

    def instance(self, name: str, address: str) -> None:
        """Somebody made an instance; it is in the project's default group."""
        default = {"id": "default-group", "name": "Default security group"}
        ip = {"id": str(uuid.uuid4()), "address": address, "family": "inet"}
        body: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "name": name,
            "public_ips": [ip],
            "zone": ZONE,
        }
        self.servers[body["id"]] = {**body, "project": PROJECT, "security_group": default}

    def answer(self, method: str, parts: list[str], body: dict[str, Any]) -> Any:
        """The answer to one request, or None where there is nothing."""
        match method, parts:
            case "GET", ["servers"]:
                return {"servers": list(self.servers.values())}
            case "PATCH", ["servers", server] if server in self.servers:
                self.servers[server]["security_group"] = body["security_group"]
                return {"server": self.servers[server]}
            case "GET", ["security_groups"]:
                return {"security_groups": list(self.groups.values())}
            case "POST", ["security_groups"]:
                made = {**body, "id": str(uuid.uuid4()), "zone": ZONE, "state": "available"}
                self.groups[made["id"]], self.rules[made["id"]] = made, [SMTP]
                return {"security_group": made}
            case "PATCH", ["security_groups", group] if group in self.groups:
                self.groups[group] |= body
                return {"security_group": self.groups[group]}
            case "GET", ["security_groups", group, "rules"] if group in self.groups:
                return {"rules": self.rules[group]}
            case "PUT", ["security_groups", group, "rules"] if group in self.groups:
                filled = {"zone": ZONE, "dest_port_from": None, "dest_port_to": None}
                written = [{"id": str(uuid.uuid4()), **filled, **rule} for rule in body["rules"]]
                self.rules[group] = [SMTP, *written]
                return {"rules": self.rules[group]}
        return None


@contextmanager
def scaleway() -> Iterator[Scaleway]:
    """A Scaleway that listens on this computer while the context lasts."""
    state = Scaleway()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            parts = urlsplit(self.path)
            prefix = f"/instance/v1/zones/{ZONE}/"
            if self.headers.get("X-Auth-Token") != KEY:
                self.send(
                    403, {"type": "permissions_denied", "message": "insufficient permissions"}
                )
            elif not parts.path.startswith(prefix):
                self.send(404, {"type": "not_found", "message": "resource is not found"})
            elif "page=2" in parts.query:
                self.send(200, {parts.path.removeprefix(prefix).rpartition("/")[2]: []})
            else:
                pieces = parts.path.removeprefix(prefix).split("/")
                if self.command != "GET":
                    state.calls.append(f"{self.command} {pieces[0]} {pieces[-1]}")
                found = state.answer(self.command, pieces, body)
                missing = {"type": "not_found", "message": "resource is not found"}
                self.send(404 if found is None else 200, found or missing)

        do_GET = do_POST = do_PUT = do_PATCH = respond

        def send(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield state

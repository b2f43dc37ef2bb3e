"""What stands before an app, and what an app cannot reach: asked of real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.client import ToManager
from e2e.cloud import Operator, eventually
from ronron import lab
from ronron.catalog.guards import HEADERS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi")]


def client(operator: Operator, name: str) -> httpx.Client:
    base = f"https://{name}.{operator.lab.domain}"
    return httpx.Client(base_url=base, transport=ToManager(operator), timeout=30)


def write(operator: Operator, name: str, text: str) -> None:
    (operator.folder / "apps" / f"{name}.yml").write_text(text)


def wait_for(operator: Operator, name: str, status: int) -> httpx.Response:
    """The proxy reads the swarm's services every two seconds."""
    with client(operator, name) as asking:

        def look() -> httpx.Response | None:
            answer = asking.get("/health")
            return answer if answer.status_code == status else None

        return eventually(look)


@pytest.fixture(scope="module")
def door(operator: Operator) -> Iterator[str]:
    """An app for those who log in alone."""
    write(operator, "door", "recipe: hello\naccess: {users: [alice]}\ntraffic: {body: 64K}\n")
    operator.deploy("hello", "door")
    yield "door"
    operator.ronron("remove", "door", "--yes")


def test_every_answer_has_the_headers(operator: Operator, door: str) -> None:
    for app, status in (("hi", 200), (door, 401)):
        answer = wait_for(operator, app, status)
        for name, value in HEADERS.items():
            assert answer.headers.get(name) == (value or None), (app, name)


# Answers with the headers that it got.
ECHO = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
CLAIMED = "192.0.2.66"


def test_what_clients_say_of_themselves_in_the_proxys_words_reaches_no_app(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "echo.yml"
    service = {
        "image": "hello:1.0",
        "entrypoint": ["python3", "-c", ECHO],
        "healthcheck": {"disable": True},
        "ports": ["8080"],
    }
    file.write_text(json.dumps({"services": {"site": service}}))
    operator.deploy(str(file), "echo")
    names = ("X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Server")
    claims = dict.fromkeys(names, CLAIMED)
    claims |= {name.replace("-", "_"): CLAIMED for name in names}
    try:
        with client(operator, "echo") as asking:
            answer = eventually(lambda: asking.get("/", headers=claims))
        got = answer.json()
    finally:
        operator.ronron("remove", "echo", "--yes")
    assert {name.lower() for name, _ in got} >= {name.lower() for name in names}
    assert not [(name, value) for name, value in got if "_" in name or CLAIMED in value]


def test_only_who_knows_the_password_comes_in(operator: Operator, door: str) -> None:
    password = operator.ronron("secrets", "show", door, "access_alice", "--reveal")[0].strip()
    assert len(password) == 32
    with client(operator, door) as asking:
        assert asking.get("/health").status_code == 401
        assert asking.get("/health", auth=("alice", "tuna")).status_code == 401
        assert asking.get("/health", auth=("bob", password)).status_code == 401
        assert asking.get("/health", auth=("alice", password)).status_code == 200
        big = asking.post("/health", auth=("alice", password), content=bytes(100_000))
        assert big.status_code == 413
    assert operator.plan() == []
    status = json.loads(operator.ronron("status", "--json")[0])
    assert next(app for app in status["apps"] if app["name"] == door)["problem"] == ""
    # In no file on the operator's computer but the vault, and in no specification of the swarm.
    service = operator.on("manager", "docker", "service", "inspect", f"{door}_web")
    assert password not in service
    assert not any(
        password.encode() in path.read_bytes() for path in operator.folder.rglob("*.yml")
    )


def test_another_password_is_set_and_applied(operator: Operator, door: str) -> None:
    process = operator.start("secrets", "set", door, "access_alice", stdin="milk-and-tuna\n")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    changes = operator.plan()
    assert [(one["before"], one["after"]) for one in changes] == [("***", "***")]
    operator.deploy("hello", door)

    def taken() -> bool:
        with client(operator, door) as asking:
            return asking.get("/health", auth=("alice", "milk-and-tuna")).status_code == 200

    assert eventually(taken)


def test_addresses_that_are_not_listed_are_refused(operator: Operator, door: str) -> None:
    write(operator, door, "recipe: hello\naccess: {addresses: [192.0.2.0/24]}\n")
    operator.deploy("hello", door)
    wait_for(operator, door, 403)
    script = (
        "import ssl, sys, urllib.error, urllib.request\n"
        "context = ssl._create_unverified_context()\n"
        "try: print(urllib.request.urlopen('https://' + sys.argv[1], context=context).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    domain = f"{door}.{operator.lab.domain}"
    assert lab.client(operator.lab, ["python3", "-c", script, domain])[1].strip() == "403"
    subnet = f"{operator.lab.server('manager').ip.rpartition('.')[0]}.0/24"
    write(operator, door, f"recipe: hello\naccess: {{addresses: [{subnet}]}}\n")
    operator.deploy("hello", door)
    wait_for(operator, door, 200)
    assert operator.plan() == []


def test_more_requests_than_the_rate_are_refused(operator: Operator, door: str) -> None:
    write(operator, door, "recipe: hello\ntraffic: {rate: 6/h, burst: 3}\n")
    operator.deploy("hello", door)
    wait_for(operator, door, 429)


ASK = """
import socket, sys
# Where a network's gateway takes every connection, only the page itself proves who answered.
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 3) as connection:
            connection.settimeout(3)
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            said = b"".join(iter(lambda: connection.recv(4096), b""))
            print(place, "answers" if b'id="version"' in said else "is another")
    except OSError as error:
        print(place, type(error).__name__)
"""


def test_an_app_reaches_neither_anothers_database_nor_the_socket_nor_the_registry(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "two.yml"
    file.write_text(
        "services:\n"
        "  site: {image: 'hello:1.0', ports: ['8080']}\n"
        "  database: {image: 'hello:1.0'}\n"
    )
    operator.deploy(str(file), "two", "--web", "site:8080")
    try:
        addresses = eventually(lambda: _addresses(operator, "two_database"))
        places = [f"{address}:8080" for address in addresses]

        def reached(app: str, *places: str) -> str:
            argv = ("shell", app, "--service", "web", "python3", "-c", ASK, *places)
            return operator.ronron(*argv)[0]

        # The app's own service reaches it: it is there.
        assert "answers" in reached("two", "database:8080", *places)
        outside = reached("hi", "database:8080", "two_database:8080", *places)
        assert "answers" not in outside, outside
        manager = operator.lab.server("manager").ip
        listing = operator.ronron("shell", "hi", "ls", "/var/run", "/run")[0]
        assert "docker.sock" not in listing
        ask = (
            "import ssl, urllib.request\n"
            "context = ssl._create_unverified_context()\n"
            f"place = 'https://{manager}:5000/v2/hello/blobs/uploads/'\n"
            "try:\n"
            "    print(urllib.request.urlopen(place, b'', 5, context=context).status)\n"
            "except OSError as error: print('refused', error)\n"
        )
        assert operator.ronron("shell", "hi", "python3", "-c", ask)[0].startswith("refused")
    finally:
        operator.ronron("remove", "two", "--delete-data", "--yes")


def _addresses(operator: Operator, service: str) -> list[str]:
    """The addresses of a service's container, on whatever server it runs."""
    for server in operator.lab.servers:
        found = operator.on(server.name, "docker", "ps", "-q", "-f", f"name={service}.")
        if found:
            form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
            return operator.on(server.name, "docker", "inspect", "-f", form, found).split()
    return []


def test_a_container_that_asks_for_the_socket_is_refused(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "spy.yml"
    file.write_text(
        "services:\n"
        "  web:\n"
        "    image: hello:1.0\n"
        "    volumes: ['/var/run/docker.sock:/var/run/docker.sock']\n"
    )
    _, err = operator.ronron("deploy", str(file), "spy", "--web", "web:8080", "--yes", status=2)
    assert "docker.sock" in err
    assert not (operator.folder / "apps" / "spy.yml").exists()

"""The images that ronron builds, each run by itself the way its recipe asks for it."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from docker import DockerClient

from e2e.cloud import eventually
from e2e.containers import Box, address, execute, healthy, stack, stopped
from ronron.catalog.recipe import find
from ronron.catalog.stack import REGISTRY
from ronron.engine.build import build, ensure_base, image_id, registry_has
from ronron.engine.client import connect
from ronron.errors import OperatorError, RonronError
from ronron.events import Event, State
from ronron.servers.local import LocalRunner
from ronron.swarm.certificates import registry_certificates

pytestmark = pytest.mark.lab
PASSWORD = 'it\'s a "test" \\ & more'


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerClient]:
    with connect() as client:
        yield client


@pytest.fixture
def box(engine: DockerClient, tmp_path: Path) -> Iterator[Box]:
    box = Box(engine, tmp_path)
    try:
        yield box
    finally:
        box.close()


@pytest.fixture
def tag(engine: DockerClient) -> Iterator[str]:
    """A name for an image, free, and free again after the test."""
    name = f"ronron-test-{uuid.uuid4().hex[:8]}:1"
    yield name
    if image_id(engine, name) is not None:
        engine.images.remove(name, force=True)


def test_a_folder_is_built_once_with_its_steps_told(
    engine: DockerClient, tag: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:trixie-slim\n"
        "COPY program /program\n"
        "COPY ca-certificates.crt /trusted\n"
        'RUN grep -q "BEGIN CERTIFICATE" /trusted && /program\n'
    )
    (tmp_path / "program").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "program").chmod(0o755)
    told: list[Event] = []
    labels = {"ronron.test": "yes"}
    made = build(engine, LocalRunner(), tmp_path, tag, report=told.append, labels=labels)
    assert [event.detail for event in told if event.detail.startswith("Step 4/")]
    assert [told[0].state, told[-1].state] == [State.STARTED, State.DONE]
    assert engine.images.get(tag).id == made == image_id(engine, tag)
    assert engine.images.get(tag).labels["ronron.test"] == "yes"
    told.clear()
    assert build(engine, LocalRunner(), tmp_path, tag, report=told.append) == made
    assert told == []


def test_a_build_that_fails_says_where_and_why(
    engine: DockerClient, tag: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:trixie-slim\nRUN echo the reason is here; exit 7\n"
    )
    with pytest.raises(RonronError, match="failed at Step 2/2") as caught:
        build(engine, LocalRunner(), tmp_path, tag)
    assert "the reason is here" in caught.value.details
    assert "7" in caught.value.details[-1]
    assert image_id(engine, tag) is None


def test_what_cannot_be_built_is_said_before_anything_is_done(
    engine: DockerClient, tag: str, tmp_path: Path
) -> None:
    with pytest.raises(OperatorError, match="no Dockerfile"):
        build(engine, LocalRunner(), tmp_path, tag)
    (tmp_path / "Dockerfile").write_text("FROM registry.invalid/base:1\n")
    with pytest.raises(RonronError, match="no container registry offers") as caught:
        build(engine, LocalRunner(), tmp_path, tag)
    assert "debian:trixie-slim" in caught.value.remedy
    assert not registry_has(engine, "registry.invalid/base:1")


def test_the_base_is_a_debian_that_gets_security_updates(engine: DockerClient) -> None:
    ensure_base(engine, LocalRunner())
    listing = ["sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>&1 || true"]
    sources = engine.containers.run("debian:trixie-slim", listing, remove=True)
    assert b"trixie-security" in sources


def test_hello_names_its_server_and_leaves_without_dropping_anyone(box: Box) -> None:
    rendered = stack("hello", title="A <title>", version="7", drain_seconds="2")
    server = box.start(rendered, "web", environment={"SERVER": "worker-9"})
    healthy(server)
    url = f"http://{address(server)}:8080"
    page = httpx.get(url).text
    assert "worker-9" in page
    assert ">7<" in page
    assert "A &lt;title&gt;" in page
    statuses: list[int] = []
    leave = threading.Thread(target=lambda: statuses.append(stopped(server)))
    leave.start()
    with httpx.Client() as client:
        eventually(lambda: client.get(f"{url}/health").status_code == 503, 2)
        answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"
    leave.join()
    assert statuses == [0]


def test_hello_can_be_broken_on_purpose(box: Box) -> None:
    server = box.start(stack("hello", version="broken"), "web")
    check = stack("hello").compose["services"]["web"]["healthcheck"]["test"][1:]
    url = f"http://{address(server)}:8080"

    def answer() -> int:
        try:
            return httpx.get(f"{url}/health").status_code
        except httpx.ConnectError:
            return 0

    assert eventually(answer) == 500
    assert execute(server, *check)[0] == 1


def query(box: Box, sql: str, *, root: bool = False) -> str:
    """Ask the database of the box over TCP, with the password that lies in the secret's file."""
    user, password = ("root", "db_root_password") if root else ("ghost", "db_password")
    script = f'MYSQL_PWD="$(cat /run/secrets/{password})" mariadb -h127.0.0.1 -u{user} -NBe "$0"'
    status, output = execute(box.containers[0], "sh", "-c", script, sql)
    assert status == 0, output
    return output.strip()


def test_mariadb_starts_once_and_keeps_its_data(box: Box) -> None:
    rendered = stack("ghost")
    secrets = {"db_password": PASSWORD, "db_root_password": f"root {PASSWORD}"}
    database = box.start(rendered, "db", secrets)
    healthy(database)
    query(box, "CREATE TABLE ghost.kept (n INT); INSERT INTO ghost.kept VALUES (42)")
    assert query(box, "SELECT 1", root=True) == "1"
    accounts = query(box, "SELECT user, host FROM mysql.user", root=True)
    assert "root\t127.0.0.1" not in accounts
    nobody = execute(database, "mariadb", "-h127.0.0.1", "-uroot", "-e", "SELECT 1")
    assert nobody[0] == 1
    assert "Access denied" in nobody[1]
    assert stopped(database) == 0
    database.start()
    healthy(database)
    assert query(box, "SELECT n FROM ghost.kept") == "42"
    log = database.logs().decode()
    assert log.count("preparing /var/lib/mysql") == 1
    assert log.count("Shutdown complete") >= 2
    assert PASSWORD not in log


def test_a_dump_brings_back_exactly_what_was_there(box: Box) -> None:
    rendered = stack("ghost")
    secrets = {"db_password": "simple", "db_root_password": "also simple"}
    database = box.start(rendered, "db", secrets)
    healthy(database)
    rules = find("ghost").extension.databases["db"]
    query(box, "CREATE TABLE ghost.kept (n INT); INSERT INTO ghost.kept VALUES (42)")
    status, dump = execute(database, *rules.dump)
    assert status == 0, dump
    assert "Dump completed" in dump
    query(box, "UPDATE ghost.kept SET n = 1; CREATE TABLE ghost.later (n INT)")
    restore = ["docker", "exec", "-i", str(database.id), *rules.restore]
    subprocess.run(restore, input=dump, text=True, check=True)
    assert query(box, "SELECT n FROM ghost.kept") == "42"
    assert query(box, "SHOW TABLES FROM ghost") == "kept"


def test_an_interrupted_first_start_begins_again(box: Box) -> None:
    rendered = stack("ghost")
    database = box.start(rendered, "db", {"db_password": "one", "db_root_password": "two"})
    marker = "/var/lib/mysql/.ronron-first-start"
    eventually(lambda: execute(database, "test", "-e", marker)[0] == 0)
    eventually(lambda: execute(database, "test", "-d", "/var/lib/mysql/mysql")[0] == 0)
    database.kill()
    database.start()
    healthy(database)
    assert query(box, "SELECT 1") == "1"
    assert b"the first start was interrupted" in database.logs()


def test_mariadb_refuses_to_start_without_a_root_password(box: Box) -> None:
    rendered = stack("ghost")
    without = {"MARIADB_ROOT_PASSWORD_FILE": "", "MARIADB_PASSWORD_FILE": ""}
    database = box.start(rendered, "db", environment=without)
    assert database.wait(timeout=60)["StatusCode"] == 1
    assert b"MARIADB_ROOT_PASSWORD" in database.logs()


def test_ghost_serves_its_blog_from_mariadb(box: Box) -> None:
    rendered = stack("ghost")
    secrets = {"db_password": PASSWORD, "db_root_password": "root"}
    box.start(rendered, "db", secrets)
    # Started at once, as the swarm does: it waits for its database.
    web = box.start(rendered, "web", {"db_password": PASSWORD})
    healthy(web, 400)
    headers = {"X-Forwarded-Proto": "https", "Host": "ghost.example.org"}
    with httpx.Client(base_url=f"http://{address(web)}:2368", headers=headers) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "https://ghost.example.org/" in page.text
        style = re.search(r'href="[^"]*?(/assets/built/screen\.css[^"]*)"', page.text)
        assert style is not None
        assert client.get(style.group(1)).status_code == 200
        admin = client.get("/ghost/api/admin/site/").json()["site"]
        assert admin["url"] == "https://ghost.example.org/"
        assert client.get("/ghost/").status_code == 200
    assert execute(web, "sh", "-c", "id -u; ls content/themes")[1].split() == [
        "1000",
        "casper",
        "source",
    ]
    assert stopped(web) == 0
    assert PASSWORD not in web.logs().decode()


def test_traefik_takes_options_and_commands(box: Box) -> None:
    image = box.image(stack("proxy"), "proxy")
    version = box.engine.containers.run(image, ["version"], remove=True)
    assert re.search(rb"Version:\s+3\.7\.15", version)
    container = box.engine.containers.create(
        image,
        ["--ping=true", "--entrypoints.traefik.address=127.0.0.1:8080"],
        user="65532:65532",
        cap_drop=["ALL"],
        read_only=True,
    )
    box.containers.append(container)
    container.start()
    eventually(lambda: execute(container, "traefik", "healthcheck", "--ping")[0] == 0)
    assert stopped(container) == 0


def test_the_registry_answers_only_with_a_certificate_of_the_site(box: Box) -> None:
    made = registry_certificates().values
    names = ("registry_cert", "registry_key", "registry_ca")
    registry = box.start(stack("registry"), "registry", {n: made[n].reveal() for n in names})
    healthy(registry)
    files = {name: box.folder / name for name in (*names, "client")}
    files["registry_ca"].write_text(made["registry_ca"].reveal())
    files["client"].write_text(
        made["registry_client_cert"].reveal() + made["registry_client_key"].reveal()
    )
    context = ssl.create_default_context(cafile=str(files["registry_ca"]))
    url = f"https://{address(registry)}:5000/v2"
    extensions = {"sni_hostname": REGISTRY.partition(":")[0]}
    with (
        httpx.Client(verify=context) as stranger,
        pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError)),
    ):
        stranger.get(f"{url}/", extensions=extensions)
    context.load_cert_chain(str(files["client"]))
    with httpx.Client(verify=context) as client:
        assert client.get(f"{url}/", extensions=extensions).status_code == 200


def test_the_socket_proxy_lets_seven_questions_through(box: Box) -> None:
    proxy = box.start(stack("socket-proxy"), "socket-proxy")
    healthy(proxy)
    with httpx.Client(base_url=f"http://{address(proxy)}:2375") as client:
        for path in ("/_ping", "/version", "/v1.41/networks"):
            assert client.get(path).status_code == 200, path
        # 503: this engine is in no swarm, and said so itself.
        for path in ("/services", "/v1.41/tasks", "/nodes", "/v1.41/nodes/abc123"):
            assert client.get(path).status_code in (200, 404, 503), path
        for path in (
            "/secrets",
            "/configs",
            "/info",
            "/events",
            "/containers/json",
            "/v1.41/services/abc/logs",
            "/v1.41/services/create",
            "/v1.41/services/%2e%2e/secrets",
            "/v1.41/%73ervices",
        ):
            assert client.get(path).status_code == 403, path
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert client.request(method, "/v1.41/networks").status_code == 403, method

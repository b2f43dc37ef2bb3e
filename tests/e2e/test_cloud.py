"""From three bare servers to a blog over HTTPS, and what an apply does after that."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import pytest

from e2e.cloud import Operator, answers, eventually, page, version_of
from ronron import lab
from ronron.plan.lock import lock
from ronron.servers.connections import connections
from ronron.site.load import load_site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("blog", "hi")]


def test_three_bare_servers_become_a_blog_over_https(
    operator: Operator, blog: dict[str, Any]
) -> None:
    answer = blog
    assert answer["status"] == 200
    assert answer["url"] == f"https://blog.{operator.lab.domain}/"
    assert "Pebble" in answer["issuer"]
    assert answer["tls"] == "TLSv1.3"
    assert "Ghost" in page(operator, "blog")


def test_the_second_apply_changes_nothing(operator: Operator) -> None:
    servers = [server.name for server in operator.lab.servers]
    for server in servers:
        operator.on(server, "touch", "/run/before")
    services = ("blog_web", "blog_db", "hi_web", "proxy_proxy", "registry_registry")
    before = [version_of(operator, service) for service in services]
    out, _ = operator.ronron("apply", "--yes")
    assert out.strip() == "nothing to change"
    assert [version_of(operator, service) for service in services] == before
    for server in servers:
        newer = ["find", "/etc", "/srv/ronron", "-xdev", "-newer", "/run/before", "-type", "f"]
        written = operator.on(server, *newer, "-not", "-path", "/srv/ronron/volumes/*")
        assert written == "", f"{server}: {written}"


def test_plain_http_is_redirected(operator: Operator) -> None:
    connection = HTTPConnection(operator.lab.server("manager").ip, 80, timeout=10)
    connection.request("GET", "/x?y=1", headers={"Host": f"hi.{operator.lab.domain}"})
    response = connection.getresponse()
    assert response.status in (301, 308)
    assert response.headers["Location"] == f"https://hi.{operator.lab.domain}/x?y=1"
    connection.close()


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_only_current_tls_is_spoken(
    operator: Operator, version: ssl.TLSVersion, spoken: bool
) -> None:
    context = ssl.create_default_context(cafile=str(operator.folder / "acme-root.pem"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = (operator.lab.server("manager").ip, 443)
    try:
        with (
            socket.create_connection(address, 10) as raw,
            context.wrap_socket(raw, server_hostname=f"hi.{operator.lab.domain}") as connection,
        ):
            assert connection.selected_alpn_protocol() == "h2"
            worked = True
    except ssl.SSLError:
        worked = False
    assert worked is spoken


def test_the_access_log_has_the_clients_own_address(operator: Operator) -> None:
    script = "import socket,sys; print(socket.gethostbyname(socket.gethostname()))"
    request = (
        f"{script}\nimport ssl,urllib.request\n"
        "c=ssl._create_unverified_context()\n"
        "u=urllib.request.Request('https://'+sys.argv[1]+'/seen-from-outside')\n"
        "urllib.request.urlopen(u,context=c).read()\n"
    )
    domain = f"hi.{operator.lab.domain}"
    status, out = lab.client(operator.lab, ["python3", "-c", request, domain])
    assert status == 0, out
    address = out.strip().splitlines()[0]

    def logged() -> bool:
        asked = ("logs", "--access", "hi", "--search", "/seen-from-outside", "--json")
        out, _ = operator.ronron(*asked)
        return any(json.loads(line)["client"] == address for line in out.splitlines())

    assert eventually(logged, 30)


def test_drift_is_shown_exactly_and_repaired(operator: Operator) -> None:
    assert operator.plan() == []
    operator.on("manager", "docker", "service", "update", "--detach", "--env-add", "X=1", "hi_web")
    changes = operator.plan()
    assert [(c["where"], c["field"], c["before"], c["after"]) for c in changes] == [
        ("app hi", "services.web.environment.X", "1", None)
    ]
    assert changes[0]["why"] == "changed by hand"
    operator.ronron("apply", "--yes")
    assert operator.plan() == []
    env = operator.on(
        "manager",
        "docker",
        "service",
        "inspect",
        "hi_web",
        "--format",
        "{{.Spec.TaskTemplate.ContainerSpec.Env}}",
    )
    assert "X=1" not in env


def test_a_plan_that_is_no_longer_true_is_not_carried_out(operator: Operator) -> None:
    def change(option: str) -> None:
        operator.on("manager", "docker", "service", "update", "--detach", *option.split(), "hi_web")

    change("--env-add X=1")
    here, there = pty.openpty()
    argv = [sys.executable, "-m", "ronron", "--site", str(operator.folder), "apply"]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(operator.home), "TERM": "dumb"}
    process = subprocess.Popen(argv, stdin=there, stdout=there, stderr=there, env=environment)
    os.close(there)
    said = ""
    while "[y/N]" not in said:
        said += os.read(here, 4096).decode()
    change("--env-add Y=1")
    os.write(here, b"y\n")
    with suppress(OSError):  # The terminal's end, when the process has ended.
        while more := os.read(here, 4096).decode():
            said += more
    os.close(here)
    assert process.wait(60) == 1, said
    assert "no longer as they were" in said
    assert {change["field"] for change in operator.plan()} == {
        "services.web.environment.X",
        "services.web.environment.Y",
    }
    operator.ronron("apply", "--yes")
    assert operator.plan() == []


def test_the_certificate_is_kept_when_the_proxy_restarts(operator: Operator) -> None:
    def serial() -> str:
        address = operator.lab.server("manager").ip
        context = ssl.create_default_context(cafile=str(operator.folder / "acme-root.pem"))
        with (
            socket.create_connection((address, 443), 10) as raw,
            context.wrap_socket(raw, server_hostname=f"hi.{operator.lab.domain}") as connection,
        ):
            certificate = connection.getpeercert()
            assert certificate is not None
            return str(certificate["serialNumber"])

    before = serial()
    operator.ronron("restart", "proxy")
    eventually(lambda: answers(operator, "hi"))
    assert serial() == before


def test_the_registry_answers_the_sites_servers_alone(operator: Operator) -> None:
    script = (
        "import ssl,sys,socket\n"
        "c=ssl._create_unverified_context()\n"
        "try:\n"
        "    s=c.wrap_socket(socket.create_connection((sys.argv[1],5000),10))\n"
        "    s.sendall(b'GET /v2/ HTTP/1.0\\r\\n\\r\\n')\n"
        "    print(s.recv(100))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    ask = ["python3", "-c", script, operator.lab.server("manager").ip]
    # The firewall lets the site's servers there, and the registry those with a certificate.
    assert lab.client(operator.lab, ask) == (0, "timed out\n")
    out = operator.on("worker-1", *ask)
    assert "certificate required" in out.lower() or "CERTIFICATE_REQUIRED" in out, out
    images = operator.on(
        "manager",
        "docker",
        "service",
        "inspect",
        "hi_web",
        "--format",
        "{{.Spec.TaskTemplate.ContainerSpec.Image}}",
    )
    assert images.startswith("registry.ronron.internal:5000/hello:1.0")
    operator.on("worker-1", "docker", "pull", images)


def test_secrets_are_nowhere_in_clear(operator: Operator) -> None:
    password = operator.ronron(
        "shell", "blog", "--service", "db", "cat", "/run/secrets/db_password"
    )
    value = password[0].strip()
    assert len(value) >= 16
    texts = [path for path in operator.folder.rglob("*") if path.is_file()]
    assert not [path for path in texts if value.encode() in path.read_bytes()]
    for service in ("blog_web", "blog_db"):
        assert value not in operator.on("manager", "docker", "service", "inspect", service)
    assert value not in operator.ronron("plan", "--json")[0]


def test_two_applies_at_once(operator: Operator) -> None:
    with (
        connections(load_site(operator.folder)) as servers,
        lock(servers["manager"], "ronron test"),
    ):
        (operator.folder / "apps" / "late.yml").write_text("recipe: hello\n")
        _, err = operator.ronron("apply", "--yes", status=1)
    assert "ronron test" in err
    assert " since 20" in err
    (operator.folder / "apps" / "late.yml").unlink()
    assert operator.plan() == []


def test_an_interrupted_apply_is_finished_by_the_next(operator: Operator) -> None:
    for name in ("one", "two"):
        (operator.folder / "apps" / f"{name}.yml").write_text("recipe: hello\n")
    process = operator.start("apply", "--yes")
    eventually(lambda: "one_web" in operator.on("manager", "docker", "service", "ls"), 120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(lambda: not _held(operator), 30)
    operator.ronron("apply", "--yes")
    assert operator.plan() == []
    assert answers(operator, "one")
    assert answers(operator, "two")
    for name in ("one", "two"):
        operator.ronron("remove", name, "--yes")


def _held(operator: Operator) -> bool:
    container = operator.lab.server("manager").container
    argv = ["docker", "exec", container, "flock", "--nonblock", "/run/ronron.lock", "true"]
    return subprocess.run(argv).returncode != 0


def test_apps_of_a_swarm_that_cannot_be_seen_are_not_new(kept: Operator) -> None:
    before = version_of(kept, "hi_web")
    kept.on("manager", "systemctl", "stop", "docker.socket", "docker")
    out, _ = kept.ronron("plan", "--json", status=1)
    plan = json.loads(out)
    (failure,) = plan["failures"].values()
    assert failure == "manager does not answer for it: apps are not compared"
    (change,) = plan["changes"]
    assert change["where"] == "server manager"
    _, err = kept.ronron("status", status=1)
    assert "is in a swarm, and its Docker does not answer for it" in err
    # Here an app that is not seen would be taken for lost, and restored over.
    _, err = kept.ronron("rebuild", "--yes", status=1)
    assert "the swarm could not be looked at: manager does not answer for it" in err
    # What was declared meanwhile waits until the apps can be compared.
    (kept.folder / "apps" / "late.yml").write_text("recipe: hello\n")
    _, err = kept.ronron("apply", "--yes")
    assert "manager answers for its swarm again" in err
    assert kept.plan() == []
    assert answers(kept, "late")
    assert version_of(kept, "hi_web") == before
    kept.ronron("remove", "late", "--yes")


def test_what_is_no_longer_declared_is_removed_by_apply(operator: Operator) -> None:
    operator.deploy("hello", "brief")
    (operator.folder / "apps" / "brief.yml").unlink()
    changes = operator.plan()
    assert [(c["where"], c["field"], c["after"]) for c in changes] == [("app brief", "app", None)]
    operator.ronron("apply", "--yes")
    assert operator.plan() == []
    assert "brief" not in operator.on("manager", "docker", "service", "ls")

"""`ronron audit` on a site that is as it should be, and on one in which somebody made holes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import Operator, eventually

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi")]

EXPLAINED = {
    # The lab's zone has no CAA records; the socket proxy's recipe says why it has the socket, and
    # it runs as root without a capability; packages move on in Debian while images stay.
    "caa-missing",
    "container-docker-socket",
    "container-root",
    "image-fixes-pending",
    "upgrades-other",
    "upgrades-security",
    "reboot-pending",
    "docker-bench-1.2",
    "lynis-index",
    "lynis-warning",
    "ssh-warn",
}


def audit(operator: Operator, *options: str) -> list[dict[str, Any]]:
    process = operator.start("audit", "--json", "--ports", "common", *options)
    out, err = process.communicate(timeout=600)
    assert process.returncode in (0, 1), err
    found: list[dict[str, Any]] = json.loads(out)["open"]
    return found


def test_a_site_as_it_is_applied_has_nothing_that_is_not_explained(operator: Operator) -> None:
    found = audit(operator)
    assert {one["id"] for one in found} <= EXPLAINED, found
    socket = [one for one in found if one["id"] == "container-docker-socket"]
    assert [(one["where"], one["severity"]) for one in socket] == [("app socket-proxy", "info")]
    assert operator.plan() == []


def running(operator: Operator, service: str) -> tuple[str, str]:
    """A server that runs a service, and its container's image."""
    for server in operator.lab.servers:
        form = ("--format", "{{.Image}}", "--filter", f"name={service}.")
        if found := operator.on(server.name, "docker", "ps", *form).splitlines():
            return server.name, found[0]
    raise AssertionError(f"{service} runs nowhere")


@contextmanager
def holes(operator: Operator, server: str, image: str) -> Iterator[None]:
    """What somebody in a hurry does to a server and a service."""
    key, sleep = "-----BEGIN PRIVATE KEY-----", "import time; time.sleep(900)"
    listen = "import http.server; http.server.test(port=3306)"
    container = ("--detach", "--name", "hole", "--privileged", "--entrypoint", "python3", image)
    label = "traefik.http.routers.hi.middlewares=hi-retry"
    left, sshd = "/etc/ssl/left.key", "/etc/ssh/sshd_config"
    bind = "import socket as s; it = s.socket(type=s.SOCK_DGRAM); it.bind(('', 5353)); it.recv(1)"
    try:
        operator.on(server, "systemd-run", "--unit", "hole", "python3", "-c", listen)
        operator.on(server, "systemd-run", "--unit", "hole-udp", "python3", "-c", bind)
        operator.on(server, "sed", "-i", "1i PasswordAuthentication yes", sshd)
        rule = ("inet", "ronron", "input", "tcp", "dport", "3306", "accept")
        operator.on(server, "nft", "insert", "rule", *rule)
        operator.on(server, "sh", "-c", f"echo '{key}' > {left}; chmod 644 {left}")
        operator.on(server, "docker", "run", *container, "-c", sleep)
        update = ("docker", "service", "update", "--detach", "--label-add", label, "hi_web")
        operator.on("manager", *update)
        yield
    finally:
        clean = f"docker rm -f hole; systemctl stop hole hole-udp; rm -f {left}; true"
        operator.on(server, "sh", "-c", clean)
        operator.on(server, "sed", "-i", "1{/^PasswordAuthentication yes$/d}", sshd)
        operator.ronron("apply", "--yes")


def test_holes_are_found_and_apply_mends_what_is_declared(operator: Operator) -> None:
    server, image = running(operator, "hi_web")
    with holes(operator, server, image):

        def seen() -> dict[tuple[str, str], str] | None:
            found = {(one["id"], one["where"]): one["severity"] for one in audit(operator)}
            # The proxy takes a moment to follow the service's labels.
            missing = ("header-missing", f"hi.{operator.lab.domain}")
            return found if missing in found else None

        found = eventually(seen, 120)
        assert found["database-open", f"server {server}"] == "critical"
        assert found["container-privileged", f"server {server}"] == "critical"
        assert found["secret-readable", f"server {server}"] == "high"
        assert found["ssh-passwords", f"server {server}"] == "high"
        assert found["udp-undeclared-5353", f"server {server}"] == "low"
        assert len([name for name, _ in found if name == "database-open"]) == 1
        out, _ = operator.ronron("audit", "--ports", "common", status=1)
        assert "[database-open]" in out
        assert "some medium or worse" in out
    # The proxy takes a moment again.
    eventually(lambda: {one["id"] for one in audit(operator)} <= EXPLAINED, 120)
    assert operator.plan() == []


BENCH = "/opt/pretended-docker-bench-security"
LINK = "/usr/local/bin/docker-bench-security.sh"


def test_programs_that_audit_are_asked_where_they_are_installed(operator: Operator) -> None:
    """On a bare server of the lab lynis gives 58."""
    pretended = Path(__file__).with_name("pretended_docker_bench_security.sh").read_text()
    operator.on("worker-2", "apt-get", "install", "-y", "-q", "lynis")
    install = f"""
        mkdir -p {BENCH}/functions {BENCH}/tests
        echo note=NOTE >{BENCH}/functions/pretended.sh
        printf %s "$1" >{BENCH}/docker-bench-security.sh
        chmod 755 {BENCH}/docker-bench-security.sh
        ln -s {BENCH}/docker-bench-security.sh {LINK}
    """
    operator.on("worker-2", "sh", "-ec", install, "sh", pretended)
    try:
        found = audit(operator, "--deep")
        written = operator.on("worker-2", "sh", "-c", f"ls {BENCH} /etc/written 2>/dev/null || :")
    finally:
        operator.on("worker-2", "apt-get", "purge", "-y", "-q", "lynis")
        operator.on("worker-2", "sh", "-c", f"rm -rf /var/log/lynis* {BENCH} {LINK}")
    told = [one for one in found if one["id"] == "lynis-index"]
    assert [one["where"] for one in told] == ["server worker-2"]
    assert int(told[0]["what"].rpartition(" ")[2]) >= 68
    bench = [one for one in found if one["id"].startswith("docker-bench")]
    assert bench == [
        {
            "id": "docker-bench-1.2",
            "severity": "low",
            "where": "server worker-2",
            "what": "docker-bench-security warns: It may write",
            "evidence": "check 1.2: not in /etc",
            "remedy": "Ask why.",
        }
    ]
    assert written.split() == [f"{BENCH}:", "docker-bench-security.sh", "functions", "tests"]
    assert {one["id"] for one in found} <= EXPLAINED, found

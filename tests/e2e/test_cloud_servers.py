"""Servers of the cloud: promoted, killed, moved, drained, and removed by the last test."""

from __future__ import annotations

import json
import threading

import pytest

from e2e.cloud import Operator, answers, eventually
from ronron import lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi")]


def _is_ready(operator: Operator, server: str) -> bool:
    shown = operator.on("manager", "docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
    return f"{server} Ready" in shown


def test_workers_become_managers_and_workers_again(operator: Operator) -> None:
    path = operator.folder / "ronron.yml"
    text = path.read_text()
    path.write_text(
        text.replace(
            f"address: worker-1.{operator.lab.domain}",
            f"address: worker-1.{operator.lab.domain}\n    roles: [manager, worker]",
        )
    )
    _, err = operator.ronron("plan", status=2)
    assert "two managers" in err
    path.write_text(
        path.read_text().replace(
            f"address: worker-2.{operator.lab.domain}",
            f"address: worker-2.{operator.lab.domain}\n    roles: [manager, worker]",
        )
    )
    operator.ronron("apply", "--yes")
    listing = operator.on("manager", "docker", "node", "ls", "--format", "{{.ManagerStatus}}")
    assert sorted(listing.split()) == ["Leader", "Reachable", "Reachable"]
    path.write_text(text)
    operator.ronron("apply", "--yes")
    # A server restarted at once does not come back as a manager that nobody lists.
    lab.stop_server(operator.lab, "worker-1")
    lab.start_server(operator.lab, "worker-1")
    asked = ("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")
    eventually(lambda: operator.on("worker-1", *asked) == "active", 90)
    eventually(lambda: _is_ready(operator, "worker-1"), 90)
    listing = operator.on("manager", "docker", "node", "ls", "--format", "{{.ManagerStatus}}")
    assert listing.split() == ["Leader"]
    assert operator.plan() == []


def test_a_worker_killed_under_load(operator: Operator) -> None:
    nodes = operator.on(
        "manager",
        "docker",
        "service",
        "ps",
        "hi_web",
        "--filter",
        "desired-state=running",
        "--format",
        "{{.Node}}",
    )
    victim = next((node for node in nodes.split() if node != "manager"), "worker-1")
    over = threading.Event()

    def load() -> None:
        while not over.wait(0.02):
            answers(operator, "hi", "/")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        lab.stop_server(operator.lab, victim)
        eventually(lambda: all(answers(operator, "hi") for _ in range(20)), 60)
        _, err = operator.ronron("plan", status=1)
        assert victim in err
    finally:
        over.set()
        for thread in threads:
            thread.join()
        lab.start_server(operator.lab, victim)

    eventually(lambda: _is_ready(operator, victim), 90)
    operator.ronron("apply", "--yes")
    operator.ronron("restart", "hi")
    assert answers(operator, "hi")


def test_a_server_whose_address_changed_is_found_by_its_name(operator: Operator) -> None:
    lab.move_server(operator.lab, "worker-2")
    operator.ronron("apply", "--yes")
    assert operator.plan() == []
    status = json.loads(operator.ronron("status", "--json")[0])
    assert {server["state"] for server in status["servers"]} == {"ready"}


def test_a_drained_and_a_removed_worker(operator: Operator) -> None:
    def running() -> list[str]:
        shown = operator.on(
            "manager",
            "docker",
            "node",
            "ps",
            "worker-2",
            "--filter",
            "desired-state=running",
            "--format",
            "{{.Name}}",
        )
        return shown.split()

    operator.ronron("server", "drain", "worker-2")
    assert running() == []
    assert operator.plan() == []
    operator.ronron("server", "activate", "worker-2")
    operator.ronron("server", "remove", "worker-2", "--yes")
    assert "worker-2" not in operator.on("manager", "docker", "node", "ls")
    assert "worker-2" not in (operator.folder / "ronron.yml").read_text()
    assert (
        operator.on("worker-2", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}")
        == "inactive"
    )
    operator.ronron("apply", "--yes")
    assert operator.plan() == []
    assert answers(operator, "hi")

"""ronron on the manager, as `apply` carried it there: it sees the same, and does its jobs."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from e2e.cloud import Operator, eventually

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi", "kept")]
SITE = "/var/lib/ronron/site"


def seen(text: str) -> dict[str, Any]:
    """A status without what differs from one question to the next."""
    status: dict[str, Any] = json.loads(text)
    for app in status["apps"]:
        if app["answer"]:
            app["answer"] = app["answer"]["status"]
    return status


def there(operator: Operator, *words: str) -> str:
    """Type `ronron …` on the manager; what it printed, without its progress."""
    return operator.on("manager", "sh", "-c", f"ronron {' '.join(words)} 2>/dev/null")


def test_the_managers_ronron_sees_what_the_operators_does(operator: Operator) -> None:
    assert seen(there(operator, "status", "--json")) == seen(operator.ronron("status", "--json")[0])


def test_nothing_is_carried_twice_and_the_copy_follows_the_site(operator: Operator) -> None:
    operator.ronron("apply", "--yes")
    before = operator.on("manager", "readlink", SITE)
    out, _ = operator.ronron("apply", "--yes")
    assert out.strip() == "nothing to change"
    assert operator.on("manager", "readlink", SITE) == before
    (operator.folder / "recipes" / "own").mkdir(parents=True)
    (operator.folder / "recipes" / "own" / "README.md").write_text("mine\n")
    try:
        operator.ronron("apply", "--yes")
        assert operator.on("manager", "cat", f"{SITE}/recipes/own/README.md") == "mine"
    finally:
        (operator.folder / "recipes" / "own" / "README.md").unlink()
        (operator.folder / "recipes" / "own").rmdir()
    operator.ronron("apply", "--yes")
    assert operator.on("manager", "readlink", SITE) == before


def test_an_app_that_is_deployed_is_in_the_copy(operator: Operator) -> None:
    operator.deploy("hello", "carried")
    try:
        assert "hello" in operator.on("manager", "cat", f"{SITE}/apps/carried.yml")
    finally:
        operator.ronron("remove", "carried", "--yes", "--delete-data")
    listed = operator.on("manager", "ls", f"{SITE}/apps/").split()
    assert "carried.yml" not in listed


def test_the_timer_makes_backups_without_the_operator(operator: Operator) -> None:
    assert "ronron-backup.timer" in operator.on("manager", "systemctl", "list-timers", "--all")
    before = len(json.loads(operator.ronron("backups", "hi", "--json")[0]))
    operator.on("manager", "systemctl", "start", "ronron-backup.service")
    left = json.loads(operator.on("manager", "cat", "/var/lib/ronron/jobs/backup.json"))
    assert left["status"] == 0
    assert eventually(
        lambda: len(json.loads(operator.ronron("backups", "hi", "--json")[0])) > before
    )


def test_the_managers_jobs_check_and_forget_and_leave_what_they_saw(operator: Operator) -> None:
    for job in ("forget", "check"):
        assert f"ronron-{job}.timer" in operator.on("manager", "systemctl", "list-timers", "--all")
        operator.on("manager", "systemctl", "start", f"ronron-{job}.service")
        left = json.loads(operator.on("manager", "cat", f"/var/lib/ronron/jobs/{job}.json"))
        assert left["status"] == 0
    seen = json.loads(operator.on("manager", "cat", "/var/lib/ronron/backups.json"))
    assert (seen["checked"]["reads"], seen["checked"]["error"]) == ("5%", "")
    assert seen["apps"]["hi"]["newest"]["id"]
    assert operator.on("manager", "stat", "-c", "%a", "/var/lib/ronron/backups.json") == "600"
    metrics = "/var/lib/ronron/metrics/backup.prom"
    assert operator.on("manager", "stat", "-c", "%a", metrics) == "644"
    assert 'ronron_backup_failed{app="hi"} 0' in operator.on("manager", "cat", metrics)
    (hi,) = [one for one in json.loads(there(operator, "status", "--json"))["apps"]
             if one["name"] == "hi"]  # fmt: skip
    assert hi["snapshot"]


def test_the_manager_cannot_open_the_apps_secrets_and_its_key_logs_in(
    operator: Operator,
) -> None:
    for server in ("manager", "worker-1"):
        keys = operator.on(server, "cat", "/root/.ssh/authorized_keys").splitlines()
        assert len([one for one in keys if " ronron-manager " in one]) == 1
    assert operator.on("manager", "ls", f"{SITE}/vault").split() == ["backup.age"]
    assert operator.on("manager", "stat", "-c", "%a", f"{SITE}/", "/var/lib/ronron/identity") == (
        "700\n600"
    )
    container = operator.lab.server("worker-1").container
    for path in (SITE, "/var/lib/ronron/identity", "/opt/ronron"):
        absent = ["docker", "exec", container, "test", "-e", path]
        assert subprocess.run(absent, check=False).returncode == 1

"""Restarting servers: in which order, and by which job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ronron.errors import RonronError
from ronron.events import Event
from ronron.plan import monitoring
from ronron.plan.restarting import ordered, restart
from ronron.servers.carry.jobs import jobs, units
from ronron.servers.recording import RecordingRunner
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site

MANAGERS = ("master", "third", "second")
SITE = Site.model_validate(
    {
        "name": "cloud",
        "domain": "example.org",
        "contact": "a@example.org",
        "servers": {
            "master": {"name": "master", "roles": ["manager", "worker"]},
            "worker-2": {"name": "worker-2"},
            "third": {"name": "third", "roles": ["manager"]},
            "worker-1": {"name": "worker-1"},
            "second": {"name": "second", "roles": ["manager"]},
        },
    }
)


def test_workers_come_first_and_the_first_manager_last() -> None:
    everybody = list(ordered(SITE, SITE.servers))
    assert everybody == ["worker-1", "worker-2", "second", "third", "master"]
    assert list(ordered(SITE, ["master", "worker-2"])) == ["worker-2", "master"]
    assert list(ordered(SITE, [])) == []


def test_the_window_is_a_job_of_the_manager() -> None:
    assert "restart" not in {job.name for job in jobs(SITE)}
    window = SITE.model_copy(
        update={"hardening": SITE.hardening.model_copy(update={"reboot": "03:30"})}
    )
    job = next(job for job in jobs(window) if job.name == "restart")
    assert job.command == ("server", "restart", "--needed", "--yes")
    assert "OnCalendar=*-*-* 03:30:00\n" in units(window)["ronron-restart.timer"]


@pytest.mark.parametrize("answers", [True, False])
def test_nobody_is_told_of_a_server_while_it_restarts(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    def boot(argv: Sequence[str], stdin: bytes | None) -> bytes:
        return f"start {runner.commands.count(['systemctl', 'reboot'])}".encode()

    runner = RecordingRunner("master", {"cat": boot})
    asked: list[tuple[str, ...]] = []

    def amtool(session: object, *words: str) -> str:
        asked.append((*words, f"reboots={runner.commands.count(['systemctl', 'reboot'])}"))
        if not answers:
            raise RonronError("alertmanager did not answer")
        return json.dumps([SILENCE]) if words[1] == "query" else SILENCE["id"]

    monkeypatch.setattr(monitoring, "_amtool", amtool)
    apps = {"monitoring": App.model_validate({"name": "monitoring", "recipe": "monitoring"})}
    told: list[Event] = []
    session: Any = SimpleNamespace(
        loaded=LoadedSite(Path("/nowhere"), SITE, apps),
        servers={"master": runner},
        report=told.append,
    )
    restart(session, "master")
    notes = [event.detail for event in told if event.detail]
    added = [words for words in asked if words[1] == "add"]
    assert added[0][-2:] == ('server="master"', "reboots=0")
    assert "--duration=600s" in added[0]
    if answers:
        assert "--duration=120s" in added[1]
        assert asked[-1] == ("silence", "expire", SILENCE["id"], "reboots=1")
        assert notes == []
    else:
        assert len(asked) == 1
        assert notes == ["its alerts are not silenced: alertmanager did not answer"]
    asked.clear()
    apps.clear()
    restart(session, "master")
    assert asked == []


SILENCE: dict[str, Any] = {
    "id": "7",
    "matchers": [],
    "endsAt": "2026-11-28T04:00:00Z",
    "createdBy": "ronron",
    "comment": "",
}

"""Restarting servers: in which order, and by which job."""

from __future__ import annotations

from ronron.plan.restarting import ordered
from ronron.servers.carry.jobs import jobs, units
from ronron.site.models import Site

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

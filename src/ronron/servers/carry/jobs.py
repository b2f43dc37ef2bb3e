"""What the manager does by itself: jobs as data, and the systemd units that start them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ronron.servers.carry.manager import CURRENT, LAUNCHER, STATE
from ronron.site import drills
from ronron.site.backup import Backup, Rule, rule
from ronron.site.models import App, Site
from ronron.site.storage import Failover

HOUR = 3600
CALENDARS = {
    "hourly": ("*-*-* *:00:00", HOUR // 4),
    "daily": ("*-*-* 02:00:00", HOUR),
    "weekly": ("Sun *-*-* 02:00:00", HOUR),
}
"""By schedule: systemd's calendar event, and how many seconds a run may begin later."""


@dataclass(frozen=True)
class Job:
    """A command of ronron, when it runs (a calendar event of systemd's) and how far it is spread.

    `spread` is in seconds: each run begins so much later at most.
    """

    name: str
    about: str
    command: tuple[str, ...]
    calendar: str
    spread: int


def jobs(site: Site, apps: Iterable[App] = ()) -> tuple[Job, ...]:
    """The jobs of a site with these apps."""
    backups = _backups(site.backup, apps) if site.backup else ()
    return (*backups, *_restarts(site.hardening.reboot), *_failover(site.storage.failover))


def _failover(rule: Failover) -> Iterable[Job]:
    if rule.automatic:
        about, command = "bring up databases of lost servers", ("failover", "--automatic", "--yes")
        yield Job("failover", about, command, "*:0/2", 0)


def _restarts(window: str | None) -> Iterable[Job]:
    if window is not None:
        command = ("server", "restart", "--needed", "--yes")
        yield Job("restart", "restart servers that want it", command, f"*-*-* {window}:00", 0)


def _backups(backup: Backup, apps: Iterable[App]) -> Iterable[Job]:
    """A job for each schedule; to forget snapshots where they may be; to check; for drills."""
    rules = [rule(backup, None), *(rule(backup, app.backup) for app in apps)]
    for one in {one.job: one for one in rules}.values():
        yield _backup(one)
    if backup.deletes:
        forget = ("backup", "forget", "--yes")
        yield Job("forget", "forget old snapshots", forget, "Sun *-*-* 04:00:00", HOUR)
    check = ("backup", "check", "--read", backup.check_reads)
    yield Job("check", "check the backups' repository", check, "Sun *-*-* 05:00:00", HOUR)
    if backup.drill != drills.OFF:
        about, when = "restore the newest backups aside and look into them", backup.drill
        yield Job("drill", about, ("drill",), drills.CALENDARS.get(when, when), HOUR)


def _backup(one: Rule) -> Job:
    calendar, spread = CALENDARS.get(one.schedule, (one.schedule, 0))
    command = ("backup", "--job", one.job)
    return Job(one.job, f"back up the apps that are due {one.schedule}", command, calendar, spread)


def units(site: Site, apps: Iterable[App] = ()) -> Mapping[str, str]:
    """The files of `/etc/systemd/system` for the site's jobs, by name."""
    found = {}
    for job in jobs(site, apps):
        found[f"ronron-{job.name}.service"] = _service(job)
        found[f"ronron-{job.name}.timer"] = _timer(job)
    return found


def _service(job: Job) -> str:
    # All work is done over SSH, on this server too: the process itself needs next to nothing.
    command = " ".join((LAUNCHER, *job.command)).replace("%", "%%")
    return f"""\
# Written by ronron apply.
[Unit]
Description=ronron: {job.about}
Wants=network-online.target
After=network-online.target docker.service

[Service]
Type=oneshot
ExecStart={CURRENT}/bin/python -m ronron.servers.carry.job {job.name} {command}
Nice=10
IOSchedulingClass=idle
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={STATE}
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
"""


def _timer(job: Job) -> str:
    return f"""\
# Written by ronron apply.
[Unit]
Description=ronron: {job.about}

[Timer]
OnCalendar={job.calendar}
RandomizedDelaySec={job.spread}
Persistent=true

[Install]
WantedBy=timers.target
"""

"""What the manager does by itself: jobs as data, and the systemd units that start them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ronron.servers.carry.manager import CURRENT, LAUNCHER, STATE
from ronron.site.models import Site


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


def jobs(site: Site) -> tuple[Job, ...]:
    """The jobs of a site."""
    if site.backup is None:
        return ()
    return (Job("backup", "back up every app", ("backup", "--yes"), "*-*-* 02:00:00", 3600),)


def units(site: Site) -> Mapping[str, str]:
    """The files of `/etc/systemd/system` for the site's jobs, by name."""
    found = {}
    for job in jobs(site):
        found[f"ronron-{job.name}.service"] = _service(job)
        found[f"ronron-{job.name}.timer"] = _timer(job)
    return found


def _service(job: Job) -> str:
    # All work is done over SSH, on this server too: the process itself needs next to nothing.
    command = " ".join((LAUNCHER, *job.command))
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

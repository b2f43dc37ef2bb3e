"""What closes a server and can lock nobody out: packages, files and services, as pure values.

The firewall's rules and SSH's settings are not among them: they are tried, with a way back
(`servers.defend.attempt`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ronron.servers.defend import fail2ban, kernel, rules
from ronron.servers.defend.attempt import GUARD, guard
from ronron.servers.provision.model import File, Part
from ronron.site.security import Hardening

UNIT = f"/etc/systemd/system/{rules.UNIT}.service"
THERE = ("/etc", "/etc/systemd/system", "/etc/profile.d", "/etc/sysctl.d")
"""Folders that every server has."""


def part(hardening: Hardening, ignored: Sequence[str], docker: str) -> Part:
    """What provisioning puts on a server that has Docker's data in the folder `docker`; `ignored`
    addresses and names are never banned."""
    files = [
        File(GUARD, guard(), why="tries firewall and SSH settings, and undoes them"),
        File(UNIT, rules.SERVICE, why="loads the firewall before the network and Docker"),
    ]
    found = Part(packages=("nftables",), services=(rules.UNIT,))
    if hardening.bans:
        why = "who tries passwords or scans is banned"
        files += [
            File(path, text, mode, why, service="fail2ban")
            for path, (text, mode) in fail2ban.files(ignored).items()
        ]
        found += Part(packages=fail2ban.PACKAGES, services=("fail2ban",))
    else:
        found += Part(stopped=("fail2ban",))
    if hardening.system:
        files += [
            File(path, text, why=why, service=service)
            for path, (text, why, service) in kernel.FILES.items()
        ]
        # Its rules are refused where Docker's folder is not there yet: before it first started.
        again = ("systemctl", "restart", "auditd")
        why, text = "changes that matter are written down", kernel.audit(docker)
        files.append(File(kernel.RULES, text, why=why, service="auditd", then=again))
        found += Part(packages=kernel.PACKAGES, services=kernel.SERVICES, stopped=kernel.NEEDLESS)
    return found + Part(folders=tuple(_folders(files)), files=tuple(files))


def _folders(files: Sequence[File]) -> list[tuple[str, int]]:
    paths = dict.fromkeys(file.path.rpartition("/")[0] for file in files)
    return [
        (path, 0o750 if path.startswith("/etc/audit") else 0o755)
        for path in paths
        if path not in THERE
    ]

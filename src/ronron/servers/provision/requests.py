"""The proxy's access log: files that Traefik writes, and that are followed by others in time.

Every request is a line; through Docker and the journal each would cost more than the request
itself (decision 32). Every server has the folder, so that a proxy that moves finds it.
"""

from __future__ import annotations

from importlib import resources

from ronron.servers.provision import rotate
from ronron.servers.provision.model import File, Part

FOLDER = "/var/log/ronron-proxy"
PATH = f"{FOLDER}/{rotate.LINK}"
"""A link to the newest file."""

FILES = f"{FOLDER}/access-*.log"
"""All files, by the time at which they were begun."""

USER = 65532
"""Who the proxy runs as, in the recipe."""

SERVICE = "ronron_access_log"
PROGRAM = "/usr/local/lib/ronron/rotate.py"
SECONDS = 60

# Not a timer: a service that ends is started again after a while.
_UNIT = f"""\
# Written by ronron apply: begins new files of the proxy's access log, and deletes old ones.
[Unit]
Description=ronron: files of the access log
Before=fail2ban.service
StartLimitIntervalSec=0

[Service]
ExecStart={{command}}
Restart=always
RestartSec={SECONDS}
Nice=10
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE
NoNewPrivileges=yes
PrivateTmp=yes
PrivateNetwork=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=/var/log
RestrictAddressFamilies=AF_UNIX

[Install]
WantedBy=multi-user.target
"""

FAIL2BAN = "/etc/systemd/system/fail2ban.service.d"
_FAIL2BAN = """\
# Written by ronron apply: fail2ban does not start without the proxy's access log.
[Service]
ExecStartPre=+{command}
"""


def part(days: int, first_id: int = 0) -> Part:
    """The program, which makes folder and file at once; what is older than `days` is deleted.
    `first_id` is the user of a server that containers know as 0."""
    program = resources.files("ronron.servers.provision").joinpath("rotate.py").read_text()
    why = "requests are logged, and not kept for too long"
    argv = ("/usr/bin/python3", PROGRAM, FOLDER, str(first_id + USER), str(days))
    command = " ".join(argv)
    return Part(
        folders=(("/usr/local/lib/ronron", 0o755), (FAIL2BAN, 0o755)),
        files=(
            File(PROGRAM, program, why=why),
            File(f"{FAIL2BAN}/ronron.conf", _FAIL2BAN.format(command=command), why=why),
            File(
                f"/etc/systemd/system/{SERVICE}.service",
                _UNIT.format(command=command),
                why=why,
                service=SERVICE,
                then=argv,
            ),
        ),
        services=(SERVICE,),
    )

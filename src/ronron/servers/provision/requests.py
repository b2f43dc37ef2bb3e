"""The proxy's access log: a file that Traefik writes, and that is rotated and deleted in time.

Every request is a line; through Docker and the journal each would cost more than the request
itself (decision 32). Every server has the folder, so that a proxy that moves finds it.
"""

from __future__ import annotations

from ronron.servers.provision.model import File, Part

FOLDER = "/var/log/ronron-proxy"
PATH = f"{FOLDER}/access.log"
"""The newest lines; older ones are in `access.log-SECONDS`, by the time of their rotation."""

USER = 65532
"""Who the proxy runs as, in the recipe."""

SERVICE = "ronron_access_log"
TMPFILES = "/etc/tmpfiles.d/ronron-proxy.conf"
CREATE = ("systemd-tmpfiles", "--create", TMPFILES)
CONFIGURATION = "/etc/ronron-access-log.conf"
STATE = "/var/lib/ronron/access-log.state"
SECONDS = 60
PARTS, PART_SIZE = 20, "50M"
"""How many older files there are at most, and when the newest becomes one of them."""

# The proxy can write into the file, and not make, rename or remove one.
_TMPFILES = f"""\
# Written by ronron apply: where the proxy writes a line for each request.
d {FOLDER} 0750 root {USER} -
f {PATH} 0640 {USER} root -
"""

# A container that is gone takes no signal; that is no error.
_LOGROTATE = f"""\
# Written by ronron apply.
{PATH} {{
    daily
    maxsize {PART_SIZE}
    rotate {PARTS}
    dateext
    dateformat -%s
    create
    missingok
    notifempty
    nocompress
    postrotate
        for id in $(docker ps --quiet --filter label=com.docker.swarm.service.name=proxy_proxy); do
            docker kill --signal USR1 "$id" >/dev/null
        done
    endscript
}}
"""

# Not a timer: a service that ends is started again after a while.
_UNIT = f"""\
# Written by ronron apply: rotates the proxy's access log, and deletes what is too old.
[Unit]
Description=ronron: rotation of the access log
StartLimitIntervalSec=0

[Service]
ExecStartPre=/usr/bin/find {FOLDER} -type f -name access.log-* -mtime +{{days}} -delete
ExecStart=/usr/sbin/logrotate --state {STATE} {CONFIGURATION}
Restart=always
RestartSec={SECONDS}
Nice=10
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE
NoNewPrivileges=yes
PrivateTmp=yes
PrivateNetwork=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={FOLDER} /var/lib/ronron
RestrictAddressFamilies=AF_UNIX

[Install]
WantedBy=multi-user.target
"""


def part(days: int) -> Part:
    """The folder, and the service that deletes what is older than `days`."""
    why = "the proxy writes its access log there"
    kept = "the access log stays small, and is not kept for too long"
    return Part(
        packages=("logrotate",),
        folders=(("/var/lib/ronron", 0o700),),
        files=(
            File(TMPFILES, _TMPFILES, why=why, then=CREATE),
            File(CONFIGURATION, _LOGROTATE, why=kept),
            File(
                f"/etc/systemd/system/{SERVICE}.service",
                _UNIT.format(days=days - 1),
                why=kept,
                service=SERVICE,
            ),
        ),
        services=(SERVICE,),
    )

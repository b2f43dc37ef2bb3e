"""What every server has for the monitoring: a folder of figures, and a program that fills it."""

from __future__ import annotations

from importlib import resources

from ronron.servers.provision.model import File, Part

METRICS = "/var/lib/ronron/metrics"
PROGRAM = "/usr/local/lib/ronron/figures.py"
SERVICE = "ronron_figures"
SECONDS = 300

# Not a timer: a service that ends is started again after a while. Nothing stays in memory between.
UNIT = f"""\
# Written by ronron apply: figures of this server for the monitoring, every five minutes.
[Unit]
Description=ronron: figures of this server
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 {PROGRAM}
Restart=always
RestartSec={SECONDS}
Nice=10
IOSchedulingClass=idle
NoNewPrivileges=yes
PrivateTmp=yes
IPAddressDeny=any
IPAddressAllow=localhost
RestrictAddressFamilies=AF_INET AF_UNIX AF_NETLINK
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={METRICS}

[Install]
WantedBy=multi-user.target
"""


def part() -> Part:
    """The folder, the program, and the service that runs it."""
    program = resources.files("ronron.servers.provision").joinpath("figures.py").read_text()
    why = "for the monitoring"
    return Part(
        folders=(("/var/lib/ronron", 0o700), (METRICS, 0o755), ("/usr/local/lib/ronron", 0o755)),
        files=(
            File(PROGRAM, program, why=why),
            File(f"/etc/systemd/system/{SERVICE}.service", UNIT, why=why),
        ),
        services=(SERVICE,),
    )

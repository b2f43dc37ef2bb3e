"""The journal of every server: it loses no line, takes so much disk, and forgets in time.

Docker logs to it, so that all of a server's log lines are in one place; the containers' too.
"""

from __future__ import annotations

from ronron.servers.provision.model import File, Part

FOLDER = "/etc/systemd/journald.conf.d"
PATH = f"{FOLDER}/zz-ronron.conf"
"""After the distribution's own, which forwards everything to syslog: the last name wins."""
SIZE = "1G"

# Without a limit of lines: that of a busy container is Docker's, and the proxy's log as well.
_SETTINGS = """\
# Written by ronron apply: no line is dropped, and none is kept longer than the log store keeps it.
[Journal]
Storage=persistent
RateLimitIntervalSec=0
RateLimitBurst=0
SystemMaxUse={size}
MaxFileSec=1day
MaxRetentionSec={days}day
ForwardToSyslog=no
"""


def part(days: int) -> Part:
    """The journal's settings; what is older than `days` is deleted."""
    return Part(
        folders=((FOLDER, 0o755),),
        files=(
            File(
                PATH,
                _SETTINGS.format(size=SIZE, days=days),
                why="no line is lost, and none kept for too long",
                then=("systemctl", "restart", "systemd-journald"),
            ),
        ),
    )

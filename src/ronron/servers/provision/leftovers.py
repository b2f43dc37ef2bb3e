"""What Docker leaves of its networks when it is stopped in haste, taken away before it starts.

While it starts no container runs, so whatever is there of overlay networks is of its last life. It
does not clear all of that itself: where an interface with a network's number is left, no container
of that network starts on the server any more ("error creating vxlan interface: file exists",
Docker 26.1.5, seen when it was stopped on a busy server).
"""

from __future__ import annotations

from ronron.servers.provision.model import File, Part

PROGRAM = "/usr/local/lib/ronron/clear-networks.sh"
UNIT = "/etc/systemd/system/docker.service.d/60-ronron-networks.conf"

_PROGRAM = """\
#!/bin/sh
# Written by ronron apply: what is left of Docker's overlay networks, before it starts.
for space in /run/docker/netns/1-*; do
    [ -e "$space" ] || continue
    umount -l "$space" 2>/dev/null
    rm -f "$space"
done
for link in /sys/class/net/vx-*-* /sys/class/net/ov-*-*; do
    [ -e "$link" ] || continue
    ip link delete "${link##*/}"
done
exit 0
"""

_UNIT = f"""\
# Written by ronron apply: Docker starts without what it left of its networks.
[Service]
ExecStartPre=-/bin/sh {PROGRAM}
"""


def part() -> Part:
    """The program, and that Docker's unit runs it; that unit is not restarted for it."""
    why = "Docker's networks start anew with it"
    return Part(
        folders=tuple((path.rpartition("/")[0], 0o755) for path in (PROGRAM, UNIT)),
        files=(
            File(PROGRAM, _PROGRAM, why=why),
            File(UNIT, _UNIT, why=why, then=("systemctl", "daemon-reload")),
        ),
    )

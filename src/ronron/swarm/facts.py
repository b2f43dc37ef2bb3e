"""What only a server itself knows of its place in the swarm, read in one round trip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ronron.errors import OperatorError
from ronron.servers.runner import Runner

# Runs on the server; prints one JSON object. `interface` is the one of the default route.
_SCRIPT = """
import json, os, subprocess
facts = {"swarm": None, "interface": None, "mtu": 1500, "folders": [],
         "interfaces": sorted(os.listdir("/sys/class/net"))}
try:
    info = ["docker", "info", "--format", "{{json .Swarm}}"]
    done = subprocess.run(info, capture_output=True, timeout=30)
    facts["swarm"] = json.loads(done.stdout) if done.returncode == 0 else None
except (OSError, ValueError, subprocess.TimeoutExpired):
    pass
with open("/proc/net/route") as routes:
    for line in routes.readlines()[1:]:
        name, destination, _, flags = line.split()[:4]
        if destination == "00000000" and int(flags, 16) & 2:
            facts["interface"] = name
            break
wanted = INTERFACE or facts["interface"]
if wanted and os.path.exists("/sys/class/net/%s/mtu" % wanted):
    facts["interface"] = wanted
    with open("/sys/class/net/%s/mtu" % wanted) as mtu:
        facts["mtu"] = int(mtu.read())
root = "/srv/ronron/volumes"
for app in sorted(os.listdir(root)) if os.path.isdir(root) else []:
    folder = os.path.join(root, app)
    if os.path.isdir(folder):
        facts["folders"] += [os.path.join(folder, volume) for volume in os.listdir(folder)]
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class ServerFacts:
    """A server's part in a swarm, its link, and the folders of volumes that it has.

    `swarm_state` is the engine's own word (`inactive`, `pending`, `active`, `error`, `locked`), or
    `absent` where no engine answers. `mtu` is the link's, in bytes.
    """

    swarm_state: str
    node_id: str
    manager: bool
    interface: str
    mtu: int
    folders: frozenset[str]


def read(runner: Runner, interface: str | None = None) -> ServerFacts:
    """Ask the server; `interface` is the network interface to look at instead of the usual one.

    Raises OperatorError when the server has no such interface.
    """
    script = f"INTERFACE = {interface!r}\n{_SCRIPT}"
    done = runner.run(["python3", "-"], stdin=script.encode(), timeout=60)
    answer = json.loads(done.stdout)
    if interface and interface not in answer["interfaces"]:
        raise OperatorError(
            f"{runner.name} has no network interface {interface}",
            remedy=f"ronron.yml: network.interface: one of {', '.join(answer['interfaces'])}",
        )
    return parse(answer)


def parse(answer: Mapping[str, object]) -> ServerFacts:
    """Build the facts from what the script printed."""
    swarm = answer["swarm"]
    folders = answer["folders"]
    if not isinstance(swarm, dict):
        swarm = {"LocalNodeState": "absent"}
    assert isinstance(folders, list)  # noqa: S101 - our own script wrote it
    return ServerFacts(
        swarm_state=str(swarm["LocalNodeState"]),
        node_id=str(swarm.get("NodeID", "")),
        manager=bool(swarm.get("ControlAvailable")),
        interface=str(answer["interface"] or ""),
        mtu=int(str(answer["mtu"])),
        folders=frozenset(map(str, folders)),
    )

"""What only a server itself knows of its place in the swarm, read in one round trip."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from ronron.catalog.stack import SHARED
from ronron.errors import OperatorError, ServerError
from ronron.servers import gluster
from ronron.servers.defend import facts as defence_facts
from ronron.servers.defend.facts import Defence
from ronron.servers.gluster import GlusterFacts
from ronron.servers.runner import Runner
from ronron.site.userns import FIRST_ID, data_folder
from ronron.swarm import quotas

KEPT = ("backups",)
"""Files of `/var/lib/ronron` in which the manager's jobs keep what they saw."""

PATIENCE = 60
"""How many seconds Docker may take to say what it is."""

SILENT = "silent"
"""Stands for what the engine says of its swarm when it took longer."""

NEW = "new"
"""Stands for the folder of a volume that is still to be made, below that of all volumes."""

# Runs on the server; prints one JSON object. `interface` is the one of the default route.
_SCRIPT = """
import json, os, platform, pwd, subprocess, sys, time
facts = {"swarm": None, "interface": None, "mtu": 1500, "folders": [],
         "interfaces": sorted(os.listdir("/sys/class/net"))}
try:
    info = ["docker", "info", "--format", "{{json .Swarm}}"]
    done = subprocess.run(info, capture_output=True, timeout=PATIENCE)
    facts["swarm"] = json.loads(done.stdout) if done.returncode == 0 else None
except subprocess.TimeoutExpired:
    facts["swarm"] = {"LocalNodeState": SILENT}
except (OSError, ValueError):
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
def folders(root, seconds):
    # By a process of its own: a shared file system that does not answer keeps who asks waiting.
    find = ["find", root, "-mindepth", "2", "-maxdepth", "2", "-type", "d", "-print0"]
    try:
        done = subprocess.run(find, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    return sorted(filter(None, done.stdout.decode("utf-8", "surrogateescape").split("\\0")))
facts["folders"] = folders("/srv/ronron/volumes", None)
facts["owners"] = sorted({os.stat(p).st_uid for p in facts["folders"] if os.path.exists(p)})
# What Docker keeps of its place in a swarm, running or not, and empties when it leaves.
facts["placed"] = [one for one, kept in PLACES if os.path.isdir(kept) and os.listdir(kept)]
if USERNS:
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]
    facts["namespaces"] = not subprocess.run(words, capture_output=True).returncode
facts["quotas"], facts["unlimited"] = {}, {}
def limits(root, found):
    # And of a volume that is still to be made.
    for path in [root + "/" + NEW, *found]:
        try:
            if why := unable(path):
                facts["unlimited"][path] = why
            elif size := limit(path):
                facts["quotas"][path] = size
        except OSError as error:
            facts["unlimited"][path] = str(error)
limits("/srv/ronron/volumes", facts["folders"])
with open("/proc/self/mountinfo") as mounts:
    lines = [line.partition(" - ") for line in mounts]
place = "/srv/ronron/shared"
kinds = [about.split()[0] for mount, _, about in lines if mount.split()[4] == place]
facts["shared_by"] = "glusterfs" if "fuse.glusterfs" in kinds else "nfs" if kinds else ""
shared = folders(place, 20) if kinds else []
facts["folders"] += shared or []
# Only where they are a folder of the server's own can shared files be limited.
if kinds and kinds[-1] not in ("autofs", "nfs4", "fuse.glusterfs"):
    limits(place, shared or [])
else:
    facts["unlimited"][place] = "shared storage has none"
facts["shared"] = "absent" if not kinds else "silent" if shared is None else "mounted"
def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
def pairs(path):
    return dict(line.split("=", 1) for line in read(path).splitlines() if "=" in line)
state, volume = "/var/lib/glusterd", "/var/lib/glusterd/vols/ronron"
def entries(path):
    names = os.listdir(path) if os.path.isdir(path) else []
    return [pairs(os.path.join(path, name)) for name in names]
facts["gluster"] = {"id": pairs(state + "/glusterd.info").get("UUID", ""),
    "peers": sorted(one.get("uuid", "") for one in entries(state + "/peers")),
    "bricks": {one.get("hostname", ""): one.get("uuid", "") for one in entries(volume + "/bricks")},
    "info": {key: value for key, value in pairs(volume + "/info").items() if key != "password"},
    "data": os.path.isdir("/srv/ronron/bricks/files/.glusterfs")}
def link(path):
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else ""
facts["python"] = "%d.%d" % sys.version_info[:2]
facts["machine"] = platform.machine()
facts["drills"] = read("/var/lib/ronron/drills.json")
facts["carried"] = carried = {"program": link("/opt/ronron/current"),
    "version": read("/opt/ronron/current/VERSION"), "site": link("/var/lib/ronron/site"),
    "ssh_key": " ".join(read("/var/lib/ronron/ssh/id_ed25519.pub").split()[:2]),
    "recipient": read("/var/lib/ronron/identity").partition("public key: ")[2].partition("\\n")[0],
    "units": {}, "authorized": []}
facts["kept"] = {name: read("/var/lib/ronron/%s.json" % name) for name in KEPT}
restoring = "/var/lib/ronron/restoring"
facts["kept"]["restoring"] = " ".join(os.listdir(restoring) if os.path.isdir(restoring) else [])
units = "/etc/systemd/system"
for name in sorted(os.listdir(units)) if os.path.isdir(units) else []:
    if name.startswith("ronron-") and os.path.isfile(os.path.join(units, name)):
        on = name.endswith(".service") or os.path.islink(units + "/timers.target.wants/" + name)
        carried["units"][name] = read(os.path.join(units, name)) if on else ""
try:
    home = pwd.getpwnam(USER).pw_dir
except KeyError:
    home = "/root"
marked = read(home + "/.ssh/authorized_keys").splitlines()
carried["authorized"] = [one for one in marked if " ronron-manager " in one]
facts["clock"] = time.time()
facts["defence"] = look_at_defence()
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Carried:
    """What a server has of ronron itself: digests of program and site, its own public keys, its
    units' texts by name (empty: not enabled), and the managers' lines in `authorized_keys`."""

    program: str = ""
    version: str = ""
    site: str = ""
    ssh_key: str = ""
    recipient: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    authorized: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerFacts:
    """A server's part in a swarm, its link, and the folders of volumes that it has.

    `swarm_state` is the engine's own word (`inactive`, `pending`, `active`, `error`, `locked`), or
    `absent` where no engine answers. `mtu` is the link's, in bytes. `python` is the version of
    its Python, `3.13`. `drills` is the text of the file that tells of the last drills. `shared`
    says whether the shared storage is `mounted`, `absent`, or does not answer: `silent`;
    `shared_by` which it is, `nfs` or `glusterfs`, empty for none. `kept` has
    the texts of the files in which jobs keep what they saw, by name, and under `restoring` the
    names of the files of restores that are not done. `ahead` is by how many seconds its clock is
    ahead of this computer's, a second or two aside.
    `quotas` are limits of folders, in bytes; `unlimited` says of the others why they can have none,
    and of the folder of shared files where that is another's.
    `placed` has what containers' 0 is on the server in the swarm that its Docker is in, running or
    not; of two, one was left behind. `namespaces` says whether its kernel lets containers have
    users apart from the server's, where that was asked. `owners` has those of volumes' folders.
    """

    swarm_state: str
    node_id: str
    manager: bool
    interface: str
    mtu: int
    folders: frozenset[str]
    python: str = ""
    machine: str = ""
    carried: Carried = Carried()
    drills: str = ""
    shared: str = "absent"
    shared_by: str = ""
    gluster: GlusterFacts = field(default_factory=GlusterFacts)
    kept: Mapping[str, str] = field(default_factory=dict)
    ahead: float = 0.0
    defence: Defence = field(default_factory=Defence)
    quotas: Mapping[str, int] = field(default_factory=dict)
    unlimited: Mapping[str, str] = field(default_factory=dict)
    placed: frozenset[int] = frozenset()
    namespaces: bool = False
    owners: frozenset[int] = frozenset()

    def cannot_limit(self, path: str) -> str:
        """Why the folder of a volume, there or not yet, can have no quota; empty if it can."""
        if path.startswith(SHARED) and SHARED in self.unlimited:
            return self.unlimited[SHARED]
        new = PurePosixPath(path).parent.parent / NEW
        return self.unlimited.get(path if path in self.folders else str(new), "")


def read(
    runner: Runner,
    interface: str | None = None,
    user: str = "root",
    *,
    userns_remap: bool = False,
) -> ServerFacts:
    """Ask the server; `interface` is the network interface to look at instead of the usual one,
    `user` whom managers log in as. With `userns_remap` its kernel is asked for namespaces too.

    Raises OperatorError when the server has no such interface, ServerError when its Docker is there
    and does not answer: nothing could be said of its place in the swarm.
    """
    given = f"PATIENCE = {PATIENCE!r}\nSILENT = {SILENT!r}\n"
    given += f"INTERFACE = {interface!r}\nUSER = {user!r}\nKEPT = {KEPT!r}\nNEW = {NEW!r}\n"
    places = [(first, f"{data_folder(first)}/swarm") for first in (0, FIRST_ID)]
    given += f"USERNS = {userns_remap!r}\nPLACES = {places!r}\n"
    script = f"{defence_facts.program()}\n{quotas.functions()}\n{given}{_SCRIPT}"
    done = runner.run(["python3", "-"], stdin=script.encode(), timeout=2 * PATIENCE)
    answer = json.loads(done.stdout)
    if interface and interface not in answer["interfaces"]:
        raise OperatorError(
            f"{runner.name} has no network interface {interface}",
            remedy=f"ronron.yml: network.interface: one of {', '.join(answer['interfaces'])}",
        )
    facts = parse(answer)
    if facts.swarm_state == SILENT:
        raise ServerError(
            runner.name,
            f"Docker does not answer within {PATIENCE} s",
            remedy=f"see why on {runner.name}: journalctl -u docker",
        )
    # It looks at its clock last: what came before does not count.
    return replace(facts, ahead=round(answer["clock"] - time.time(), 1))


def parse(answer: Mapping[str, object]) -> ServerFacts:
    """Build the facts from what the script printed."""
    swarm = answer["swarm"]
    folders = answer["folders"]
    # Where no engine answers, Docker's client may fail, or tell of a swarm without a state.
    if not isinstance(swarm, dict) or not swarm.get("LocalNodeState"):
        swarm = {"LocalNodeState": "absent"}
    assert isinstance(folders, list)  # noqa: S101 - our own script wrote it
    return ServerFacts(
        swarm_state=str(swarm["LocalNodeState"]),
        node_id=str(swarm.get("NodeID", "")),
        manager=bool(swarm.get("ControlAvailable")),
        interface=str(answer["interface"] or ""),
        mtu=int(str(answer["mtu"])),
        folders=frozenset(map(str, folders)),
        python=str(answer.get("python", "")),
        machine=str(answer.get("machine", "")),
        carried=_carried(answer.get("carried")),
        drills=str(answer.get("drills", "")),
        shared=str(answer.get("shared", "absent")),
        shared_by=str(answer.get("shared_by", "")),
        gluster=gluster.parse(told)
        if isinstance(told := answer.get("gluster"), dict)
        else GlusterFacts(),
        kept=_texts(answer.get("kept")),
        defence=_defence(answer.get("defence")),
        quotas=_mapping(answer.get("quotas")),
        unlimited=_mapping(answer.get("unlimited")),
        placed=_numbers(answer.get("placed")),
        namespaces=bool(answer.get("namespaces")),
        owners=_numbers(answer.get("owners")),
    )


def _numbers(answer: object) -> frozenset[int]:
    return frozenset(answer) if isinstance(answer, list) else frozenset()


def _texts(answer: object) -> Mapping[str, str]:
    return {str(k): str(v) for k, v in answer.items()} if isinstance(answer, dict) else {}


def _defence(answer: object) -> Defence:
    return defence_facts.parse(answer) if isinstance(answer, dict) else Defence()


def _mapping(answer: object) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {}


def _carried(answer: object) -> Carried:
    if not isinstance(answer, dict):
        return Carried()
    return Carried(**{**answer, "authorized": tuple(answer["authorized"])})

"""GlusterFS: what a server tells of it, what it shall be, and the changes between them; pure.

One volume, copied whole to three servers, the *bricks*. There is no metadata server: any two of
the three go on without the third, and one alone refuses to write. All servers mount it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree

from ronron.errors import OperatorError
from ronron.servers.provision.model import File, Part, StorageAccess
from ronron.servers.runner import Runner
from ronron.site.models import Site

VOLUME = "ronron"
COPIES = 3
BRICKS = "/srv/ronron/bricks"
BRICK = f"{BRICKS}/files"
SHARED = "/srv/ronron/shared"
UNIT = "shared-storage.service"
"""Not `ronron-…`: the manager's jobs are called so, and others of that name are removed."""

STATE = "/var/lib/glusterd"
CERTIFICATE_NAME = "ronron-storage"
"""Common name of the certificate that every server of the site has, and nobody else."""

GRANULAR = "cluster.granular-entry-heal"

OPTIONS = {
    # Seconds until a server that is silent is left out: writers wait that long.
    "network.ping-timeout": "10",
    # Two of the three copies take a write, or it fails.
    "cluster.quorum-type": "auto",
    # Seconds until what a copy missed is looked for again: two servers that heal at once leave each
    # other's locked files for the next time, by default after ten minutes.
    "cluster.heal-timeout": "60",
    # Only who has the site's certificate, and all of it encrypted.
    "client.ssl": "on",
    "server.ssl": "on",
    "auth.ssl-allow": CERTIFICATE_NAME,
    # Healed folders are compared whole: an empty copy has no list of what it missed.
    GRANULAR: "disable",
}

Action = Literal["probe", "create", "replace", "heal", "option", "start", "mount"]


@dataclass(frozen=True)
class GlusterFacts:
    """What a server has of GlusterFS, from glusterd's own files.

    `id` is the server's own, empty before glusterd started there once; `peers` are the ids of the
    others that it knows. `bricks` has the id of each server that holds a copy, by name; `data` is
    whether this server's copy is there.
    """

    id: str = ""
    peers: frozenset[str] = frozenset()
    volume: str = ""
    started: bool = False
    bricks: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    data: bool = False


@dataclass(frozen=True)
class StorageChange:
    """One change of the shared storage: carried out in the order in which they are listed.

    `by` is the server that is told to make it, where that is another.
    """

    action: Action
    server: str
    item: str
    before: str | None
    after: str
    why: str = ""
    by: str = ""


def parse(answer: Mapping[str, Any]) -> GlusterFacts:
    """Build the facts from what a server's program printed."""
    return GlusterFacts(
        id=answer["id"],
        peers=frozenset(answer["peers"]),
        volume=answer["info"].get("volume-id", ""),
        started=answer["info"].get("status") == "1",
        bricks=answer["bricks"],
        options={key: answer["info"][key] for key in OPTIONS if key in answer["info"]},
        data=answer["data"],
    )


def known(seen: Mapping[str, GlusterFacts]) -> tuple[str, GlusterFacts] | None:
    """The server that knows the volume best, and what it knows; None when none does.

    It holds a copy and is who the others take it for: one that was replaced knows nothing.
    """
    own = [
        (len(facts.peers), name)
        for name, facts in seen.items()
        if facts.volume and facts.data and facts.bricks.get(name) == facts.id
    ]
    return (max(own)[1], seen[max(own)[1]]) if own else None


def bricks(site: Site) -> tuple[str, ...]:
    """The servers that hold a copy: the first three. Raises OperatorError when there are fewer."""
    if len(site.servers) < COPIES:
        raise OperatorError(
            f"ronron.yml: storage.shared: glusterfs needs {COPIES} servers, and here are "
            f"{len(site.servers)}",
            remedy="ronron server add ADDRESS, or storage.shared: nfs",
        )
    return tuple(site.servers)[:COPIES]


def part(site: Site, server: str, access: StorageAccess) -> Part:
    """What provisioning puts on a server of a site that has GlusterFS; nothing on others."""
    if site.storage.shared != "glusterfs":
        return Part()
    holds = server in bricks(site)
    why = "the shared storage"
    return Part(
        packages=("glusterfs-client", *(("glusterfs-server",) if holds else ())),
        folders=((STATE, 0o755), ("/etc/ssl", 0o755), *(((BRICKS, 0o700),) if holds else ())),
        files=(
            # Its being there makes glusterd's own port ask for the certificate too.
            File(f"{STATE}/secure-access", "", 0o644, why=why),
            File("/etc/ssl/glusterfs.ca", access.certificate, 0o644, why=why, secret=True),
            File("/etc/ssl/glusterfs.pem", access.certificate, 0o644, why=why, secret=True),
            File("/etc/ssl/glusterfs.key", access.key, 0o600, why=why, secret=True),
            File(f"/etc/systemd/system/{UNIT}", unit(bricks(site)), 0o644, why=why),
        ),
        services=("glusterd",) if holds else (),
    )


def changes(
    site: Site, seen: Mapping[str, GlusterFacts], mounted: Mapping[str, str]
) -> Iterator[StorageChange]:
    """What must change for the site's storage to be as declared.

    `seen` and `mounted` have the servers that answered; the others are left alone.
    """
    if site.storage.shared != "glusterfs":
        return
    wanted, found = bricks(site), known(seen)
    if found is None:
        yield from _new(wanted, seen)
    else:
        yield from _settings(*found)
    yield from _mounts(mounted)
    if found is not None:
        yield from _members(wanted, *found, seen)  # through a mount


def _mounts(mounted: Mapping[str, str]) -> Iterator[StorageChange]:
    for name, state in mounted.items():
        if state == "absent":
            why = "the shared storage"
            yield StorageChange("mount", name, SHARED, None, "mounted", why, by=name)


def _new(wanted: tuple[str, ...], seen: Mapping[str, GlusterFacts]) -> Iterator[StorageChange]:
    first = wanted[0]
    peers = seen[first].peers if first in seen else frozenset()
    for name in wanted[1:]:
        if name not in seen or seen[name].id not in peers:
            yield _probe(name, first)
    copies = f"copies on {', '.join(wanted)}"
    yield StorageChange("create", first, f"storage {VOLUME}", None, copies, by=first)


def _probe(name: str, by: str) -> StorageChange:
    return StorageChange("probe", name, "storage peer", None, f"of {by}", by=by)


def _members(
    wanted: tuple[str, ...], best: str, facts: GlusterFacts, seen: Mapping[str, GlusterFacts]
) -> Iterator[StorageChange]:
    gone = [name for name in facts.bricks if name not in wanted]
    item = "copy of the shared files"
    for name in wanted:
        if name not in seen:
            continue
        if name not in facts.bricks:
            if seen[name].id not in facts.peers:
                yield _probe(name, best)
            why = f"{gone[0]} is no longer declared"
            yield StorageChange("replace", name, item, gone.pop(0), name, why, by=best)
        elif seen[name].id != facts.bricks[name] or not seen[name].data:
            yield StorageChange("heal", name, item, None, f"as on {best}", "it has none", by=best)


def _settings(best: str, facts: GlusterFacts) -> Iterator[StorageChange]:
    if not facts.started:
        yield StorageChange("start", best, f"storage {VOLUME}", "stopped", "started", by=best)
    for option, value in OPTIONS.items():
        if (before := facts.options.get(option)) != value:
            yield StorageChange("option", best, f"storage option {option}", before, value, by=best)


@dataclass(frozen=True)
class Copy:
    """One of the three copies: whether its server is connected, and how many files are behind.

    `behind` and `split` are None where it is not connected. `split` files differ in a way that
    nobody but the operator can decide; with two of three for each write there are none.
    """

    server: str
    connected: bool
    behind: int | None
    split: int | None


def copies(runner: Runner) -> tuple[Copy, ...]:
    """The three copies as a server that holds one sees them: rows of `ronron storage status`.

    Raises ServerError when GlusterFS does not answer there.
    """
    done = runner.run(command("volume", "heal", VOLUME, "info", "summary", "--xml"), timeout=60)
    found = []
    for brick in ElementTree.fromstring(done.stdout).iter("brick"):  # noqa: S314 - of its own tool
        pending, split = (
            brick.findtext(f"numberOfEntriesIn{what}", "-")
            for what in ("HealPending", "SplitBrain")
        )
        connected = brick.findtext("status") == "Connected"
        found.append(
            Copy(
                brick.findtext("name", "").partition(":")[0],
                connected,
                int(pending) if pending.isdigit() else None,
                int(split) if split.isdigit() else None,
            )
        )
    return tuple(found)


def command(*words: str) -> list[str]:
    """The argv of GlusterFS' own program, which then asks nothing."""
    return ["gluster", "--mode=script", *words]


def create(servers: tuple[str, ...]) -> list[str]:
    """The argv that makes the volume.

    `force`: bricks may be on the disk of the system, as everything of ronron may.
    """
    where = [f"{server}:{BRICK}" for server in servers]
    return command("volume", "create", VOLUME, "replica", str(COPIES), *where, "force")


def set_option(option: str, value: str) -> list[str]:
    """The argv that sets an option of the volume."""
    if option == GRANULAR:  # which `volume set` refuses
        return command("volume", "heal", VOLUME, option.partition(".")[2], value)
    return command("volume", "set", VOLUME, option, value)


def peer_files(name: str, members: Mapping[str, str]) -> dict[str, str]:
    """glusterd's files, by path, on a server that takes the place of one of its name.

    `members` has the ids of all that hold a copy, by name: its own becomes that of the lost one.
    """
    return {
        f"{STATE}/peers/{uuid}": f"uuid={uuid}\nstate=3\nhostname1={other}\n"
        for other, uuid in members.items()
        if other != name
    }


def unit(servers: tuple[str, ...]) -> str:
    """The systemd unit that mounts the volume, told of by any of `servers`.

    A unit of its own and no fstab: whenever the program ends, however it does, it is started again.
    What is beneath the mount belongs to nobody and cannot be written, so that nothing is there
    while it is not mounted.
    """
    asked = " ".join(f"--volfile-server={server}" for server in servers)
    pid = "/run/shared-storage.pid"
    return f"""\
# Written by ronron apply.
[Unit]
Description=The site's shared storage
Wants=network-online.target
After=network-online.target glusterd.service
Before=docker.service
StartLimitIntervalSec=0

[Service]
Type=forking
PIDFile={pid}
ExecStartPre=-/bin/umount --lazy {SHARED}
ExecStartPre=-/usr/bin/install -d -m 0000 {SHARED}
ExecStartPre=-/usr/bin/chattr +i {SHARED}
ExecStart=/usr/sbin/glusterfs {asked} --volfile-id=/{VOLUME} --pid-file={pid} {SHARED}
ExecStopPost=-/bin/umount --lazy {SHARED}
TimeoutStartSec=90
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""

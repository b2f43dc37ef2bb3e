"""Carrying out changes of the site's GlusterFS: members, the volume, and where it is mounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ronron.events import Report, step
from ronron.plan.observe import Reality
from ronron.servers import gluster
from ronron.servers.gluster import BRICK, SHARED, STATE, UNIT, VOLUME, GlusterFacts, StorageChange
from ronron.servers.runner import Runner
from ronron.site.models import Site
from ronron.swarm.volumes import require_mount
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from ronron.plan.session import Session

SECONDS = 300.0

# Makes glusterd take the id of the server whose place this one has, before it is started again.
_BECOME = """
import pathlib, re, sys
path, uuid = pathlib.Path(sys.argv[1]), sys.argv[2]
path.write_text(re.sub("(?m)^UUID=.*$", "UUID=" + uuid, path.read_text()))
"""
# Marks an empty folder as the volume's copy, as `gluster volume create` does.
_MARK = """
import os, sys, uuid
os.makedirs(sys.argv[1] + "/.glusterfs/indices", mode=0o700, exist_ok=True)
os.setxattr(sys.argv[1], "trusted.glusterfs.volume-id", uuid.UUID(sys.argv[2]).bytes)
"""
# Changes the volume's root, so that the copies that are there note what the missing one has missed.
_NOTE = """
import os, sys
root = sys.argv[1]
os.makedirs(root + "/.healing", exist_ok=True)
os.rmdir(root + "/.healing")
os.setxattr(root, "trusted.ronron.healing", b"1")
os.removexattr(root, "trusted.ronron.healing")
"""


@dataclass(frozen=True)
class Storage:
    """The site, what its servers told of GlusterFS, and how they are reached."""

    site: Site
    seen: Mapping[str, GlusterFacts]
    runners: Mapping[str, Runner]


def changes_of(site: Site, reality: Reality) -> tuple[StorageChange, ...]:
    """What must change for the storage of `site` to be as declared."""
    seen = {name: facts.gluster for name, facts in reality.facts.items()}
    mounted = {name: facts.shared for name, facts in reality.facts.items()}
    return tuple(gluster.changes(site, seen, mounted))


def bring(session: Session, reality: Reality) -> None:
    """Bring the site's storage to what is declared. `reality` is from after provisioning."""
    seen = {name: facts.gluster for name, facts in reality.facts.items()}
    storage = Storage(session.loaded.site, seen, session.servers)
    for change in changes_of(storage.site, reality):
        carry_out(change, storage, session.report)


def carry_out(change: StorageChange, storage: Storage, report: Report) -> None:
    """Carry out one change. Raises RonronError with what GlusterFS said."""
    runner, by = storage.runners[change.server], storage.runners[change.by]
    with step(report, f"{change.item}: {change.after}", change.server):
        match change.action:
            case "probe":
                by.run(gluster.command("peer", "probe", change.server))
            case "create":
                _create(runner, storage)
            case "option":
                option = change.item.rpartition(" ")[2]
                by.run(gluster.set_option(option, change.after))
            case "start":
                by.run(gluster.command("volume", "start", VOLUME))
            case "replace":
                old, new = (f"{name}:{BRICK}" for name in (change.before, change.server))
                replace = ("volume", "replace-brick", VOLUME, old, new, "commit", "force")
                _patiently(by, gluster.command(*replace))
                by.run(gluster.command("peer", "detach", str(change.before), "force"), check=False)
            case "heal":
                _heal(change.server, runner, by, storage)
            case "mount":
                runner.run(["systemctl", "daemon-reload"])
                runner.run(["systemctl", "enable", UNIT])
                runner.run(["systemctl", "restart", UNIT])
                runner.run(["chmod", "0711", SHARED])


def _patiently(runner: Runner, argv: list[str]) -> None:
    """Run what is refused until all peers have heard of each other."""
    try:
        until(lambda: runner.run(argv, check=False).status == 0, SECONDS, " ".join(argv[2:4]))
    except BaseException:
        runner.run(argv)  # says why
        raise


def _create(first: Runner, storage: Storage) -> None:
    wanted = gluster.bricks(storage.site)
    # Until another asked for it, the first is known by its address alone.
    storage.runners[wanted[1]].run(gluster.command("peer", "probe", wanted[0]))
    _patiently(first, gluster.create(wanted))
    before = {key: value for key, value in gluster.OPTIONS.items() if key != gluster.GRANULAR}
    for option, value in before.items():
        first.run(gluster.set_option(option, value))
    first.run(gluster.command("volume", "start", VOLUME))
    first.run(gluster.set_option(gluster.GRANULAR, gluster.OPTIONS[gluster.GRANULAR]))


def _heal(name: str, runner: Runner, by: Runner, storage: Storage) -> None:
    """Make a server that is new, or has an empty disk, the holder of its copy again."""
    found = gluster.known(storage.seen)
    assert found is not None  # noqa: S101 - there is no such change without it
    facts = found[1]
    if storage.seen[name].id != facts.bricks[name]:
        runner.run(["systemctl", "stop", "glusterd"])
        runner.run(["python3", "-c", _BECOME, f"{STATE}/glusterd.info", facts.bricks[name]])
        for path, text in gluster.peer_files(name, facts.bricks).items():
            runner.put(path, text.encode(), mode=0o600, folder=0o755)
        # Its unit forbids a sixth start within an hour.
        runner.run(["systemctl", "reset-failed", "glusterd"], check=False)
        runner.run(["systemctl", "start", "glusterd"])
        info = ["test", "-f", f"{STATE}/vols/{VOLUME}/info"]
        until(
            lambda: runner.run(info, check=False).status == 0,
            SECONDS,
            f"{name} to hear of the storage from its peers",
        )
    # One that serves a folder which is gone would take what is noted here for done.
    runner.run(["pkill", "-f", f"brick-name [/]{BRICK[1:]}"], check=False)
    require_mount(by, SHARED)
    by.run(["python3", "-c", _NOTE, SHARED])
    runner.run(["python3", "-c", _MARK, BRICK, facts.volume])
    _patiently(by, gluster.command("volume", "start", VOLUME, "force"))

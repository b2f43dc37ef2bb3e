"""The folders of an app's volumes: which server has them, and that they exist there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from ronron.catalog.stack import SHARED, VOLUMES, Volume
from ronron.errors import OperatorError, RonronError
from ronron.events import Report, step
from ronron.servers.copying.aside import remove_aside_command, remove_command
from ronron.servers.runner import Runner
from ronron.swarm import nodes, quotas
from ronron.swarm.state import Node, SwarmState
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

FORGET_SECONDS = 60


def place(volumes: Iterable[Volume], swarm: SwarmState) -> dict[Volume, str]:
    """Say which server holds each volume.

    Volumes of files are on the storage server; shared ones are made there, or, while it is down,
    by any other. A database stays where it is; a new one goes
    beside the app's other volumes, and without any to the ready server that holds the fewest,
    workers before managers. Raises RonronError when there is no server for one.
    """
    placed: dict[Volume, str] = {}
    ready = [node for node in swarm.nodes if node.ready]

    def fixed_first(volume: Volume) -> tuple[bool, bool]:
        # Files are where the storage is, and a database stays; new databases go beside them.
        return volume.kind == "database", not swarm.with_label(volume.label)

    for volume in sorted(volumes, key=fixed_first):
        holders = swarm.with_label(volume.label)
        if volume.shared:
            holders = (*(node for node in holders if node.ready), *ready)
        elif not holders and volume.kind == "database":
            local = {name for volume, name in placed.items() if not volume.shared}
            beside = [node for node in swarm.nodes if node.name in local]
            holders = tuple(beside) or _least_used(swarm)
        if not holders:
            raise RonronError(
                f"{volume.app}: no server can hold the volume {volume.name}",
                remedy="ronron status shows which servers are ready",
            )
        placed[volume] = holders[0].name
    return placed


def _least_used(swarm: SwarmState) -> tuple[Node, ...]:
    held = Counter(
        node.name for node in swarm.nodes for key in node.labels if key.startswith("ronron.volume.")
    )
    ready = [node for node in swarm.nodes if node.ready and node.availability == "active"]
    return tuple(sorted(ready, key=lambda n: (held[n.name], n.role == "manager", n.name)))


def folder_commands(volume: Volume) -> list[list[str]]:
    """The commands that make a volume's folder, with its owner and mode, unless it is there."""
    # Only a subvolume of btrfs can have a quota.
    kind = 'if [ "$(stat -f -c %T -- "$1")" = btrfs ]; then btrfs subvolume create -- "$2"; fi'
    folder = f"{volume.root}/{volume.app}"
    return [
        ["install", "-d", "-m", "0711", folder],
        *(
            [["sh", "-ec", kind, "sh", folder, volume.path]]
            if volume.quota and not volume.shared
            else []
        ),
        ["install", "-d", *volume.ownership, "-m", volume.mode, volume.path],
    ]


def require_mount(runner: Runner, root: str) -> None:
    """Raise RonronError when `root` is where the shared storage should be, and is not mounted.

    What is written there then would be hidden by the mount, and on one server alone.
    """
    if root == SHARED and runner.run(["mountpoint", "-q", SHARED], check=False).status:
        raise RonronError(
            f"{runner.name}: the shared storage is not mounted at {SHARED}",
            remedy="ronron apply mounts it; ronron status shows the servers",
        )


def create(
    engine: DockerClient,
    runners: Mapping[str, Runner],
    volumes: Iterable[Volume],
    swarm: SwarmState,
    report: Report,
) -> None:
    """Make the folders of an app's `volumes`, and label the nodes that hold databases.

    All of the app's volumes are given, also those that are there: new ones go beside them.
    """
    for volume, server in place(volumes, swarm).items():
        with step(report, f"volume {volume.name}", f"{volume.app} on {server}"):
            require_mount(runners[server], volume.root)
            there = runners[server].run(["test", "-d", volume.path], check=False).status == 0
            for command in [] if there else folder_commands(volume):
                runners[server].run(command)
            if volume.quota:
                # The plan has said it where there can be none: the app comes first.
                with suppress(OperatorError):
                    quotas.set_limit(runners[server], volume)
            if volume.kind == "database" and not swarm.with_label(volume.label):
                nodes.label(engine, server, volume.label, "true")


def forget(runner: Runner, app: str) -> None:
    """Remove Docker's own entries for an app's volumes on one server; the folders stay.

    They can go only once the swarm has cleared the app's last containers away.
    """
    listing = ["docker", "volume", "ls", "-q", "--filter", f"label=ronron.app={app}"]

    def gone() -> bool:
        left = runner.run(listing, check=False).text.split()
        return not left or runner.run(["docker", "volume", "rm", *left], check=False).status == 0

    until(gone, FORGET_SECONDS, f"the containers of {app} on {runner.name} to go", pause=0.5)


def unuse(runner: Runner, names: Iterable[str]) -> None:
    """Remove Docker's own entries for volumes, by their whole names, on one server; the folders
    stay. Containers of tasks that are over go with them.

    Raises RonronError when a container still runs with one.
    """
    for name in names:
        ended = ["docker", "ps", "-aq", "--filter", f"volume={name}", "--filter", "status=exited"]
        ended += ["--filter", "status=created", "--filter", "status=dead"]

        def gone(name: str = name, ended: list[str] = ended) -> bool:
            if left := runner.run(ended, check=False).text.split():
                runner.run(["docker", "rm", *left], check=False)
            return runner.run(["docker", "volume", "rm", "-f", name], check=False).status == 0

        until(gone, FORGET_SECONDS, f"the containers with {name} on {runner.name} to go", pause=0.5)


def delete_folders(runner: Runner, app: str) -> None:
    """Delete an app's folders on one server, and the old copies of its data that are kept there."""
    for root in (VOLUMES, SHARED):
        runner.run(remove_command(f"{root}/{app}"))
        runner.run(remove_aside_command(app, root))


def delete(
    engine: DockerClient, runners: Mapping[str, Runner], app: str, swarm: SwarmState, report: Report
) -> None:
    """Delete an app's folders on every server, old copies too, and the labels of the nodes that
    held them."""
    for name, runner in runners.items():
        with step(report, "delete data", f"{app} on {name}"):
            delete_folders(runner, app)
    for node in swarm.nodes:
        for key in node.labels:
            if key.startswith((f"ronron.volume.{app}.", f"ronron.fenced.{app}.")):
                nodes.label(engine, node.name, key, None)

"""Fences: after a failover the old server's copy is out of date, and no task may use it.

The fence is a label of the old server's node, `ronron.fenced.APP.VOLUME`, with the time of the
failover. The label that lets tasks with the volume run there is gone, so that the swarm stops one
that still runs as soon as it reaches the server. Its folder is then moved aside by the next apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ronron.events import step
from ronron.plan.model import FENCED, Fence
from ronron.servers.copying.aside import aside, rename
from ronron.swarm import nodes
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

    from ronron.plan.observe import Reality
    from ronron.plan.session import Session
    from ronron.swarm.state import SwarmState

STOP_SECONDS = 120.0


def declared(swarm: SwarmState) -> Iterator[tuple[str, Fence]]:
    """Every fence that the swarm knows, with its node's id."""
    for node in swarm.nodes:
        for key, when in node.labels.items():
            if key.startswith(FENCED):
                app, _, volume = key.removeprefix(FENCED).partition(".")
                yield node.id, Fence(node.name, app, volume, when)


def changes(reality: Reality) -> Iterator[Fence]:
    """The fences on servers that are back: their copies can be moved aside."""
    for node_id, fence in declared(reality.swarm):
        facts = reality.facts.get(fence.server)
        node = reality.swarm.node(fence.server)
        if facts is None or node is None or node.id != node_id or not node.ready:
            continue
        holds = node.labels.get(f"ronron.volume.{fence.app}.{fence.volume}") == "true"
        there = fence.path in facts.folders and not holds
        yield Fence(fence.server, fence.app, fence.volume, fence.when, there)


def carry_out(session: Session, engine: DockerClient, fences: Iterable[Fence]) -> None:
    """Move the copies aside, once nothing on their servers uses them, and take the labels away.

    Raises RonronError when a container goes on using one.
    """
    for fence in fences:
        runner = session.servers[fence.server]
        users = ["docker", "ps", "-q", "--filter", f"volume={fence.app}_{fence.volume}"]
        with step(session.report, f"fence off {fence.app}'s {fence.volume}", fence.server):
            if fence.folder:
                what = f"the old containers with {fence.path} on {fence.server} to stop"
                until(lambda: not runner.run(users).text, STOP_SECONDS, what)  # noqa: B023
                rename(runner, fence.path, aside(fence.path, "fenced", fence.when))
            nodes.label(engine, fence.server, fence.label, None)

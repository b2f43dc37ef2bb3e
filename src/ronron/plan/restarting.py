"""Servers restarted one by one, each drained first: what an upgrade of the kernel needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ronron.errors import ServerError
from ronron.events import step
from ronron.plan.session import Session
from ronron.plan.unlocking import unlock
from ronron.servers.runner import Runner
from ronron.site.models import Site
from ronron.swarm import autolock, nodes, state
from ronron.swarm.engines import engine_of
from ronron.swarm.waiting import until

NEEDED = "/run/reboot-required"
"""Debian's and Ubuntu's packages leave this file when they want a restart."""

BACK_SECONDS = 600
"""How long a server may take to come back."""


def needed(session: Session) -> list[str]:
    """The servers that want a restart, in the order of restarting.

    Raises ServerError for the first that cannot be asked: with one away, another is kept.
    """
    found, failures = session.servers.on_each(
        lambda runner: runner.run(["test", "-e", NEEDED], check=False).status == 0
    )
    for error in failures.values():
        raise error
    return list(ordered(session.loaded.site, (name for name, wants in found.items() if wants)))


def ordered(site: Site, names: Iterable[str]) -> Iterator[str]:
    """Workers first, then managers, the first manager last: it may be the one that asks."""
    wanted = set(names)
    for name in sorted(site.servers, key=lambda one: (site.servers[one].is_manager, one)):
        if name in wanted and name != site.manager.name:
            yield name
    if site.manager.name in wanted:
        yield site.manager.name


def restart(session: Session, name: str) -> None:
    """Drain a server, restart it, wait until it is back, and let it have tasks again.

    The first manager is not drained: the proxy and the registry have nowhere else to go. One that
    was drained before stays so. Raises RonronError when the server does not come back; it stays
    drained then.
    """
    runner, report = session.servers[name], session.report
    drains = name != session.loaded.site.manager.name and not _is_drained(session, name)
    if drains:
        nodes.drain(session.manager, name, report)
    with step(report, "restart", name):
        before = started(runner)
        runner.run(["systemctl", "reboot"], check=False)

        def back() -> bool:
            try:
                return started(runner) != before
            except ServerError:
                return False

        until(back, BACK_SECONDS, f"{name} to come back")
    if session.loaded.site.docker.autolock:
        until(lambda: bool(autolock.state_of(runner)), BACK_SECONDS, f"Docker on {name}")
        unlock(session, [name])
    if drains:
        nodes.activate(session.manager, name, report)


def _is_drained(session: Session, name: str) -> bool:
    with engine_of(session.manager) as engine:
        node = state.observe(engine).node(name)
    return node is not None and node.availability != "active"


def started(runner: Runner) -> str:
    """What is another after each start of the server."""
    boot = runner.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout=20).text
    # In a container the first is the host's.
    shown = ["systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value"]
    return f"{boot} {runner.run(shown, timeout=20).text}"

"""Servers restarted one by one, each drained first: what an upgrade of the kernel needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ronron.errors import RonronError, ServerError
from ronron.events import Event, step
from ronron.plan import monitoring
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

SEEN_SECONDS = 120
"""How long the monitoring may take to see that it is back."""


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
    was drained before stays so. Nobody is told of alerts of the server meanwhile. Raises
    RonronError when the server does not come back; it stays drained then.
    """
    runner, report = session.servers[name], session.report
    drains = name != session.loaded.site.manager.name and not _is_drained(session, name)
    if drains:
        nodes.drain(session.manager, name, report)
    with step(report, "restart", name):
        before = started(runner)
        silence = _silence(session, name, BACK_SECONDS)
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
    if silence:
        _silence(session, name, SEEN_SECONDS, instead=silence)


def _silence(session: Session, name: str, seconds: int, instead: str = "") -> str:
    """Silence the server's alerts, `instead` of a silence that ends; returns the new one's id.

    It is empty where there is no monitoring, and where that does not answer, which is told.
    """
    loaded = session.loaded
    if not any(app.recipe == monitoring.RECIPE for app in loaded.apps.values()):
        return ""
    made, why = "", "ronron server restart"
    try:
        made = monitoring.silence(session, {"server": name}, f"{seconds}s", "ronron", why)
        if instead:
            monitoring.unsilence(session, instead)
    except RonronError as error:
        session.report(Event("restart", name, detail=f"its alerts are not silenced: {error}"))
    return made


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

"""The swarm's nodes: who is in, with which role and labels, and how that becomes so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ronron.errors import OperatorError, RonronError, ServerError
from ronron.events import Report, step
from ronron.servers.runner import Runner
from ronron.site.models import Server, Site
from ronron.swarm import autolock, gateway, state
from ronron.swarm.engines import engine_of
from ronron.swarm.facts import ServerFacts
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

ADDRESS_POOL = "10.192.0.0/12"
"""Where the apps' own overlay networks get their addresses: apart from the ranges that providers
commonly give to private networks between servers."""

SWARM_PORT = 2377
DRAIN_SECONDS = 180
JOIN_SECONDS = 60
ROLE_SECONDS = 120
COME_BACK_SECONDS = 20
UPDATES = 10
"""How often a change of a node is tried while others change it too."""

Action = Literal["init", "join", "rejoin", "role", "label", "activate", "remove", "autolock"]


@dataclass(frozen=True)
class NodeChange:
    """One change of the swarm's membership: carried out in the order in which they are listed."""

    action: Action
    server: str
    item: str
    before: str | None
    after: str | None
    why: str


def labels_of(server: Server, site: Site) -> dict[str, str]:
    """The labels that a server's node should bear."""
    labels = {f"{key}": value for key, value in server.labels.items()}
    if server.name == site.manager.name:
        labels |= {"ronron.proxy": "true", "ronron.registry": "true"}
    if server.name == site.storage_server.name:
        labels["ronron.storage"] = "true"
    return labels


def changes(
    site: Site, swarm: state.SwarmState, facts: Mapping[str, ServerFacts]
) -> Iterator[NodeChange]:
    """What must change for the swarm to have the declared members; pure.

    `facts` has the servers that answered; the others are left alone. So are all where the swarm
    `is_unseen`: it is not known who its members are.
    """
    first = site.manager.name
    if is_unseen(site, swarm, facts):
        return
    if not swarm.present:
        yield NodeChange("init", first, "swarm", None, "initialised", "no swarm yet")
    # Managers join before workers, so that a promotion is never needed for a new server.
    for server in sorted(site.servers.values(), key=lambda item: not item.is_manager):
        if server.name in facts:
            yield from _member(site, server, swarm, facts[server.name])
    if swarm.autolock is not site.docker.autolock:
        before, after = (("off", "on")[on] for on in (swarm.autolock, site.docker.autolock))
        yield NodeChange("autolock", first, "autolock", before, after, "ronron.yml says so")
    for node in swarm.nodes:
        if node.name not in site.servers:
            why = "no longer declared in ronron.yml"
            yield NodeChange("remove", node.name, "node", node.role, None, why)


def is_unseen(site: Site, swarm: state.SwarmState, facts: Mapping[str, ServerFacts]) -> bool:
    """Whether there may be a swarm that could not be seen: the first manager did not answer, or has
    a place in one and does not manage it now."""
    first = site.manager.name
    return not swarm.present and (first not in facts or _has_place(facts[first]))


def _has_place(facts: ServerFacts) -> bool:
    """Whether a server belongs to a swarm, which its Docker may not say while it starts."""
    absent = facts.swarm_state == "absent" and bool(facts.placed)
    return absent or facts.swarm_state in ("pending", "active")


def _member(
    site: Site, server: Server, swarm: state.SwarmState, facts: ServerFacts
) -> Iterator[NodeChange]:
    name, role = server.name, "manager" if server.is_manager else "worker"
    node = swarm.node(name)
    if name == site.manager.name and not swarm.present:
        pass
    elif node is None:
        yield NodeChange("join", name, "node", None, role, "not in the swarm")
    elif facts.node_id != node.id or facts.swarm_state in ("inactive", "error"):
        yield NodeChange("rejoin", name, "node", facts.swarm_state, role, "lost its place")
    elif not node.ready:
        yield NodeChange("rejoin", name, "node", node.state, role, "the swarm does not reach it")
    elif node.role != role:
        yield NodeChange("role", name, "role", node.role, role, "ronron.yml says so")
    present = node.labels if node else {}
    wanted = labels_of(server, site)
    for key, value in wanted.items():
        if present.get(key) != value:
            yield NodeChange("label", name, f"label {key}", present.get(key), value, "")
    for key in ("ronron.proxy", "ronron.registry", "ronron.storage"):
        if key in present and key not in wanted:
            yield NodeChange("label", name, f"label {key}", present[key], None, "moved")


def carry_out(
    change: NodeChange,
    site: Site,
    runners: Mapping[str, Runner],
    facts: Mapping[str, ServerFacts],
    report: Report,
) -> None:
    """Carry out one change. Raises RonronError with what the engine said."""
    with step(report, _named(change), change.server):
        if change.action == "init":
            _init(runners[change.server], facts[change.server])
        elif change.action in ("join", "rejoin"):
            _join(change, site, runners, facts[change.server])
        elif change.action == "remove":
            with engine_of(runners[site.manager.name]) as engine:
                _drain(engine, change.server)
                _delete(engine, change.server)
        elif change.action == "role":
            with engine_of(runners[site.manager.name]) as engine:
                _change_role(engine, runners[change.server], change)
        elif change.action == "autolock":
            with engine_of(runners[site.manager.name]) as engine:
                autolock.turn(engine, change.after == "on")
        else:
            with engine_of(runners[site.manager.name]) as engine:
                label(engine, change.server, change.item.removeprefix("label "), change.after)


def drain(manager: Runner, name: str, report: Report) -> None:
    """Move a server's tasks to others and give it no new ones, until `activate`."""
    with step(report, "drain", name), engine_of(manager) as engine:
        _drain(engine, name)


def activate(manager: Runner, name: str, report: Report) -> None:
    """Let a drained server have tasks again."""
    with step(report, "activate", name), engine_of(manager) as engine:
        _set(engine, _find(engine, name), availability="active")


def remove(manager: Runner, name: str, leaving: Runner | None, report: Report) -> None:
    """Take a server out of the swarm: drained, demoted, told to leave, and forgotten.

    `leaving` is the server's own runner, None where it can no longer be reached.
    """
    with engine_of(manager) as engine:
        if state.observe(engine).node(name) is None:
            return
        with step(report, "drain", name):
            _drain(engine, name)
        with step(report, "demote and leave the swarm", name):
            _set(engine, _find(engine, name), role="worker")
            if leaving is not None:
                until(lambda: not _is_manager(leaving), 60, f"{name} to be demoted")
                leaving.run(["docker", "swarm", "leave"], check=False)
            _delete(engine, name)


def _named(change: NodeChange) -> str:
    verbs = {"init": "initialise the swarm", "join": "join the swarm", "rejoin": "join again"}
    return verbs.get(change.action) or f"{change.item}: {change.after or 'removed'}"


def _init(runner: Runner, facts: ServerFacts) -> None:
    with engine_of(runner) as engine:
        gateway.make(engine, runner)
        engine.swarm.init(
            advertise_addr=facts.interface or None,
            default_addr_pool=[ADDRESS_POOL],
            subnet_size=24,
        )


def _join(
    change: NodeChange, site: Site, runners: Mapping[str, Runner], facts: ServerFacts
) -> None:
    server, manager = site.server(change.server), runners[site.manager.name]
    with engine_of(manager) as engine:
        old = state.observe(engine).node(server.name)
        if facts.swarm_state in ("active", "pending", "error") and not _known(engine, facts):
            _refuse_foreign(change, facts)
        if change.action == "rejoin":
            if _comes_back(engine, server.name, facts):
                return
            # A node that lost its place must leave before it can join again; its old entry is
            # removed so that the name stays unique.
            runners[server.name].run(["docker", "swarm", "leave", "--force"], check=False)
            _delete(engine, server.name)
        tokens = engine.swarm.attrs["JoinTokens"]
    token = tokens["Manager" if server.is_manager else "Worker"]
    with engine_of(runners[server.name]) as engine:
        gateway.make(engine, runners[server.name])
        engine.swarm.join(
            remote_addrs=[f"{site.manager.name}:{SWARM_PORT}"],
            join_token=token,
            advertise_addr=facts.interface or None,
        )
    with engine_of(manager) as engine:
        until(lambda: _is_ready(engine, server.name), JOIN_SECONDS, f"{server.name} to be ready")
        if old is not None:
            # Its volumes are still on it.
            _set(engine, _find(engine, server.name), labels=old.labels)


def _comes_back(engine: DockerClient, name: str, facts: ServerFacts) -> bool:
    """Whether a server that has its place, as after a restart, is ready again by itself."""
    if facts.swarm_state != "active" or not _known(engine, facts):
        return False
    try:
        return until(lambda: _is_ready(engine, name), COME_BACK_SECONDS, name)
    except RonronError:
        return False


def _refuse_foreign(change: NodeChange, facts: ServerFacts) -> None:
    # One that is known by its name and lost its place may leave what is in error anyway.
    if change.action == "join" or facts.swarm_state != "error":
        raise ServerError(
            change.server,
            "is already in another swarm",
            remedy=f"on {change.server}: docker swarm leave --force, if that swarm is not needed",
        )


def _known(engine: DockerClient, facts: ServerFacts) -> bool:
    return any(node["ID"] == facts.node_id for node in engine.api.nodes())


def _is_ready(engine: DockerClient, name: str) -> bool:
    node = state.observe(engine).node(name)
    return node is not None and node.ready


def _is_manager(runner: Runner) -> bool:
    done = runner.run(["docker", "info", "--format", "{{.Swarm.ControlAvailable}}"], check=False)
    return done.text == "true"


def _find(engine: DockerClient, name: str) -> state.Node:
    node = state.observe(engine).node(name)
    if node is None:
        raise OperatorError(f"{name} is not in the swarm", remedy="ronron apply makes it join")
    return node


def _set(
    engine: DockerClient,
    node: state.Node,
    *,
    availability: str | None = None,
    role: str | None = None,
    labels: Mapping[str, str | None] | None = None,
) -> None:
    """Change what is given of a node; a label with None is removed, others stay.

    Two apps deployed at once may label the same node: the swarm refuses a change that was made
    from an older version than the present one, and it is then made again.
    """
    from docker.errors import APIError

    for attempt in range(UPDATES, 0, -1):
        details = engine.api.inspect_node(node.id)
        spec: Any = dict(details["Spec"])
        spec["Availability"] = availability or spec["Availability"]
        spec["Role"] = role or spec["Role"]
        merged = {**(spec.get("Labels") or {}), **(labels or {})}
        spec["Labels"] = {key: value for key, value in merged.items() if value is not None}
        try:
            engine.api.update_node(node.id, details["Version"]["Index"], spec)
        except APIError:
            moved = engine.api.inspect_node(node.id)["Version"] != details["Version"]
            if attempt == 1 or not moved:
                raise
        else:
            return


def _change_role(engine: DockerClient, runner: Runner, change: NodeChange) -> None:
    """Promote or demote a node, and wait until it, its certificate and the other managers agree.

    Until then it counts in the majority that every change of the swarm needs. The certificate
    comes last, some seconds after the rest: a server that is restarted before it has that of a
    worker joins the managers again as one that nobody lists, and takes their majority with it.
    """
    _set(engine, _find(engine, change.server), role=change.after)
    manager = change.after == "manager"

    def settled() -> bool:
        found = [n for n in engine.api.nodes() if n["Description"]["Hostname"] == change.server]
        reached = [(node.get("ManagerStatus") or {}).get("Reachability") for node in found]
        agreed = reached == ["reachable"] if manager else not any(reached)
        return (
            agreed
            and _is_manager(runner) is manager
            and _certified_role(runner) == change.after
            and _is_ready(engine, change.server)
        )

    until(settled, ROLE_SECONDS, f"{change.server} to be a {change.after}")


def _certified_role(runner: Runner) -> str:
    """The role in the certificate that a server shows to the swarm: manager or worker.

    Swarm writes it as organizational unit `swarm-manager` or `swarm-worker`.
    """
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    root = runner.run(["docker", "info", "--format", "{{.DockerRootDir}}"]).text
    shown = runner.run(["cat", f"{root}/swarm/certificates/swarm-node.crt"], check=False)
    if shown.status:
        return ""
    subject = x509.load_pem_x509_certificate(shown.stdout).subject
    units = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value).removeprefix("swarm-") if units else ""


def label(engine: DockerClient, name: str, key: str, value: str | None) -> None:
    """Set a node's label, or remove it with None."""
    _set(engine, _find(engine, name), labels={key: value})


def _drain(engine: DockerClient, name: str) -> None:
    node = _find(engine, name)
    _set(engine, node, availability="drain")
    if not node.ready:
        return
    filters = {"node": node.id}

    def empty() -> bool:
        tasks = engine.api.tasks(filters=filters)
        return not any(task["Status"]["State"] == "running" for task in tasks)

    until(empty, DRAIN_SECONDS, f"the tasks on {name} to move")


def _delete(engine: DockerClient, name: str) -> None:
    for node in state.observe(engine).nodes:
        if node.name != name:
            continue
        if node.role == "manager":
            _set(engine, node, role="worker")
        node_id = node.id

        def gone(node_id: str = node_id) -> bool:
            from docker.errors import APIError

            try:
                engine.api.remove_node(node_id, force=True)
            except APIError as error:
                return error.status_code == 404
            return True

        until(gone, 30, f"the swarm to forget {name}")

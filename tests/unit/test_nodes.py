"""The swarm's members: what must change, and how a node is changed while others change it too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ronron.errors import OperatorError, RonronError, ServerError
from ronron.events import ignore
from ronron.servers.recording import RecordingRunner
from ronron.site.models import Site
from ronron.swarm import autolock, nodes, state
from ronron.swarm.engines import engine_of
from ronron.swarm.facts import ServerFacts
from ronron.swarm.nodes import NodeChange
from swarm_api import Engine, identity, network, node, served, service, task

SITE = Site.model_validate(
    {
        "name": "cats",
        "domain": "example.org",
        "contact": "cat@example.org",
        "servers": {
            "worker-1": {"labels": {"zone": "paris"}},
            "manager": {"roles": ["manager", "storage"]},
        },
    }
)
LABELS = {"ronron.proxy": "true", "ronron.registry": "true", "ronron.storage": "true"}


def facts(name: str, swarm_state: str = "active", node_id: str | None = None) -> ServerFacts:
    found = identity(f"node-{name}") if node_id is None else node_id
    return ServerFacts(swarm_state, found, name == "manager", "eth0", 1500, frozenset())


ALL = {name: facts(name) for name in SITE.servers}


def swarm(*found: dict[str, Any]) -> state.SwarmState:
    return state.from_api(nodes=found, services=[], configs=[], secrets=[], networks=[])


def complete() -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        node("manager", role="manager", labels=LABELS),
        node("worker-1", labels={"zone": "paris"}),
    )


def changes(*found: dict[str, Any], known: dict[str, ServerFacts] = ALL) -> list[tuple[str, ...]]:
    made = nodes.changes(SITE, swarm(*found), known)
    return [(item.action, item.server, item.item) for item in made]


def test_a_complete_swarm_needs_nothing() -> None:
    assert changes(*complete()) == []


def test_a_swarm_is_initialised_before_anybody_joins() -> None:
    known = {name: facts(name, "inactive", "") for name in SITE.servers}
    made = list(nodes.changes(SITE, state.SwarmState(), known))
    assert [(item.action, item.server) for item in made if item.action != "label"] == [
        ("init", "manager"),
        ("join", "worker-1"),
    ]
    labels = {(item.server, item.item) for item in made if item.action == "label"}
    assert labels == {("manager", f"label {key}") for key in LABELS} | {("worker-1", "label zone")}


@pytest.mark.parametrize(
    "manager",
    [
        None,
        facts("manager", "pending"),
        replace(facts("manager"), manager=False),
        replace(facts("manager", "absent", ""), placed=frozenset({0})),
    ],
    ids=["no answer", "starting", "no majority", "no Docker"],
)
def test_nobody_joins_a_swarm_that_could_not_be_seen(manager: ServerFacts | None) -> None:
    known = {"worker-1": ALL["worker-1"]} | ({"manager": manager} if manager else {})
    assert list(nodes.changes(SITE, state.SwarmState(), known)) == []


def test_a_server_whose_docker_is_not_installed_or_was_told_to_leave_begins_a_swarm() -> None:
    for manager in (facts("manager", "absent", ""), facts("manager", "inactive", "")):
        made = nodes.changes(SITE, state.SwarmState(), {"manager": manager})
        assert next(made).action == "init"


def test_a_server_that_does_not_answer_is_left_alone() -> None:
    manager, _ = complete()
    assert changes(manager, known={"manager": facts("manager")}) == []


def test_what_is_no_longer_declared_leaves_last() -> None:
    gone = node("worker-9")
    assert changes(*complete(), gone) == [("remove", "worker-9", "node")]


@pytest.mark.parametrize(
    ("known", "present"),
    [
        (facts("worker-1", "inactive", ""), node("worker-1", labels={"zone": "paris"})),
        (facts("worker-1", "error"), node("worker-1", labels={"zone": "paris"})),
        (facts("worker-1", node_id="other"), node("worker-1", labels={"zone": "paris"})),
        (facts("worker-1"), node("worker-1", state="down", labels={"zone": "paris"})),
    ],
)
def test_a_server_that_lost_its_place_joins_again(
    known: ServerFacts, present: dict[str, Any]
) -> None:
    manager, _ = complete()
    found = changes(manager, present, known={**ALL, "worker-1": known})
    assert found == [("rejoin", "worker-1", "node")]


def test_roles_and_labels_follow_the_file() -> None:
    manager, worker = complete()
    worker["Spec"]["Role"] = "manager"
    worker["Spec"]["Labels"] = {"zone": "lyon", "ronron.storage": "true", "by.hand": "1"}
    found = nodes.changes(SITE, swarm(manager, worker), ALL)
    assert [(item.action, item.item, item.before, item.after) for item in found] == [
        ("role", "role", "manager", "worker"),
        ("label", "label zone", "lyon", "paris"),
        ("label", "label ronron.storage", "true", None),
    ]


def test_managers_are_locked_when_the_file_says_so() -> None:
    docker = {"docker": {"autolock": True}}
    site = Site.model_validate(SITE.model_dump(exclude_unset=True) | docker)
    (change,) = nodes.changes(site, swarm(*complete()), ALL)
    assert (change.item, change.before, change.after) == ("autolock", "off", "on")
    assert list(nodes.changes(site, replace(swarm(*complete()), autolock=True), ALL)) == []
    engine = Engine(swarm={"Version": {"Index": 7}, "Spec": {"Labels": {"kept": "yes"}}})
    with served(engine) as runner, engine_of(runner) as client:
        autolock.turn(client, True)
        assert state.observe(client).autolock
        assert engine.swarm["Spec"]["Labels"] == {"kept": "yes"}
        autolock.turn(client, False)
        assert not state.observe(client).autolock


def test_a_manager_that_nobody_could_unlock_at_night_is_refused() -> None:
    night = {"docker": {"autolock": True}, "hardening": {"reboot": "03:30"}}
    with pytest.raises(ValueError, match="at night nobody unlocks a manager"):
        Site.model_validate(SITE.model_dump(exclude_unset=True) | night)


def test_without_a_storage_server_the_manager_has_the_files() -> None:
    site = Site.model_validate(
        {
            "name": "cats",
            "domain": "example.org",
            "contact": "cat@example.org",
            "servers": {"one": {"roles": ["manager"]}, "two": {}},
        }
    )
    assert nodes.labels_of(site.server("one"), site)["ronron.storage"] == "true"
    assert nodes.labels_of(site.server("two"), site) == {}


def test_a_label_set_by_another_at_the_same_time_is_kept() -> None:
    engine = Engine(nodes=list(complete()))
    worker = engine.nodes[1]

    def somebody_else(method: str, path: str) -> None:
        # After the node was read, and before it is changed: three times, then never again.
        if method == "POST" and worker["Version"]["Index"] < 13:
            worker["Spec"]["Labels"][f"other-{worker['Version']['Index']}"] = "true"
            worker["Version"] = {"Index": worker["Version"]["Index"] + 1}

    engine.before = somebody_else
    with served(engine) as runner, engine_of(runner) as client:
        nodes.label(client, "worker-1", "ronron.volume.blog.data", "true")
    others = {"other-10": "true", "other-11": "true", "other-12": "true"}
    wanted = {"zone": "paris", "ronron.volume.blog.data": "true", **others}
    assert worker["Spec"]["Labels"] == wanted


def test_a_label_is_removed_and_the_others_stay() -> None:
    engine = Engine(nodes=list(complete()))
    with served(engine) as runner, engine_of(runner) as client:
        nodes.label(client, "manager", "ronron.proxy", None)
    left = {key: value for key, value in LABELS.items() if key != "ronron.proxy"}
    assert engine.nodes[0]["Spec"]["Labels"] == left


def test_a_change_that_the_swarm_refuses_is_an_error_not_a_bug() -> None:
    engine = Engine(nodes=list(complete()))
    engine.refusals[("POST", "/nodes/")] = 500
    with served(engine) as runner, pytest.raises(RonronError, match="is refused"):
        nodes.activate(runner, "worker-1", ignore)
    assert sum(method == "POST" for method, _ in engine.asked) == 1, "it is not tried in vain"


def test_activating_what_is_not_in_the_swarm_is_the_operators_mistake() -> None:
    with (
        served(Engine(nodes=list(complete()))) as runner,
        pytest.raises(OperatorError, match="worker-9 is not in the swarm"),
    ):
        nodes.activate(runner, "worker-9", ignore)


def test_drain_waits_for_the_tasks_to_move() -> None:
    web = service("blog", "web")
    engine = Engine(nodes=list(complete()), services=[web])
    engine.tasks = [task(web, "running", on="worker-1"), task(web, "running", on="manager")]
    looks = 0

    def move(method: str, path: str) -> None:
        nonlocal looks
        if path == "/tasks":
            looks += 1
            if looks == 2:
                engine.tasks[0]["Status"]["State"] = "shutdown"

    engine.before = move
    with served(engine) as runner:
        nodes.drain(runner, "worker-1", ignore)
        assert engine.nodes[1]["Spec"]["Availability"] == "drain"
        assert looks == 2
        nodes.activate(runner, "worker-1", ignore)
        assert engine.nodes[1]["Spec"]["Availability"] == "active"


def test_removing_a_manager_demotes_it_and_lets_it_leave() -> None:
    manager, _ = complete()
    second = node("worker-1", role="manager")
    engine = Engine(nodes=[manager, second])
    leaving = RecordingRunner("worker-1", {"docker info": b"false\n"})
    with served(engine) as runner:
        nodes.remove(runner, "worker-1", leaving, ignore)
    assert [item["Description"]["Hostname"] for item in engine.nodes] == ["manager"]
    assert second["Spec"] == {"Labels": {}, "Role": "worker", "Availability": "drain"}
    assert ["docker", "swarm", "leave"] in leaving.commands


def test_removing_a_server_that_is_lost_asks_it_nothing() -> None:
    manager, worker = complete()
    worker["Status"]["State"] = "down"
    engine = Engine(nodes=[manager, worker], networks=[network("x", "10.0.0.0/24", {})])
    with served(engine) as runner:
        nodes.remove(runner, "worker-1", None, ignore)
        nodes.remove(runner, "worker-1", None, ignore)  # a second time is no error
    assert [item["Description"]["Hostname"] for item in engine.nodes] == ["manager"]


@pytest.mark.parametrize("action", ["join", "rejoin"])
def test_a_server_of_another_swarm_is_not_taken_out_of_it(action: nodes.Action) -> None:
    manager, worker = complete()
    runner = RecordingRunner("worker-1")
    change = NodeChange(action, "worker-1", "node", None, "worker", "")
    foreign = {"worker-1": facts("worker-1", "active", "foreign")}
    members = [manager] if action == "join" else [manager, worker]
    with served(Engine(nodes=members)) as first:
        runners = {"manager": first, "worker-1": runner}
        with pytest.raises(ServerError, match="worker-1: is already in another swarm"):
            nodes.carry_out(change, SITE, runners, foreign, ignore)
    assert runner.commands == []


def test_a_server_that_comes_back_by_itself_is_not_made_to_leave() -> None:
    manager, worker = complete()
    worker["Status"]["State"] = "down"
    engine = Engine(nodes=[manager, worker])
    looks = 0

    def come_back(method: str, path: str) -> None:
        nonlocal looks
        looks += path == "/nodes"
        if looks == 4:
            worker["Status"]["State"] = "ready"

    engine.before = come_back
    runner = RecordingRunner("worker-1")
    change = NodeChange("rejoin", "worker-1", "node", "down", "worker", "")
    with served(engine) as first:
        runners = {"manager": first, "worker-1": runner}
        nodes.carry_out(change, SITE, runners, ALL, ignore)
    assert runner.commands == []
    assert engine.nodes == [manager, worker]

"""Containers' users apart from the server's: socket, owners, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ronron.backup import owners
from ronron.backup.restic import Snapshot
from ronron.catalog.recipe import Recipe, find
from ronron.catalog.render import render
from ronron.catalog.stack import Stack, Volume
from ronron.errors import OperatorError
from ronron.events import ignore
from ronron.plan import extending, remapping
from ronron.plan.observe import Reality
from ronron.plan.session import session_over
from ronron.servers.connections import Connections
from ronron.servers.provision import remap, requests
from ronron.servers.provision.run import declare, plan_provisioning
from ronron.servers.recording import RecordingRunner
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site
from ronron.site.userns import FIRST_ID, IDS, SOCKET
from ronron.swarm import facts, state
from ronron.swarm.engines import engine_of
from ronron.swarm.facts import ServerFacts
from ronron.swarm.state import SwarmState
from ronron.swarm.volumes import folder_commands
from swarm_api import Engine, served

LAST = FIRST_ID + IDS - 1
FACTS = ServerFacts("absent", "", False, "eth0", 1500, frozenset(), namespaces=True)


def site(*, userns_remap: bool) -> Site:
    return Site.model_validate(
        {
            "name": "cats",
            "domain": "example.org",
            "contact": "cat@example.org",
            "servers": {"manager": {"roles": ["manager", "storage"]}},
            "docker": {"userns_remap": userns_remap},
        }
    )


def rendered(recipe: Recipe, name: str = "blog", *, userns_remap: bool = True) -> Stack:
    secrets = {one: f"app_{one}_0" for one in recipe.extension.secrets}
    return render(
        App(name=name, recipe=recipe.name), recipe, site(userns_remap=userns_remap), secrets
    )


def test_the_range_stands_beside_those_of_other_accounts() -> None:
    others = "ada:100000:65536\nbob:165536:65536\n"
    text = remap.ranges(f"{others}dockremap:231072:65536\n")
    assert text == f"{others}dockremap:{FIRST_ID}:{IDS}\n"
    assert remap.ranges(text) == text
    assert remap.ranges("") == f"dockremap:{FIRST_ID}:{IDS}\n"


@pytest.mark.parametrize("name", ["socket-proxy", "monitoring"])
def test_who_has_dockers_socket_has_the_one_that_its_root_can_use(name: str) -> None:
    def sources(*, userns_remap: bool) -> list[str]:
        stack = rendered(find(name), name, userns_remap=userns_remap)
        mounts: list[Any] = [
            mount
            for body in stack.compose["services"].values()
            for mount in body.get("volumes", ())
        ]
        return [m["source"] for m in mounts if m["source"].endswith("docker.sock")]

    assert sources(userns_remap=True) == [SOCKET]
    assert sources(userns_remap=False) == ["/var/run/docker.sock"]


def test_a_socket_in_the_short_form_is_found_too() -> None:
    recipe = find("socket-proxy")
    stack = json.loads(json.dumps(dict(recipe.stack)))
    stack["services"]["socket-proxy"]["volumes"] = ["/run/docker.sock:/var/run/docker.sock:ro"]
    found = rendered(replace(recipe, stack=MappingProxyType(stack)), "socket-proxy")
    mounts = found.compose["services"]["socket-proxy"]["volumes"]
    assert mounts == [f"{SOCKET}:/var/run/docker.sock:ro"]


def test_an_owner_becomes_a_number_of_the_server_in_one_place() -> None:
    volume = next(one for one in rendered(find("ghost")).volumes if one.name == "data")
    assert (volume.uid, volume.owner) == (999, (FIRST_ID + 999, FIRST_ID + 999))
    assert [*volume.ownership] == ["-o", str(FIRST_ID + 999), "-g", str(FIRST_ID + 999)]
    assert folder_commands(volume)[-1][2:6] == [*volume.ownership]
    plain = next(iter(rendered(find("ghost"), userns_remap=False).volumes))
    assert plain.owner == (plain.uid, plain.gid)


@pytest.mark.parametrize(
    ("wanted", "seen", "why"),
    [
        (True, {"placed": {0}}, "is in the swarm without it"),
        (False, {"placed": {FIRST_ID}}, "is in the swarm with it"),
        (True, {"owners": {FIRST_ID, 999}}, "has volumes that were made without it"),
        (False, {"owners": {FIRST_ID}}, "has volumes that were made with it"),
        (True, {"namespaces": False}, "has a kernel that does not let"),
        (True, {"placed": {FIRST_ID}, "namespaces": False}, ""),
        (True, {"swarm_state": "inactive", "owners": {FIRST_ID, LAST}}, ""),
        (False, {"swarm_state": "inactive", "owners": {0, 999}, "namespaces": False}, ""),
        (False, {"placed": {0}}, ""),
    ],
)
def test_what_runs_otherwise_is_refused(wanted: bool, seen: dict[str, Any], why: str) -> None:
    fine = replace(FACTS, placed=frozenset({FIRST_ID if wanted else 0}))
    reality = Reality({"fine": fine, "manager": replace(FACTS, **seen)})
    if not why:
        remapping.check(site(userns_remap=wanted), reality)
        return
    back = str(not wanted).lower()
    with pytest.raises(OperatorError, match=f"userns_remap: manager {why}.*set it back to {back}"):
        remapping.check(site(userns_remap=wanted), reality)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_swarm_that_runs_otherwise_is_refused_without_a_look_at_its_servers(wanted: bool) -> None:
    found = site(userns_remap=wanted)
    remapping.check(found, Reality(swarm=SwarmState(present=True, remapped=wanted)))
    remapping.check(found, Reality(swarm=SwarmState(present=False)))
    how = "without" if wanted else "with"
    with pytest.raises(OperatorError, match=f"userns_remap: the swarm runs {how} it"):
        remapping.check(found, Reality(swarm=SwarmState(present=True, remapped=not wanted)))


@pytest.mark.parametrize(
    ("options", "remapped"), [(["name=seccomp", "name=userns"], True), ([], False), (None, False)]
)
def test_a_swarm_tells_how_its_docker_runs(options: list[str] | None, remapped: bool) -> None:
    with served(Engine(options=options)) as runner, engine_of(runner) as engine:
        assert state.observe(engine).remapped is remapped


def answering(placed: int) -> RecordingRunner:
    """A server that says what it is asked."""
    answer = {
        "swarm": None, "interface": "eth0", "interfaces": ["eth0"], "mtu": 1500, "clock": 0.0,
        "folders": [], "placed": [placed], "namespaces": True, "owners": [placed],
    }  # fmt: skip
    return RecordingRunner("manager", {"python3": json.dumps(answer).encode()})


def test_a_server_tells_how_its_docker_runs() -> None:
    found = facts.read(answering(FIRST_ID), userns_remap=True)
    assert (set(found.placed), found.namespaces) == ({FIRST_ID}, True)
    assert set(found.owners) == {FIRST_ID}


def test_a_pool_is_not_extended_on_a_server_that_runs_otherwise() -> None:
    loaded = LoadedSite(Path(), site(userns_remap=True), {})
    servers = Connections({"manager": answering(0)})  # type: ignore[dict-item]
    session = session_over(servers, loaded, ignore)
    with pytest.raises(OperatorError, match="userns_remap: manager is in the swarm without it"):
        extending._on_the_storage_server(session, plan_provisioning)


@pytest.mark.parametrize("userns_remap", [True, False])
def test_the_proxy_may_write_its_access_log(userns_remap: bool) -> None:
    loaded = LoadedSite(Path(), site(userns_remap=userns_remap), {})
    part = declare(loaded, {}, None)["manager"].part
    (command,) = (file.then for file in part.files if file.service == requests.SERVICE)
    user = loaded.site.docker.first_id + requests.USER
    assert command[2:4] == (requests.FOLDER, str(user))


def test_owners_are_changed_only_where_they_mean_others() -> None:
    runner = RecordingRunner("manager", {"cat": b'{"app": "blog"}'})
    snapshot = Snapshot("a" * 64, "blog", None, (), 0, 0)  # type: ignore[arg-type]
    assert owners.first_id(runner, snapshot, "/work") == 0
    volume = Volume("blog", "content", "files", 33, 33, "0750", ("web",))
    owners.settle(runner, volume.path, 0, volume.first_id)
    assert len(runner.commands) == 1
    owners.settle(runner, volume.path, 0, FIRST_ID)
    assert len(runner.commands) == 2

"""Volumes of files that every server has: where they are, and what stands in for them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import pytest

from ronron.backup.app import Protected
from ronron.backup.restore import kept
from ronron.catalog.recipe import builtin_folder, load
from ronron.catalog.render import render
from ronron.catalog.stack import SHARED, Stack, Volume
from ronron.errors import OperatorError, RonronError, SiteError
from ronron.events import ignore
from ronron.plan import moved
from ronron.plan.observe import Reality
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.models import App, Site
from ronron.swarm import facts, record, state, volumes
from ronron.swarm.engines import engine_of
from ronron.swarm.facts import ServerFacts
from swarm_api import Engine, node, served

CONTENT = Volume("blog", "content", "files", 1000, 1000, "0750", ("web",), shared=True)
DATA = Volume("blog", "data", "database", 999, 999, "0700", ("db",))


def site(shared: str = "nfs") -> Site:
    return Site.model_validate(
        {
            "name": "cats",
            "domain": "example.org",
            "contact": "cat@example.org",
            "servers": {"manager": {"roles": ["manager", "storage"]}, "worker-1": {}},
            "storage": {"shared": shared},
        }
    )


def rendered(recipe: str, shared: str) -> Stack:
    found = load(builtin_folder() / recipe)
    secrets = {name: f"app_{name}_0" for name in found.extension.secrets}
    app = App(name=recipe if recipe in ("proxy", "registry") else "blog", recipe=recipe)
    return render(app, found, site(shared), secrets)


def constraints(stack: Stack) -> set[str]:
    found: set[str] = set()
    for service in stack.compose["services"].values():
        found |= set(service["deploy"].get("placement", {}).get("constraints", ()))
    return found


def test_shared_volumes_of_files_are_in_the_mount_and_their_services_go_anywhere() -> None:
    stack = rendered("ghost", "nfs")
    places = {volume.kind: volume.path for volume in stack.volumes}
    assert places["files"].startswith(f"{SHARED}/blog/")
    assert places["database"].startswith("/srv/ronron/volumes/blog/")
    assert "node.labels.ronron.storage == true" not in constraints(stack)
    assert any("ronron.volume.blog." in one for one in constraints(stack)), "databases stay"
    assert "node.labels.ronron.storage == true" in constraints(rendered("ghost", "local"))


@pytest.mark.parametrize("recipe", ["proxy", "registry"])
def test_the_platforms_own_volumes_stay_on_the_manager(recipe: str) -> None:
    stack = rendered(recipe, "glusterfs")
    assert [volume.root for volume in stack.volumes] == ["/srv/ronron/volumes"]
    assert stack.text == rendered(recipe, "local").text
    assert "node.labels.ronron.storage == true" not in constraints(stack)


def engine(*down: str) -> Engine:
    made = Engine(
        nodes=[
            node("manager", role="manager", labels={"ronron.storage": "true"}),
            node("worker-1"),
            node("worker-2"),
        ]
    )
    for item in made.nodes:
        if item["Description"]["Hostname"] in down:
            item["Status"]["State"] = "down"
    return made


def swarm(found: Engine) -> state.SwarmState:
    return state.from_api(nodes=found.nodes, services=[], configs=[], secrets=[], networks=[])


def test_a_shared_folder_is_made_on_the_storage_server_or_on_one_that_is_up() -> None:
    assert volumes.place([CONTENT, DATA], swarm(engine())) == {
        CONTENT: "manager",
        DATA: "worker-1",
    }
    assert volumes.place([CONTENT], swarm(engine("manager"))) == {CONTENT: "worker-1"}


def test_nothing_is_written_beneath_a_mount_that_is_missing() -> None:
    found = engine()
    runner = RecordingRunner("manager", {"mountpoint": Answer(status=32)})
    with (
        served(found) as manager,
        engine_of(manager) as client,
        pytest.raises(RonronError, match="manager: the shared storage is not mounted"),
    ):
        volumes.create(client, {"manager": runner}, [CONTENT], swarm(found), ignore)
    assert runner.commands == [["mountpoint", "-q", SHARED]]


def test_a_shared_folder_is_made_in_the_mount() -> None:
    found = engine()
    runner = RecordingRunner("manager", {"test": Answer(status=1)})
    with served(found) as manager, engine_of(manager) as client:
        volumes.create(client, {"manager": runner}, [CONTENT], swarm(found), ignore)
    owner = ["-o", "1000", "-g", "1000", "-m", "0750"]
    assert runner.commands == [
        ["mountpoint", "-q", SHARED],
        ["test", "-d", f"{SHARED}/blog/content"],
        ["install", "-d", "-m", "0711", f"{SHARED}/blog"],
        ["install", "-d", *owner, f"{SHARED}/blog/content"],
    ]


def test_what_is_replaced_stays_on_its_file_system() -> None:
    assert kept(CONTENT, "now") == f"{SHARED}/.replaced/blog-now/content"
    assert kept(DATA, "now") == "/srv/ronron/volumes/.replaced/blog-now/data"
    recipe = load(builtin_folder() / "ghost")
    app = Protected("blog", recipe, (DATA, CONTENT), {}, None)
    assert app.files_root == SHARED
    assert dataclasses.replace(app, volumes=(DATA,)).files_root == "/srv/ronron/volumes"


def reality(*folders: str, shared: str = "mounted") -> Reality:
    seen = ServerFacts("active", "id", True, "eth0", 1500, frozenset(folders), shared=shared)
    return Reality({"manager": seen})


@pytest.mark.parametrize(("before", "after"), [("local", "nfs"), ("glusterfs", "local")])
def test_an_app_is_not_started_on_nothing_when_its_data_is_elsewhere(
    before: str, after: str
) -> None:
    old, new = rendered("ghost", before), rendered("ghost", after)
    (was,) = (volume.path for volume in old.volumes if volume.kind == "files")
    (path,) = (volume.path for volume in new.volumes if volume.kind == "files")
    refused = f"apps/blog.yml: volumes.content: its data is in {was}, and would be looked for"
    with pytest.raises(SiteError, match=refused):
        moved.check(new, None, reality(was))
    deployed = record.make("blog", 1, stack=old.text, stack_digest=old.digest, specs={}, about={})
    with pytest.raises(SiteError, match=refused):
        moved.check(new, deployed, reality(was, path))
    moved.check(new, None, reality(was, path))
    moved.check(new, None, reality())
    moved.check(old, deployed, reality(was))


def test_a_shared_storage_that_does_not_answer_is_told() -> None:
    stack = rendered("ghost", "nfs")
    with pytest.raises(RonronError, match="manager: the shared storage does not answer"):
        moved.check(stack, None, reality(shared="silent"))
    moved.check(rendered("ghost", "local"), None, reality(shared="silent"))


def test_one_shared_storage_is_never_put_over_another() -> None:
    seen = replace(reality().facts["manager"], shared_by="nfs")
    there = Reality({"manager": seen})
    with pytest.raises(OperatorError, match="glusterfs would hide the files of nfs, which manager"):
        moved.other_storage(site("glusterfs"), there)
    for same in ("nfs", "local"):
        moved.other_storage(site(same), there)
    moved.other_storage(site("glusterfs"), reality())


def test_a_server_tells_whether_the_shared_storage_is_mounted() -> None:
    answer = {"swarm": None, "interface": "eth0", "interfaces": ["eth0"], "mtu": 1500, "clock": 0.0}
    told = {**answer, "folders": [f"{SHARED}/blog/content"], "shared": "mounted"}
    runner = RecordingRunner("worker-1", {"python3": json.dumps(told).encode()})
    assert facts.read(runner).shared == "mounted"
    assert facts.read(runner).folders == {f"{SHARED}/blog/content"}

"""The folders of volumes: on which server, made how, and forgotten."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ronron.catalog.stack import Volume
from ronron.errors import RonronError
from ronron.events import ignore
from ronron.servers.copying.aside import aside, remove_aside_command, remove_command, stamp
from ronron.servers.recording import Answer, RecordingRunner
from ronron.swarm import state, volumes
from ronron.swarm.engines import engine_of
from swarm_api import Engine, node, served

CONTENT = Volume("blog", "content", "files", 1000, 1000, "0750", ("web",))
DATA = Volume("blog", "data", "database", 999, 999, "0700", ("db",))
STORAGE = {"ronron.storage": "true"}


def swarm(engine: Engine) -> state.SwarmState:
    return state.from_api(nodes=engine.nodes, services=[], configs=[], secrets=[], networks=[])


def engine(**labels: dict[str, str]) -> Engine:
    """A manager and two workers, with these labels by name."""
    return Engine(
        nodes=[
            node("manager", role="manager", labels={**STORAGE, **labels.get("manager", {})}),
            node("worker-1", labels=labels.get("one")),
            node("worker-2", labels=labels.get("two")),
        ]
    )


def place(found: Engine, *wanted: Volume) -> dict[str, str]:
    return {item.name: server for item, server in volumes.place(wanted, swarm(found)).items()}


def test_files_are_on_the_storage_server_and_the_apps_databases_beside_them() -> None:
    for wanted in ((CONTENT, DATA), (DATA, CONTENT)):
        assert place(engine(), *wanted) == {"content": "manager", "data": "manager"}


def test_a_database_stays_where_it_is() -> None:
    found = engine(two={"ronron.volume.blog.data": "true"})
    assert place(found, CONTENT, DATA) == {"content": "manager", "data": "worker-2"}


def test_a_database_that_an_app_gets_later_goes_beside_its_other_volumes() -> None:
    later = Volume("blog", "cache", "database", 999, 999, "0700", ("cache",))
    found = engine(two={"ronron.volume.blog.data": "true"})
    assert place(found, later, DATA) == {"cache": "worker-2", "data": "worker-2"}


def test_a_lone_database_goes_to_the_server_that_holds_the_fewest() -> None:
    assert place(engine(), DATA) == {"data": "worker-1"}, "workers before managers"
    held = {"ronron.volume.shop.data": "true"}
    assert place(engine(one=held), DATA) == {"data": "worker-2"}
    assert place(engine(one=held, two=held), DATA) == {"data": "manager"}


def test_a_server_that_is_drained_or_down_gets_no_database() -> None:
    found = engine()
    found.nodes[1]["Spec"]["Availability"] = "drain"
    found.nodes[2]["Status"]["State"] = "down"
    assert place(found, DATA) == {"data": "manager"}
    found.nodes[0]["Spec"]["Availability"] = "pause"
    with pytest.raises(RonronError, match="blog: no server can hold the volume data"):
        place(found, DATA)


def test_without_a_storage_server_there_is_no_place_for_files() -> None:
    found = engine()
    found.nodes[0]["Spec"]["Labels"] = {}
    with pytest.raises(RonronError, match="no server can hold the volume content"):
        place(found, CONTENT)


def test_folders_are_made_with_owner_and_mode_and_databases_are_pinned() -> None:
    found = engine()
    runners = {name: RecordingRunner(name, {"test": Answer(status=1)}) for name in ("manager",)}
    with served(found) as manager, engine_of(manager) as client:
        volumes.create(client, runners, [CONTENT, DATA], swarm(found), ignore)
    folder = "/srv/ronron/volumes/blog"
    made = [argv for argv in runners["manager"].commands if argv[0] == "install"]
    parent = ["install", "-d", "-m", "0711", folder]
    assert made == [
        parent,
        ["install", "-d", "-o", "1000", "-g", "1000", "-m", "0750", f"{folder}/content"],
        parent,
        ["install", "-d", "-o", "999", "-g", "999", "-m", "0700", f"{folder}/data"],
    ]
    assert found.nodes[0]["Spec"]["Labels"] == {**STORAGE, "ronron.volume.blog.data": "true"}


def test_a_folder_that_is_there_is_left_as_it_is() -> None:
    found = engine(manager={"ronron.volume.blog.data": "true"})
    runner = RecordingRunner("manager")
    with served(found) as manager, engine_of(manager) as client:
        volumes.create(client, {"manager": runner}, [DATA], swarm(found), ignore)
    assert runner.commands == [["test", "-d", "/srv/ronron/volumes/blog/data"]]
    assert [method for method, _ in found.asked if method != "GET"] == []


def test_dockers_entries_are_forgotten_once_their_containers_are_gone() -> None:
    left = [b"blog_content\nblog_data\n", b"blog_content\nblog_data\n", b""]
    statuses = [1, 0]
    runner = RecordingRunner(
        "worker-1",
        {
            "docker volume ls": lambda *_: left.pop(0),
            "docker volume rm": lambda *_: Answer(status=statuses.pop(0)),
        },
    )
    volumes.forget(runner, "blog")
    removed = ["docker", "volume", "rm", "blog_content", "blog_data"]
    assert [argv for argv in runner.commands if argv[2] == "rm"] == [removed, removed]
    assert runner.commands[0][-1] == "label=ronron.app=blog"
    volumes.forget(runner, "blog")
    assert runner.commands[-1][2] == "ls", "nothing is left to remove"


def test_deleting_an_apps_data_touches_no_other_app() -> None:
    labels = {"ronron.volume.blog.data": "true", "ronron.volume.blog-2.data": "true"}
    found = engine(one=labels)
    runners = {name: RecordingRunner(name) for name in ("manager", "worker-1")}
    with served(found) as manager, engine_of(manager) as client:
        volumes.delete(client, runners, "blog", swarm(found), ignore)
    gone = []
    for root in ("/srv/ronron/volumes", "/srv/ronron/shared"):
        gone += [remove_command(f"{root}/blog"), remove_aside_command("blog", root)]
    assert [runner.commands for runner in runners.values()] == [gone, gone]
    assert found.nodes[1]["Spec"]["Labels"] == {"ronron.volume.blog-2.data": "true"}


def test_old_copies_are_deleted_of_that_app_alone(tmp_path: Path) -> None:
    old = aside(f"{tmp_path}/blog/data", "moved", stamp())
    others = [
        aside(f"{tmp_path}/blog-2/data", "moved", stamp()),
        aside(f"{tmp_path}/my-blog/data", "fenced", stamp()),
    ]
    named = f"{tmp_path}/.moved/blog-mine/data"
    for path in (old, *others, named, f"{tmp_path}/blog/data"):
        Path(path).mkdir(parents=True)
        (Path(path) / "file").touch()
    subprocess.run(remove_aside_command("blog", str(tmp_path)), check=True)
    assert not Path(old).parent.exists()
    assert all(Path(path, "file").exists() for path in (*others, named))
    subprocess.run(remove_command(f"{tmp_path}/blog", f"{tmp_path}/none"), check=True)
    assert not (tmp_path / "blog").exists()


def test_a_volumes_label_tells_its_app_and_its_name() -> None:
    assert DATA.label == "ronron.volume.blog.data"
    assert CONTENT.label == "ronron.storage"
    assert DATA.path == "/srv/ronron/volumes/blog/data"

"""Where data is, where it shall be, and which copies are out of date, as was observed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ronron.backup.app import Protected
from ronron.catalog.recipe import load
from ronron.catalog.stack import Stack, Volume
from ronron.errors import RonronError, ServerError, SiteError
from ronron.events import ignore
from ronron.plan import absence, failover, fencing, keeping, moved, relocating
from ronron.plan.exchanging import Exchange
from ronron.plan.model import Plan
from ronron.plan.observe import Reality
from ronron.plan.session import open_session
from ronron.servers.carry.jobs import jobs
from ronron.servers.copying.aside import aside, rename
from ronron.servers.local import LocalRunner
from ronron.servers.provision.model import ProvisioningPlan
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.load import load_site
from ronron.swarm import deployed, nodes, record, state
from ronron.swarm import jobs as beside
from ronron.swarm.facts import ServerFacts

DATA = Volume("blog", "data", "database", 999, 999, "0700", ("db",))
FILES = replace(DATA, kind="files")
PATH = "/srv/ronron/volumes/blog/data"
PINNED = {"ronron.volume.blog.data": "true"}
STORAGE = {"ronron.storage": "true"}


def node(name: str, labels: Mapping[str, str] | None = None, **more: str) -> state.Node:
    about = {"id": name, "state": "ready", "updated": "", **more}
    return state.Node(
        about["id"], name, "worker", "active", about["state"], "", False, labels or {},
        about["updated"],
    )  # fmt: skip


def stack(*volumes: Volume) -> Stack:
    return Stack("blog", "r", "", None, "/", {}, {}, {}, (), volumes)


def deployed_as(kind: str, path: str = PATH) -> record.Record:
    """The record of an app whose volume `data` was of that class."""
    label = "ronron.storage" if kind == "files" else "ronron.volume.blog.data"
    placement = {"constraints": [f"node.labels.{label} == true"]}
    text = {
        "services": {"db": {"deploy": {"placement": placement}}, "web": {}},
        "volumes": {"data": {"driver_opts": {"device": path}}},
    }
    return record.make(
        "blog", 1, stack=json.dumps(text), stack_digest="", specs={}, about={"app": {}}
    )


def reality(
    nodes: Iterable[state.Node], folders: Mapping[str, Iterable[str]], kind: str = "database"
) -> Reality:
    """Servers that answered with the folders that they have."""
    facts = {
        name: ServerFacts("active", name, False, "eth0", 1500, frozenset(paths))
        for name, paths in folders.items()
    }
    swarm = state.SwarmState(True, tuple(nodes), records={"blog": (deployed_as(kind),)})
    return Reality(facts, {}, swarm)


def test_an_old_copy_stays_on_the_file_system_of_its_volume(tmp_path: Path) -> None:
    when = "20261127T080000Z"
    assert aside(PATH, "moved", when) == f"/srv/ronron/volumes/.moved/blog-{when}/data"
    shared = aside("/srv/ronron/shared/blog/data", "fenced", when)
    assert shared == f"/srv/ronron/shared/.fenced/blog-{when}/data"
    here, to = tmp_path / "a", tmp_path / "x" / "b"
    rename(LocalRunner(), str(here), str(to))  # What is not there is no fault.
    here.mkdir()
    rename(LocalRunner(), str(here), str(to))
    assert to.is_dir()
    here.mkdir()
    with pytest.raises(ServerError):
        rename(LocalRunner(), str(here), str(to))
    assert here.is_dir(), "never into a folder that is there"
    assert list(to.iterdir()) == []


def test_a_record_tells_class_folder_and_servers() -> None:
    nodes = [node("manager", STORAGE), node("worker-1", PINNED)]
    for kind, server in (("files", "manager"), ("database", "worker-1")):
        swarm = reality(nodes, {}, kind).swarm
        held = deployed.volumes("blog", swarm)["data"]
        assert (held.kind, held.path, held.servers) == (kind, PATH, (server,))
    assert deployed.volumes("shop", swarm) == {}


def moves(found: Reality, volume: Volume) -> list[tuple[str, str]]:
    return [(it.before, it.after) for it in relocating.relocations(stack(volume), found)]


def test_a_volume_whose_class_changed_goes_where_it_shall_be() -> None:
    nodes = [node("manager", STORAGE), node("worker-1", PINNED)]
    pinned = reality(nodes, {"manager": [], "worker-1": [PATH]})
    assert moves(pinned, DATA) == []
    assert moves(pinned, FILES) == [(f"worker-1:{PATH}", f"manager:{PATH}")]
    (relocation,) = relocating.relocations(stack(FILES), pinned)
    told = relocating.change(relocation)
    assert (told.where, told.field) == ("app blog", "volumes.data")
    assert told.why == "database becomes files; its data moves"
    # A new database stays where its data is, and only its label is new.
    files = reality([nodes[0], node("worker-1")], {"manager": [PATH], "worker-1": []}, "files")
    assert moves(files, FILES) == []
    assert moves(files, DATA) == [(f"manager:{PATH}", f"manager:{PATH}")]
    (relocation,) = relocating.relocations(stack(DATA), files)
    assert relocating.change(relocation).before == f"manager:{PATH} (files)"


def test_shared_storage_gets_the_data_and_gives_it_back() -> None:
    nodes = [node("manager", STORAGE), node("worker-1")]
    shared = replace(FILES, shared=True)
    local = reality(nodes, {"manager": [PATH], "worker-1": []}, "files")
    assert moves(local, shared) == [(f"manager:{PATH}", f"manager:{shared.path}")]
    (relocation,) = relocating.relocations(stack(shared), local)
    assert relocating.change(relocation).why == "storage.shared in ronron.yml; its data moves"
    moved.check(stack(shared), local.swarm.newest("blog"), local, [shared])
    with pytest.raises(SiteError, match="its data is in"):
        moved.check(stack(shared), local.swarm.newest("blog"), local)
    mounted = {"manager": [shared.path], "worker-1": [shared.path]}
    there = reality(nodes, mounted, "files")
    there = replace(
        there, swarm=replace(there.swarm, records={"blog": (deployed_as("files", shared.path),)})
    )
    assert moves(there, shared) == []
    assert moves(there, FILES) == [(f"manager:{shared.path}", f"manager:{PATH}")]
    (relocation,) = relocating.relocations(stack(DATA), there)
    assert relocation.source == relocation.target, "copied where it shall be, from the mount there"


def test_what_is_nowhere_is_not_moved_and_a_stale_folder_is_not_taken() -> None:
    nodes = [node("manager", STORAGE), node("worker-1", PINNED), node("worker-2")]
    assert moves(reality(nodes, {"manager": [], "worker-1": []}), FILES) == []
    stale = reality(nodes, {"manager": [], "worker-1": [], "worker-2": [PATH]})
    assert moves(stale, FILES) == []


FENCED = {"ronron.fenced.blog.data": "20261127T080000Z"}


def test_a_fence_waits_for_its_server_and_moves_the_folder_aside() -> None:
    gone = reality([node("worker-1", FENCED, state="down")], {})
    assert list(fencing.changes(gone)) == []
    back = reality([node("worker-1", FENCED)], {"worker-1": [PATH]})
    (fence,) = fencing.changes(back)
    plan = Plan(ProvisioningPlan(), fences=(fence,))
    assert not plan.empty
    (change,) = plan.changes
    assert (change.where, change.before) == ("server worker-1", PATH)
    assert change.after == "/srv/ronron/volumes/.fenced/blog-20261127T080000Z/data"
    (again,) = fencing.changes(reality([node("worker-1", FENCED)], {"worker-1": []}))
    assert not again.folder, "only the label is left"


def test_a_fence_never_takes_the_current_copy_away() -> None:
    both = reality([node("worker-1", {**FENCED, **PINNED})], {"worker-1": [PATH]})
    (fence,) = fencing.changes(both)
    assert not fence.folder
    # A dead node of the same name is not the server that answers.
    two = [node("worker-1", FENCED, id="old", state="down"), node("worker-1", id="new")]
    assert list(fencing.changes(reality(two, {"worker-1": [PATH]}))) == []


def test_how_long_a_server_is_gone_is_told_by_the_swarm() -> None:
    now = datetime(2026, 11, 27, 8, 10, tzinfo=UTC)
    gone = node("worker-1", updated="2026-11-27T08:00:00.123456789Z", state="down")
    assert absence.gone_since(gone, now, {}) == 600
    assert absence.moment("2026-11-27T10:00:00.1+02:00") == datetime(2026, 11, 27, 8, tzinfo=UTC)


def test_old_copies_are_found_by_their_folders() -> None:
    root = "/srv/ronron/volumes"
    folders = [
        f"{root}/.moved/blog-20261127T080000Z",
        f"{root}/.fenced/blog-2-20261126T080000Z",
        f"{root}/.replaced/blog-20261127T080000Z",
        PATH,
    ]
    found = reality([], {"worker-1": folders})
    assert [(c.app, c.why) for c in keeping.copies(found)] == [
        ("blog-2", "fenced"), ("blog", "moved"),
    ]  # fmt: skip
    assert [c.path for c in keeping.copies(found, "blog")] == folders[:1]


def test_an_old_copy_on_the_shared_storage_is_one_copy() -> None:
    """A second server may still show what the first has deleted."""
    there = "/srv/ronron/shared/.moved/blog-20261127T080000Z"
    found = reality([], {"manager": [there], "worker-1": [there]})
    assert [(c.server, c.path) for c in keeping.copies(found)] == [("manager", there)]


SITE = "name: s\ndomain: example.org\ncontact: a@example.org\nstorage: {failover: FAILOVER}\n"


def site(folder: Path, settings: Any) -> Any:
    (folder / "ronron.yml").write_text(SITE.replace("FAILOVER", json.dumps(settings)))
    return load_site(folder).site


def test_when_it_fails_over_by_itself_is_declared(tmp_path: Path) -> None:
    found = site(tmp_path, {"after": "2h", "automatic": True})
    assert found.storage.failover.seconds == 7200
    assert [job.command[0] for job in jobs(found)] == ["failover"]
    assert jobs(site(tmp_path, {})) == ()
    for wrong in ("10", "0m", "1d", "m"):
        with pytest.raises(SiteError, match=r"storage\.failover\.after: .* is not a period"):
            site(tmp_path, {"after": wrong})


def test_a_database_that_is_a_file_comes_up_without_a_program_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load(Path(__file__).parents[1] / "recipes" / "stores")
    notes = replace(DATA, app="stores", name="notes")
    about = {"size": 8, "head": b"BEGIN;".hex(), "tail": b"COMMIT;\n".hex()}
    answers: dict[str, Any] = {"python3": json.dumps(about).encode(), "test": Answer(status=1)}
    target = RecordingRunner("worker-2", answers)
    ran: list[beside.Job] = []
    monkeypatch.setattr(beside, "run", lambda engine, job, seconds: ran.append(job))
    loaded = SimpleNamespace(site=SimpleNamespace(storage_server=target))
    session: Any = SimpleNamespace(
        servers={"worker-2": target}, loaded=loaded, report=ignore, manager=target
    )
    swarm = state.SwarmState()
    monkeypatch.setattr(absence, "keep", lambda *_: None)
    with ExitStack() as undo:
        when = "20261127T080000Z"
        exchange = Exchange(session, None, "stores", when, undo)  # type: ignore[arg-type]
        monkeypatch.setattr(Exchange, "label", lambda *_: None)
        app = Protected("stores", recipe, (notes,), {}, None)
        now = datetime.now(UTC)
        lost = failover.Lost(notes, "notes", "worker-1", 900.0, "worker-2", now)
        assert failover._bring_up(exchange, app, lost, swarm, now) == []
        undo.pop_all()
    (job,) = ran
    assert job.folders == {"stores_notes": aside(notes.path, "moving", when)}
    assert (job.network, job.node_label) == ("", notes.label)


START = datetime(2026, 11, 27, 8, tzinfo=UTC)
AFTER = timedelta(hours=2)


class Swarm:
    """A swarm whose worker-1 is down since START, with a database of two apps; time is told.

    As the real one does, it says of a node when that last changed, by a label too.
    """

    def __init__(self) -> None:
        self.now = START
        since = START.isoformat()
        labels = {f"ronron.volume.{name}.notes": "true" for name in ("one", "two")}
        self.nodes = [
            node("worker-1", labels, updated=since, state="down"), node("worker-2", updated=since),
        ]  # fmt: skip

    def change(self, name: str, **changed: Any) -> None:
        self.now += timedelta(seconds=1)
        self.nodes = [
            replace(one, updated=self.now.isoformat(), **changed) if one.name == name else one
            for one in self.nodes
        ]

    def label(self, _engine: Any, name: str, key: str, value: str | None) -> None:
        (found,) = (one for one in self.nodes if one.name == name)
        left = {known: text for known, text in found.labels.items() if known != key}
        self.change(name, labels=left if value is None else {**left, key: value})

    def observe(self, *_: Any) -> state.SwarmState:
        return state.SwarmState(present=True, nodes=tuple(self.nodes))


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch) -> Swarm:
    found = Swarm()
    monkeypatch.setattr(nodes, "label", found.label)
    monkeypatch.setattr(state, "observe", found.observe)
    return found


@pytest.fixture
def dead(swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session with that swarm; stopping, loading and starting apps is left out."""
    monkeypatch.setattr(absence, "STATE", str(tmp_path))
    monkeypatch.setattr(absence, "PATH", str(tmp_path / "gone.json"))
    recipe = load(Path(__file__).parents[1] / "recipes" / "stores")
    target = RecordingRunner("worker-2", {"test": Answer(status=1)})

    def protected(_session: Any, _swarm: Any, name: str) -> Protected:
        return Protected(name, recipe, (replace(DATA, app=name, name="notes"),), {}, None)

    @contextmanager
    def stopped(session: Any, engine: Any, name: str, when: str, *_: Any, **__: Any) -> Any:
        with ExitStack() as undo:
            yield Exchange(session, engine, name, when, undo)
            undo.pop_all()

    def look(*_: Any) -> Reality:
        facts = ServerFacts("active", "worker-2", False, "eth0", 1500, frozenset())
        return Reality({"worker-2": facts}, {}, swarm.observe())

    def instead(_: Any, app: Any, volume: Any, server: str, gone: float, to: str) -> Any:
        return failover.Lost(volume, "notes", server, gone, to, START)

    for name, answer in {
        "lock": lambda *_: nullcontext(), "engine_of": lambda _: nullcontext(),
        "hidden": lambda session, name, error: error, "stack_of": lambda *_: None,
        "storage": lambda _: target, "_clock": lambda _: swarm.now, "observe": look,
        "protected": protected, "stopped": stopped, "_instead": instead,
        "_staged": lambda *_: "", "load_into": lambda *_: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(failover, name, answer)
    site = SimpleNamespace(
        storage_server=target, manager=target,
        storage=SimpleNamespace(failover=SimpleNamespace(seconds=AFTER.total_seconds())),
    )  # fmt: skip
    loaded = SimpleNamespace(site=site, apps={"one": None, "two": None})
    servers = {"worker-2": target}
    return SimpleNamespace(manager=LocalRunner(), servers=servers, loaded=loaded, report=ignore)


def test_all_apps_of_a_dead_server_come_up_after_one_wait(dead: Any, swarm: Swarm) -> None:
    swarm.now = START + AFTER - timedelta(seconds=10)
    assert failover.unasked(dead, seconds=1) == failover.Unasked()
    swarm.now = START + AFTER
    done = failover.unasked(dead, seconds=1)
    assert ([one.app for one in done.done], done.failed) == (["one", "two"], ())


def test_what_was_done_at_once_by_hand_shortens_no_wait_and_makes_none_longer(
    dead: Any, swarm: Swarm
) -> None:
    swarm.now = START + timedelta(minutes=5)
    failover.fail_over(dead, "one", None, now=True, seconds=1)
    with pytest.raises(failover.TooSoon, match=r"two: .* for 30\d s only"):
        failover.fail_over(dead, "two", None, now=False, seconds=1)
    swarm.now = START + AFTER
    (lost,) = failover.fail_over(dead, "two", None, now=False, seconds=1).lost
    assert AFTER.total_seconds() - 5 < lost.gone <= AFTER.total_seconds()


def test_a_failover_that_was_undone_makes_no_app_wait_anew(
    dead: Any, swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RonronError("one: no")

    swarm.now = START + AFTER
    with monkeypatch.context() as patched:
        patched.setattr(failover, "load_into", fails)
        with pytest.raises(RonronError, match="one: was not brought up: no"):
            failover.fail_over(dead, "one", None, now=False, seconds=1)
    assert "ronron.volume.one.notes" in swarm.nodes[0].labels
    assert len(failover.unasked(dead, seconds=1).done) == 2


def test_a_server_that_came_back_meanwhile_is_waited_for_anew(dead: Any, swarm: Swarm) -> None:
    swarm.now = START + AFTER
    failover.fail_over(dead, "one", None, now=False, seconds=1)
    swarm.change("worker-1", state="ready")
    swarm.change("worker-1", state="down")
    with pytest.raises(failover.TooSoon, match=r"two: .* gone for 0 s only"):
        failover.fail_over(dead, "two", None, now=False, seconds=1)


def test_the_manager_that_does_not_answer_ends_an_unasked_failover(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (tmp_path / "ronron.yml").write_text(
        f"{SITE.replace('FAILOVER', '{}')}"
        f"servers: {{one: {{address: 127.0.0.1, port: {port}, roles: [manager]}}}}\n"
    )
    with (
        open_session(load_site(tmp_path), ignore) as session,
        pytest.raises(ServerError, match="one: no connection to 127"),
    ):
        failover.unasked(session, seconds=1)

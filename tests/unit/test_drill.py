"""Drills: what is aside reaches nothing, what must be there is looked for, what was found kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ronron.backup.app import Protected
from ronron.backup.drill import Clock, Place, fits, hold, look
from ronron.backup.drilled import METRICS, PATH, Drilled, parse, read, record
from ronron.backup.restic import Snapshot
from ronron.catalog.checks import Check
from ronron.catalog.recipe import Catalog, Recipe, find, names
from ronron.catalog.render import render
from ronron.catalog.stack import Stack
from ronron.cli.app import _drill
from ronron.errors import RonronError
from ronron.events import ignore
from ronron.plan import watching
from ronron.plan.drilling import silent
from ronron.plan.status import AppStatus
from ronron.servers.local import LocalRunner
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.backup import Backup
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site
from ronron.swarm import aside

NOW = datetime(2026, 11, 27, 4, tzinfo=UTC)
RELAY = {"host": "relay.example.net", "user": "relay-user", "from": "sites@example.net"}
SITE = Site.model_validate(
    {"name": "s", "domain": "example.org", "contact": "a@example.org", "mail": RELAY}
)
APPS = [name for name in names() if find(name).extension.category != "platform"]
SNAPSHOT = Snapshot("a" * 64, "blog", NOW - timedelta(hours=2), (), 1 << 20, 9)


def stack_of(recipe: Recipe, **more: Any) -> Stack:
    required = {
        key: rule.choices[0] if rule.choices else "x@example.org"
        for key, rule in recipe.extension.parameters.items()
        if rule.required
    }
    app = App.model_validate(
        {"name": "blog", "recipe": recipe.name, "parameters": required, **more}
    )
    secrets = {name: f"blog_{name}_0123456789" for name in recipe.extension.secrets}
    return render(*silent(app, recipe, SITE), secrets)


def set_aside(stack: Stack) -> Stack:
    folders = {volume.name: f"/srv/aside/{volume.name}" for volume in stack.volumes}
    return aside.isolated(stack, folders, "storage-1")


@pytest.mark.parametrize("name", APPS)
def test_an_app_that_is_aside_reaches_nothing_and_is_not_taken_for_the_app(name: str) -> None:
    live = stack_of(find(name))
    stack = set_aside(live)
    (network,) = stack.compose["networks"].values()
    assert network["internal"]
    assert "external" not in network
    assert "volumes" not in stack.compose
    for service, body in stack.compose["services"].items():
        assert list(body["networks"]) == ["default"]
        assert "ports" not in body
        assert body["labels"] == body["deploy"]["labels"] == {aside.LABEL: "blog"}
        assert body["deploy"]["placement"] == {"constraints": ["node.hostname == storage-1"]}
        assert "reservations" not in body["deploy"]["resources"]
        assert body["deploy"]["replicas"] == 1
        for mount in body.get("volumes") or ():
            assert mount["type"] == "tmpfs" or mount["source"].startswith("/srv/aside/")
        # What differs is the place, not the program.
        for key in ("image", "environment", "user", "healthcheck", "command", "secrets"):
            assert body.get(key) == live.compose["services"][service].get(key)
    # The live app's secrets are read by their names; its configs are not touched.
    assert stack.compose.get("secrets") == live.compose.get("secrets")
    assert not set(stack.configs) & set(live.configs)
    assert all(len(reference) <= 64 for reference in stack.configs)
    for relay in RELAY.values():
        assert relay not in stack.text
    assert "mail_password" not in stack.text
    # Rendering is left as it was.
    assert "ronron_proxy" in live.text or find(name).extension.web is None


def test_an_app_with_a_relay_of_its_own_has_none_either() -> None:
    own = {"mail_host": "own.example.net", "mail_user": "me"}
    assert "own.example.net" not in stack_of(find("ghost"), parameters=own).text


def test_the_names_of_services_inside_of_an_app_stay() -> None:
    live = stack_of(find("ghost"))
    body = {**live.compose["services"]["web"], "networks": {"default": {"aliases": ["ghost"]}}}
    services = {**live.compose["services"], "web": body}
    stack = set_aside(replace(live, compose={**live.compose, "services": services}))
    assert stack.compose["services"]["web"]["networks"] == {"default": {"aliases": ["ghost"]}}


@pytest.mark.parametrize(
    "mount",
    [
        "/srv/live:/data",
        {"type": "bind", "source": "/var/run/docker.sock", "target": "/docker.sock"},
        {"type": "volume", "source": "not_its_own", "target": "/data"},
        {"type": "volume", "target": "/anonymous"},
    ],
)
def test_what_mounts_something_of_others_is_not_put_aside(mount: Any) -> None:
    live = stack_of(find("ghost"))
    body = {**live.compose["services"]["web"], "volumes": [mount]}
    services = {**live.compose["services"], "web": body}
    with pytest.raises(RonronError, match="cannot be put aside"):
        set_aside(replace(live, compose={**live.compose, "services": services}))


def room(memory: int, disk: int) -> Place:
    """A server with as much memory and disk to spare, in bytes."""
    answers = {
        "cat /proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {memory >> 10} kB\n".encode(),
        "sh": f"Avail\n{disk}\n".encode(),
    }
    server = RecordingRunner(answers=answers)
    return Place(None, server, server, "storage-1")  # type: ignore[arg-type]


def test_a_drill_that_does_not_fit_is_not_begun() -> None:
    stack = stack_of(find("ghost"))
    assert aside.memory(stack) == (768 + 512) << 20
    fits(room(2 << 30, 20 << 30), stack, SNAPSHOT)
    with pytest.raises(RonronError, match=r"blog: a drill may take 1\.5 GiB of memory"):
        fits(room(1 << 30, 20 << 30), stack, SNAPSHOT)
    with pytest.raises(RonronError, match=r"has 1\.0 GiB to spare"):
        fits(room(2 << 30, 1 << 30), stack, SNAPSHOT)


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("checks", "has no check that an empty db would fail"),
        ("databases", "no dump is declared for data: it is in no backup"),
    ],
)
def test_a_drill_that_would_prove_nothing_fails(without: str, said: str) -> None:
    recipe = find("ghost")
    bare = replace(recipe, extension=recipe.extension.model_copy(update={without: {}}))
    stack = stack_of(recipe)
    app = Protected("blog", bare, stack.volumes, {}, None)
    with pytest.raises(RonronError, match=said):
        hold(
            room(1 << 40, 1 << 40), None, SNAPSHOT, app, stack, 1.0, Clock(), ignore,  # type: ignore[arg-type]
        )  # fmt: skip


FILES = Check(about="Pictures", volume="content", file="images/**/*.png")
LISTED = Check(about="Pictures", service="db", volume="content", listed=("x",))


def test_files_are_there_when_one_that_is_not_empty_matches(tmp_path: Path) -> None:
    (tmp_path / "images" / "2026").mkdir(parents=True)
    with pytest.raises(RonronError, match=r"no file images/\*\*/\*\.png in the volume content"):
        look(LocalRunner(), "blog", FILES, str(tmp_path), ())
    picture = tmp_path / "images" / "2026" / "cat.png"
    picture.touch()
    with pytest.raises(RonronError, match="blog: Pictures: no file"):
        look(LocalRunner(), "blog", FILES, str(tmp_path), ())
    picture.write_bytes(b"x")
    look(LocalRunner(), "blog", FILES, str(tmp_path), ())


def test_every_file_that_the_database_names_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").write_bytes(b"x")
    (tmp_path / "images" / "empty.png").touch()
    (tmp_path / "images" / "link.png").symlink_to("/etc/hostname")
    look(LocalRunner(), "blog", LISTED, str(tmp_path), ["images/cat.png"])
    look(LocalRunner(), "blog", LISTED, str(tmp_path), [])
    for name in ("images/dog.png", "images/empty.png", "../../etc/hostname", "images/link.png"):
        with pytest.raises(RonronError, match="missing or empty in the volume content"):
            look(LocalRunner(), "blog", LISTED, str(tmp_path), ["images/cat.png", name])
    with pytest.raises(RonronError, match=r"a\.png and 1 others missing"):
        look(LocalRunner(), "blog", LISTED, str(tmp_path), ["a.png", "b.png"])


PASSED = Drilled("blog", NOW, True, "", "a" * 64, NOW, 41.5, 7200.0, {"fetch": 3.0})
FAILED = Drilled("wiki", NOW, False, "Pages: nothing was found")


def test_what_was_found_is_kept_by_app() -> None:
    before = {"wiki": FAILED.plain(), "gone": FAILED.plain()}
    manager = RecordingRunner(answers={f"cat {PATH}": json.dumps(before).encode()})
    record(manager, [PASSED], ["blog", "wiki"])
    content, mode = manager.files[PATH]
    assert mode == 0o600
    assert parse(content.decode()) == {"blog": PASSED, "wiki": FAILED}
    text, mode = manager.files[METRICS]
    assert mode == 0o644
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'ronron_drill_passed{app="blog"} 1',
        'ronron_drill_passed{app="wiki"} 0',
        f'ronron_drill_timestamp_seconds{{app="blog"}} {NOW.timestamp():.0f}',
        f'ronron_drill_timestamp_seconds{{app="wiki"}} {NOW.timestamp():.0f}',
        'ronron_drill_recovery_seconds{app="blog"} 42',
        'ronron_drill_data_age_seconds{app="blog"} 7200',
    ]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"blog": {}}'])
def test_a_damaged_record_hides_nothing_else(text: str) -> None:
    assert read(RecordingRunner(answers={"cat": Answer(text.encode())})) == {}


def test_an_app_that_did_not_come_back_is_not_well() -> None:
    well = AppStatus("blog", "ghost", {"web": (1, 1)})
    assert well.ok
    assert replace(well, drill=PASSED).ok
    assert not replace(well, drill=FAILED).ok


def test_an_app_whose_drill_is_overdue_is_not_well() -> None:
    late = AppStatus("blog", "ghost", {"web": (1, 1)}, drill_overdue=True)
    assert not late.ok
    assert _drill(late) == "never: OVERDUE"
    late = replace(late, drill=PASSED)
    assert not late.ok
    assert _drill(late).startswith("passed ")
    assert _drill(late).endswith(" ago: OVERDUE")


def test_apps_that_look_at_the_servers_are_due_for_no_drill() -> None:
    backup = Backup.model_validate({"repository": "/mnt/backup"})
    site = Site.model_validate(
        {"name": "cats", "domain": "example.org", "contact": "a@example.org", "backup": backup}
    )
    names = ("blog", "monitoring")
    apps = {
        name: App.model_validate({"name": name, "recipe": recipe})
        for name, recipe in zip(names, ("ghost", "monitoring"), strict=True)
    }
    loaded = LoadedSite(Path("/nowhere"), site, apps)
    session: Any = SimpleNamespace(loaded=loaded, catalog=Catalog())
    found = {name: rule.drill_after for name, rule in watching.rules(session, names).items()}
    assert found == {"blog": 9 * 86400, "monitoring": 0}

"""What a rebuild does first, and what its report tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ronron.backup.restic import Snapshot
from ronron.backup.restore import Choice
from ronron.errors import RonronError
from ronron.events import Event, State, ignore
from ronron.plan import apply, backups, carry, interrupted, pending, rebuilding, restoring, watching
from ronron.plan.backups import Failed
from ronron.plan.model import Change, Plan
from ronron.plan.rebuilding import Rebuilt, Report, _Phases, waves
from ronron.servers.local import LocalRunner
from ronron.servers.provision.model import ProvisioningPlan
from ronron.site.load import load_site
from ronron.swarm import state
from ronron.swarm.state import SwarmState

SITE = "name: s\ndomain: example.org\ncontact: a@example.org\n"


def test_apps_of_one_priority_come_back_together_and_lower_ones_first(tmp_path: Path) -> None:
    (tmp_path / "ronron.yml").write_text(SITE)
    (tmp_path / "apps").mkdir()
    for name, priority in (("blog", None), ("login", 10), ("wiki", None), ("games", 90)):
        said = f"priority: {priority}\n" if priority else ""
        (tmp_path / "apps" / f"{name}.yml").write_text(f"recipe: hello\n{said}")
    loaded = load_site(tmp_path)
    found = waves(loaded, ["wiki", "games", "blog", "login", "undeclared"])
    assert found == (("login",), ("blog", "wiki"), ("games",), ("undeclared",))


def test_phases_are_heard_from_events_and_passed_on() -> None:
    heard: list[Event] = []
    phases = _Phases(heard.append)
    told = [
        Event("fetch", "blog of 2026-11-27", State.DONE, seconds=2.0),
        Event("restore db", "blog", State.DONE, seconds=3.0),
        Event("restore files", "blog", State.DONE, seconds=1.0),
        Event("stop", "blog", State.DONE, seconds=0.5),
        Event("start", "blog", State.STARTED),
        Event("start", "blog", State.DONE, seconds=4.0),
        Event("restore", "blog", detail="50%"),
        Event("https://blog.example.org/", "blog", State.DONE, seconds=9.0),
    ]
    for event in told:
        phases.report(event)
    assert phases.spent == {"fetch": 2.0, "load": 4.0, "start": 4.5}
    assert heard == told


def test_the_report_says_which_snapshot_each_app_runs() -> None:
    taken = datetime(2026, 11, 27, 2, tzinfo=UTC)
    snapshot = Snapshot("a" * 64, "blog", taken, ())
    apps = (Rebuilt("blog", snapshot, 41.23, {"deploy": 22.04}), Rebuilt("new", None, 3.0))
    failed = (Failed("wiki", RonronError("wiki: no")),)
    assert Report(apps, failed, ("hi",), 30.0, 31.0, 118.0).plain() == {
        "apps": [
            {"app": "blog", "snapshot": "a" * 64, "time": taken.isoformat(), "seconds": 41.2,
             "phases": {"deploy": 22.0}},
            {"app": "new", "snapshot": None, "time": None, "seconds": 3.0, "phases": {}},
        ],
        "failed": [{"app": "wiki", "error": "wiki: no"}],
        "left": ["hi"],
        "carry_error": None,
        "servers_seconds": 30.0,
        "platform_seconds": 31.0,
        "seconds": 118.0,
    }  # fmt: skip


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRunner:
    """This machine, which knows of a rebuild that left blog and wiki."""
    monkeypatch.setattr(pending, "STATE", str(tmp_path))
    monkeypatch.setattr(pending, "PENDING", str(tmp_path / "waiting.json"))
    (tmp_path / "waiting.json").write_text('["blog", "wiki"]')
    return LocalRunner()


@pytest.fixture
def session(manager: LocalRunner, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session with `manager`, without a swarm: what is asked of that is answered here."""
    for module in (backups, rebuilding, restoring):
        monkeypatch.setattr(module, "lock", lambda *_, **__: nullcontext())
        monkeypatch.setattr(module, "hidden", lambda session, name, error: error)
    monkeypatch.setattr(backups, "locked", lambda *_: nullcontext())
    for module in (backups, restoring):
        monkeypatch.setattr(module, "engine_of", lambda _: nullcontext())
    apps = {name: SimpleNamespace(priority=50) for name in ("blog", "shop", "wiki")}
    loaded = SimpleNamespace(apps=apps, app=apps.__getitem__)
    servers = SimpleNamespace(on_each=lambda _: None)
    return SimpleNamespace(
        manager=manager, loaded=loaded, servers=servers, report=ignore, reporting=lambda _: session
    )


def test_what_waits_is_what_was_left_and_is_declared_and_what_is_missing(
    manager: LocalRunner,
) -> None:
    assert pending.begin(manager, ["shop", "wiki"], ["shop"]) == ("wiki", "shop")
    assert pending.waiting(manager) == ("shop", "wiki")
    for name in ("wiki", "wiki", "shop"):
        pending.done(manager, name)
    assert pending.waiting(manager) == ()
    assert not Path(pending.PENDING).exists()


def test_an_app_that_waits_for_its_data_is_not_backed_up(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot would be the newest, and the next rebuild would bring back nothing."""
    tried: list[str] = []
    names = ("blog", "shop")

    def protected(_session: Any, _swarm: Any, name: str) -> None:
        tried.append(name)
        raise RonronError(f"{name}: tried")

    monkeypatch.setattr(backups, "restic", lambda _: SimpleNamespace(snapshots=lambda: ()))
    monkeypatch.setattr(backups, "clear_unless_held", lambda *_: None)
    monkeypatch.setattr(state, "observe", lambda _: None)
    monkeypatch.setattr(watching, "deployed", lambda *_: names)
    monkeypatch.setattr(watching, "jobs", lambda *_: dict.fromkeys(names, ""))
    monkeypatch.setattr(backups, "_look", lambda *_: None)
    monkeypatch.setattr(backups, "protected", protected)
    monkeypatch.setattr(backups, "_take_back", lambda _: None)
    monkeypatch.setattr(backups, "_keep", lambda *_: None)
    for asked in ((), names):
        done, failed = backups.back_up(session, asked)
        assert done == []
        assert [str(one.error) for one in failed] == [
            "blog: is not backed up: it waits for its data "
            "(ronron rebuild brings it back, or ronron restore blog)",
            "shop: tried",
        ]
    assert tried == ["shop", "shop"]


def test_a_rebuild_waits_no_more_for_an_app_that_was_restored_whole(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupted, "take_back", lambda _: None)
    monkeypatch.setattr(restoring, "restore_now", lambda *_, **__: None)

    def restore(app: str, choice: Choice) -> tuple[str, ...]:
        taken = Snapshot("a" * 64, app, datetime(2026, 11, 27, 2, tzinfo=UTC), ())
        restoring.restore(session, taken, "blog", choice, seconds=1)
        return pending.waiting(session.manager)

    assert restore("blog", Choice(volumes=frozenset({"files"}))) == ("blog", "wiki")
    assert restore("blog", Choice(databases=frozenset())) == ("blog", "wiki")
    assert restore("other", Choice()) == ("blog", "wiki")
    assert restore("blog", Choice()) == ("wiki",)

    def fails(*_: Any, **__: Any) -> None:
        raise RonronError("wiki: no")

    monkeypatch.setattr(restoring, "restore_now", fails)
    with pytest.raises(RonronError, match="wiki: no"):
        restore("wiki", Choice())
    assert pending.waiting(session.manager) == ("wiki",)


@pytest.fixture
def rebuilt(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[Snapshot]], Report]:
    """Rebuilds blog, shop and wiki from a repository; servers and swarm do what they are told."""
    made = Plan(ProvisioningPlan(), carry=(Change("server one", "ronron", None, "1"),))
    monkeypatch.setattr(rebuilding, "STATE", str(tmp_path))
    monkeypatch.setattr(rebuilding, "REPORT", str(tmp_path / "report.json"))
    bare = SimpleNamespace(swarm=SwarmState())
    monkeypatch.setattr(rebuilding, "plan", lambda _: (made, bare))
    monkeypatch.setattr(rebuilding, "_deploy", lambda *_: None)
    monkeypatch.setattr(rebuilding, "restore_now", lambda *_, **__: None)
    for name in ("check", "servers"):
        monkeypatch.setattr(apply, name, lambda *_: None)
    for name in ("carry_out", "follow"):
        monkeypatch.setattr(carry, name, lambda *_: None)

    def run(snapshots: Sequence[Snapshot]) -> Report:
        repository = SimpleNamespace(snapshots=lambda: snapshots)
        monkeypatch.setattr(rebuilding, "restic", lambda _: repository)
        return rebuilding.rebuild(session, seconds=1)

    return run


def test_a_rebuild_never_takes_a_snapshot_from_the_future(
    rebuilt: Callable[[Sequence[Snapshot]], Report],
) -> None:
    now = datetime.now(UTC)
    right = Snapshot("a" * 64, "blog", now - timedelta(hours=1), ())
    ahead = [Snapshot("b" * 64, app, now + timedelta(days=1), ()) for app in ("blog", "wiki")]
    report = rebuilt([right, *ahead])
    assert {one.app: one.snapshot for one in report.apps} == {"blog": right, "shop": None}
    (failed,) = report.failed
    assert str(failed.error).startswith("wiki: every snapshot is from the future")


def test_without_a_package_index_the_apps_come_back_all_the_same(
    rebuilt: Callable[[Sequence[Snapshot]], Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RonronError("one: no package index answers")

    monkeypatch.setattr(carry, "carry_out", fails)
    report = rebuilt(())
    assert [one.app for one in report.apps] == ["blog", "shop", "wiki"]
    assert report.plain()["carry_error"] == "one: no package index answers"
    assert json.loads(Path(rebuilding.REPORT).read_text()).items() >= report.plain().items()


@pytest.mark.parametrize("what", ["servers", "apps"])
def test_what_is_missing_waits_for_its_data_before_anything_is_done(
    rebuilt: Callable[[Sequence[Snapshot]], Report],
    session: Any,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """Whatever fails: an apply deploys the apps empty then, and nobody may back them up so."""
    Path(pending.PENDING).unlink()

    def fails(*_: Any, **__: Any) -> None:
        raise RonronError("it fails")

    monkeypatch.setattr(apply, what, fails)
    with pytest.raises(RonronError, match="it fails"):
        rebuilt(())
    assert pending.waiting(session.manager) == ("blog", "shop", "wiki")

"""What a rebuild does first, and what its report tells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ronron.backup.restic import Snapshot
from ronron.errors import RonronError
from ronron.events import Event, State
from ronron.plan.backups import Failed
from ronron.plan.rebuilding import PENDING, Rebuilt, Report, _Pending, _Phases, waves
from ronron.servers.recording import RecordingRunner
from ronron.site.load import load_site

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
        "servers_seconds": 30.0,
        "platform_seconds": 31.0,
        "seconds": 118.0,
    }  # fmt: skip


def test_an_app_that_was_taken_out_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "ronron.yml").write_text(
        SITE + "servers: {one: {address: 192.0.2.1, roles: [manager]}}\n"
    )
    (tmp_path / "apps").mkdir()
    for name in ("blog", "wiki"):
        (tmp_path / "apps" / f"{name}.yml").write_text("recipe: hello\n")
    manager = RecordingRunner("one", {f"cat {PENDING}": b'["games", "wiki"]'})
    pending = _Pending(manager, load_site(tmp_path).apps)
    pending.begin(["blog"])
    assert pending.apps == ("wiki", "blog")

"""What was seen of backups: what is kept, which alerts follow, and the metrics beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ronron.backup import metrics
from ronron.backup import state as states
from ronron.backup.alerts import alerts
from ronron.backup.restic import Snapshot
from ronron.backup.state import Checked, State
from ronron.catalog.stack import VOLUMES
from ronron.cli.backup import _rows, _snapshot
from ronron.errors import OperatorError
from ronron.plan.watching import compared
from ronron.site.backup import AppBackup, Backup, Keep, rule
from ronron.site.load import load_site

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
DAILY = rule(Backup(repository="/r"), None)


def ago(**spent: float) -> datetime:
    return NOW - timedelta(**spent)


def snapshot(id: str, time: datetime, size: int = 1000, app: str = "blog") -> Snapshot:
    return Snapshot(id * 8, app, time, (), size, 10)


def seen(*snapshots: Snapshot, tried: datetime | None = None) -> State:
    """The state after a backup of blog began at `tried`, and the repository listed `snapshots`."""
    state = states.listed(State(), snapshots, NOW)
    state = states.tried(state, "blog", tried or ago(hours=1), held=5)
    return states.expected(state, {"blog": DAILY}, {"blog": ago(days=30)})


def found(state: State, now: datetime = NOW) -> dict[str, str]:
    return {one.kind: str(one) for one in alerts(state, now)}


def test_a_snapshot_of_last_night_is_well() -> None:
    assert found(seen(snapshot("a", ago(hours=1)))) == {}


def test_what_was_seen_counts_and_not_that_a_job_ended() -> None:
    """The backup is said to have worked, and the repository lists nothing."""
    assert found(seen()) == {"never": "blog: no snapshot was ever seen in the repository"}
    state = seen(snapshot("a", ago(hours=40)), tried=ago(hours=1))
    assert found(state) == {"old": "blog: the newest snapshot is 40 h old"}


def test_an_app_that_was_just_deployed_is_not_late() -> None:
    new = states.expected(State(), {"blog": DAILY}, {"blog": ago(hours=20)})
    assert found(new) == {}
    late = states.expected(State(), {"blog": DAILY}, {"blog": ago(hours=40)})
    assert set(found(late)) == {"never", "missed"}


def test_a_deployment_does_not_begin_the_time_anew() -> None:
    state = states.expected(State(), {"blog": DAILY}, {"blog": ago(hours=40)})
    again = states.expected(state, {"blog": DAILY}, {"blog": ago(hours=1)})
    assert found(again) == found(state) != {}


def test_a_failure_and_a_missed_run_are_said() -> None:
    state = states.tried(seen(snapshot("a", ago(hours=1))), "blog", NOW, error="the disk is full")
    assert found(state) == {"failed": "blog: the last backup failed: the disk is full"}
    state = seen(snapshot("a", ago(hours=28)), tried=ago(hours=28))
    assert list(found(state)) == ["missed"]
    assert found(seen(snapshot("a", ago(hours=25)), tried=ago(hours=25))) == {}


def test_a_backup_that_shrinks_or_is_empty_is_said() -> None:
    state = seen(snapshot("a", ago(hours=25)))
    state = states.tried(state, "blog", ago(hours=25), held=7, dumps={"db": 900})
    again = [snapshot("a", ago(hours=25)), snapshot("b", ago(hours=1), size=499)]
    state = states.listed(state, again, NOW)
    state = states.tried(state, "blog", ago(hours=1), held=0, dumps={"db": 400})
    state = states.expected(state, {"blog": DAILY}, {})
    assert [str(one) for one in alerts(state, NOW)] == [
        "blog: its volumes hold no file, where they held 7",
        "blog: the snapshot holds 499 B, the last one 1000 B",
        "blog: the dump of db has 400 B, the last one 900 B",
    ]
    empty = states.tried(seen(snapshot("a", ago(hours=1))), "blog", NOW, held=0)
    assert found(empty) == {"empty": "blog: its volumes hold no file"}
    without = states.tried(seen(snapshot("a", ago(hours=1))), "blog", NOW, held=None)
    assert found(without) == {}


def test_a_snapshot_from_the_future_is_said_and_not_counted_as_fresh() -> None:
    state = seen(snapshot("a", ago(hours=40)), snapshot("f", NOW + timedelta(days=2)))
    assert state.apps["blog"].newest
    assert state.apps["blog"].newest.id == "a" * 8
    assert set(found(state)) == {"future", "old"}
    assert "ffffffff" in found(state)["future"]
    # Who looks has a clock that is right, where the manager's was ahead.
    fresh = seen(snapshot("a", ago(hours=1)))
    assert set(found(fresh, ago(days=2))) == {"clock", "future"}


def test_clocks_that_differ_are_said() -> None:
    skew = compared({"manager": 7200.0, "worker-1": 1.0, "worker-2": -1.0})
    state = seen(snapshot("a", ago(hours=1))).model_copy(update={"skew": skew})
    assert found(state) == {"clock": "the clock of manager is 2 h ahead"}
    assert compared({"manager": -7200.0})["manager"] == 0
    assert compared({}) == {}


def test_a_check_that_failed_or_did_not_come_is_said() -> None:
    state = seen(snapshot("a", ago(hours=1)))
    failed = state.model_copy(
        update={"checked": Checked(at=ago(days=1), error="a pack is damaged")}
    )
    assert "a pack is damaged" in found(failed)["check"]
    late = state.model_copy(update={"checked": Checked(at=ago(days=17))})
    assert found(late) == {"check": "the repository was last checked 17 d ago"}


def test_a_check_that_never_came_is_said_once_two_could_have() -> None:
    """After a rebuild the snapshots are old, and what was kept of checks is gone."""
    old, new = snapshot("a", ago(days=90)), snapshot("b", ago(hours=1))
    assert "check" not in found(states.listed(State(), [old, new], NOW))
    first = states.listed(State(), [old], ago(days=17))
    again = states.listed(states.parse(first.model_dump_json()), [old, new], NOW)
    assert "was never checked since" in found(again)["check"]
    checked = again.model_copy(update={"checked": Checked(at=ago(days=1))})
    assert "check" not in found(checked)


def test_it_is_read_as_it_was_written_and_a_damaged_file_is_said() -> None:
    state = seen(snapshot("a", ago(hours=1)))
    assert states.parse(state.model_dump_json()) == state
    assert states.parse("") == State()
    assert list(found(states.parse("{half"))) == ["state"]


def test_what_other_apps_left_is_not_told_of() -> None:
    state = states.listed(State(), [snapshot("a", ago(days=90), app="gone")], NOW)
    assert "gone" in state.apps
    assert found(states.expected(state, {"blog": DAILY}, {"blog": NOW})) == {}


def test_a_listing_says_which_volumes_and_dumps_a_snapshot_holds() -> None:
    """Which dumps, of the snapshots alone that the manager has seen being made."""
    paths = ("/srv/ronron/backups/blog", "/srv/ronron/shared/blog/pages", f"{VOLUMES}/blog/content")
    old, new = (
        replace(snapshot(id, ago(hours=hours)), paths=paths) for id, hours in (("a", 25), ("b", 1))
    )
    state = states.listed(State(), [old, new], NOW)
    state = states.tried(state, "blog", ago(hours=1), held=7, dumps={"db": 900})
    dumps = states.dumps_of(state)
    assert dumps == {new.id: {"db": 900}}
    assert [row[-2:] for row in _rows([old, new], dumps, NOW)] == [
        ("content, pages", "?"),
        ("content, pages", "db"),
    ]
    assert _snapshot(old)["volumes"] == ["content", "pages"]
    # One that has no databases has no dumps, with or without files.
    for held in (None, 7):
        state = states.tried(states.listed(State(), [new], NOW), "blog", ago(hours=1), held=held)
        assert _rows([new], states.dumps_of(state), NOW)[0][-1] == "-"


def test_metrics_are_prometheus_text() -> None:
    state = states.tried(seen(snapshot("a", ago(hours=1))), "blog", NOW, error="x")
    checked = Checked(at=ago(days=1))
    text = metrics.text(state.model_copy(update={"checked": checked, "skew": {"m": 0.5}}), NOW)
    lines = text.splitlines()
    assert (
        f'ronron_backup_snapshot_timestamp_seconds{{app="blog"}} {ago(hours=1).timestamp():.0f}'
        in lines
    )
    for line in (
        "# TYPE ronron_backup_failed gauge",
        'ronron_backup_failed{app="blog"} 1',
        'ronron_backup_alert{app="blog",kind="failed"} 1',
        'ronron_backup_alert{app="blog",kind="old"} 0',
        'ronron_backup_alert_after_seconds{app="blog"} 129600',
        f'ronron_backup_deployed_timestamp_seconds{{app="blog"}} {ago(days=30).timestamp():.0f}',
        f'ronron_backup_drill_after_seconds{{app="blog"}} {9 * 86400}',
        "ronron_backup_check_failed 0",
        'ronron_backup_clock_skew_seconds{server="m"} 0.5',
    ):
        assert line in lines
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, ("backup", "daily", 86400, 48 * 3600)),
        ({"schedule": "hourly"}, ("backup-hourly", "hourly", 3600, 6 * 3600)),
        ({"schedule": "weekly", "alert_after": "8d"}, ("backup-weekly", "weekly", 604800, 691200)),
        ({"alert_after": "1m"}, ("backup", "daily", 86400, 30 * 86400)),
    ],
)
def test_what_holds_for_an_app(own: Mapping[str, str] | None, expected: tuple[object, ...]) -> None:
    site = Backup(repository="/r", alert_after="48h")
    got = rule(site, AppBackup.model_validate(own) if own else None)
    assert (got.job, got.schedule, got.period, got.alert_after) == expected
    assert got.keep == Keep()


SITE = "name: s\ndomain: example.org\ncontact: a@example.org\n"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("schedule: sometimes", "backup.schedule: 'sometimes' is not a schedule"),
        ("schedule: '*-*-* 03:00; rm'", "is not a schedule"),
        ("schedule: '*-*-* 03:00'", "backup.alert_after: is missing beside a calendar event"),
        ("check_reads: half", "backup.check_reads: 'half' is not a part of the data"),
    ],
)
def test_faults_of_the_block_are_said(tmp_path: Path, block: str, said: str) -> None:
    (tmp_path / "ronron.yml").write_text(SITE + f"backup: {{repository: /r, {block}}}\n")
    with pytest.raises(OperatorError) as caught:
        load_site(tmp_path)
    assert said in str(caught.value)


def test_a_rest_server_is_taken_for_append_only_and_the_other_choice_is_pointed_out() -> None:
    rest = "rest:https://b.example.net/"
    assert not Backup(repository=rest).deletes
    assert not Backup(repository=rest).exposed
    assert Backup(repository=rest, append_only=False).exposed
    assert Backup(repository="/r").deletes
    assert not Backup(repository="/r", append_only=True).deletes


@pytest.mark.parametrize(
    ("schedule", "last", "never"),
    [
        ("weekly", 9, 9),
        ("monthly", 33, 33),
        ("*-01,04,07,10-01 07:00", 94, 94),
        ("off", None, None),
    ],
)
def test_a_drill_is_overdue_by_its_schedule(
    schedule: str, last: int | None, never: int | None
) -> None:
    settings = Backup.model_validate({"repository": "/r", "drill": schedule})

    def overdue(days: float, drilled: bool) -> bool:
        deployed = ago(days=400) if drilled else ago(days=days)
        state = states.expected(State(), {"blog": rule(settings, None)}, {"blog": deployed})
        return state.apps["blog"].drill_overdue(ago(days=days) if drilled else None, NOW)

    for drilled, after in ((True, last), (False, never)):
        if after is None:
            assert not overdue(399, drilled)
        else:
            assert not overdue(after - 0.1, drilled)
            assert overdue(after + 0.1, drilled)


def test_no_figure_of_drills_where_they_are_off() -> None:
    off = rule(Backup.model_validate({"repository": "/r", "drill": "off"}), None)
    state = states.expected(State(), {"blog": off}, {"blog": ago(days=30)})
    assert "drill_after" not in metrics.text(state, NOW)

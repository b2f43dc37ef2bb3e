"""`ronron alerts` and `ronron top`: what they ask for, and what they make of the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ronron.catalog.recipe import Catalog
from ronron.cli.main import run
from ronron.cli.top import sparkline
from ronron.errors import OperatorError
from ronron.plan import figures, monitoring
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")
APP = App.model_validate({"name": "watcher", "recipe": "monitoring"})
LOADED = LoadedSite(Path("/nowhere"), SITE, {"watcher": APP})


@dataclass
class Inside:
    """Stands for the monitoring's containers: answers, and what they were asked."""

    answers: dict[str, str]
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def __call__(
        self, session: Any, service: str, argv: Sequence[str], seconds: float = 60.0
    ) -> str:
        self.asked.append((service, list(argv)))
        return next(text for key, text in self.answers.items() if key in " ".join(argv))


def inside(monkeypatch: pytest.MonkeyPatch, **answers: str) -> Inside:
    made = Inside(answers)
    monkeypatch.setattr(monitoring, "_inside", made)
    return made


SESSION: Any = object()


def alert(name: str, since: str, **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name}\n  happened", "command": "ronron status"},
        "startsAt": since,
        "status": {"state": "active", "silencedBy": ["1"] if labels.get("server") else []},
    }


def test_alerts_are_what_is_wrong_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        alert("DiskFull", "2026-11-27T08:00:00.000Z", server="one"),
        alert("Watchdog", "2026-11-01T08:00:00.000Z"),
        alert("AppNotAnswering", "2026-11-27T07:00:00.000Z", app="blog"),
    ]
    made = inside(monkeypatch, alert=json.dumps(found))
    told = monitoring.alerts(SESSION)
    assert [(one.name, one.summary, one.silenced) for one in told] == [
        ("AppNotAnswering", "AppNotAnswering happened", False),
        ("DiskFull", "DiskFull happened", True),
    ]
    assert told[0].since == datetime(2026, 11, 27, 7, tzinfo=UTC)
    assert made.asked == [
        (
            "alertmanager",
            ["amtool", "--alertmanager.url=http://127.0.0.1:9093", "alert", "query", "--active",
             "--silenced", "--output=json"],
        )
    ]  # fmt: skip


def test_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, alert="null")
    assert monitoring.alerts(SESSION) == ()


def test_a_silence_names_labels_and_nothing_of_it_is_taken_for_a_pattern(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = inside(monkeypatch, silence="0a1b\n")
    matchers = {"server": "one", "alertname": 'Disk"Full'}
    assert monitoring.silence(SESSION, matchers, "2h", "cat", "new disk") == "0a1b"
    assert made.asked[0][1][2:] == [
        "silence", "add", "--duration=2h", "--author=cat", "--comment=new disk",
        'server="one"', 'alertname="Disk\\"Full"',
    ]  # fmt: skip


def test_a_silence_that_is_not_there_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, silence="[]")
    with pytest.raises(OperatorError, match="there is no silence 0a1b"):
        monitoring.unsilence(SESSION, "0a1b")


def test_figures_are_spread_over_time_with_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "data": {"result": [{"metric": {"server": "one"}, "values": [[100, "1"], [130, "NaN"]]}]}
    }
    inside(monkeypatch, query_range=json.dumps(rows))
    monkeypatch.setattr(figures, "POINTS", 4)
    servers, apps = figures.top(SESSION, start=100.0, end=130.0)
    assert servers["one"]["cpu"] == (1.0, None, None, None)
    assert apps == {}


def test_a_site_without_monitoring_is_told_how_to_get_it() -> None:
    assert monitoring.app_of(LOADED) == "watcher"
    with pytest.raises(OperatorError) as caught:
        monitoring.app_of(LoadedSite(Path("/nowhere"), SITE, {}))
    assert str(caught.value) == "this site has no monitoring (ronron deploy monitoring)"


@pytest.mark.parametrize(
    ("values", "most", "shown"),
    [
        ((0.0, 50.0, 100.0), 100.0, "▁▅█"),
        ((1.0, None, 2.0), None, "▅ █"),
        ((), None, ""),
        ((0.0, 0.0), None, "▁▁"),
        ((-1.0, 5.0), 1.0, "▁█"),
    ],
)
def test_values_become_bars(
    values: tuple[float | None, ...], most: float | None, shown: str
) -> None:
    assert sparkline(values, most) == shown


def test_the_catalog_has_the_recipe_that_is_asked() -> None:
    services = Catalog().find(monitoring.RECIPE).services
    assert {"prometheus", "alertmanager", "watch"} <= set(services)


def test_a_silence_is_of_an_app_that_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ronron.yml").write_text("name: a\ndomain: example.org\ncontact: a@example.org\n")
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "watcher.yml").write_text("recipe: monitoring\n")
    assert run(["--site", str(tmp_path), "alerts", "silence", "--app", "wacther"]) == 2
    assert "no app wacther in this site (did you mean watcher?)" in capsys.readouterr().err

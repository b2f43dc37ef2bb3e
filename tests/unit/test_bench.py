"""The bench: its figures, the file that it writes, and the site that planning is measured on."""

import importlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the bench by name."""
    monkeypatch.syspath_prepend(str(BENCH))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_a_figure_says_its_target_and_whether_it_holds(bench: Any) -> None:
    measure = bench("measure")
    assert measure.Result("a / b", 0.25, "ratio", 0.25).json() == {
        "name": "a / b",
        "value": 0.25,
        "unit": "ratio",
        "target": "<= 0.25",
        "holds": True,
    }
    assert measure.Result("failed", 1, "requests", 0).json()["holds"] is False
    reported = measure.Result("a", 3.0, "s").json()
    assert (reported["target"], reported["holds"]) == (None, None)


def test_works_take_turns_and_the_first_changes(bench: Any) -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    times = bench("measure").alternate(2, lambda: work("a"), lambda: work("b"), warm_up=1)
    assert "".join(order) == "abbaab"
    assert times == ([4.0, 5.0], [3.0, 6.0])


def test_a_program_that_fails_ends_the_bench_with_its_last_words(bench: Any) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3(.|\n)*no such thing"):
        bench("measure").timed(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_figures_that_were_not_measured_again_stay(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench("run")
    file = tmp_path / "results.json"
    monkeypatch.setattr(run, "RESULTS", file)
    old, again = {"name": "old", "value": 1}, {"name": "again", "value": 1}
    run.write([old, again])
    run.write([{**again, "value": 2}])
    assert json.loads(file.read_text()) == [{"name": "again", "value": 2}, old]


def test_the_table_shows_a_missed_target(bench: Any) -> None:
    run = bench("run")
    missed = bench("measure").Result("slow thing", 2.5, "ratio", 1.25)
    head, line = run.table([missed.json()]).splitlines()
    assert head.split() == ["what", "value", "unit", "target", "holds"]
    assert line.split() == ["slow", "thing", "2.5", "ratio", "<=", "1.25", "NO"]


def test_an_unknown_subject_is_refused(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench("run").main(["plannig"])
    assert "no such subject: plannig" in capsys.readouterr().err


def test_the_recorded_site_differs_from_its_swarm_as_it_says(bench: Any, tmp_path: Path) -> None:
    from ronron.plan import make

    recorded, planning = bench("recorded"), bench("planning")
    recorded.write(tmp_path / "30", 30)
    assert len(list((tmp_path / "30" / "site" / "apps").glob("*.yml"))) == 30
    plans = []
    original = make.make

    def keep(*arguments: Any) -> Any:
        plans.append(original(*arguments))
        return plans[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "make", keep)
        told = planning.plan_once(tmp_path / "30")
    assert told["changes"] == recorded.CHANGES
    assert told["peak"] > 0
    few = recorded.FEW
    actions = Counter(change.action for change in plans[0].apps)
    assert actions == {"create": few, "update": few, "repair": few, "remove": few}
    drift = {
        change.field: (change.before, change.after)
        for app in plans[0].apps
        if app.action == "repair"
        for change in app.changes
    }
    assert drift == {"services.web.environment.X": ("1", None)}


def test_the_results_kept_in_the_repository_are_complete() -> None:
    figures = json.loads((BENCH / "results.json").read_text())
    for figure in figures:
        assert list(figure) == ["name", "value", "unit", "target", "holds"]
        assert (figure["target"] is None) == (figure["holds"] is None)
    described = (ROOT / "docs" / "performance.md").read_text()
    for figure in figures:
        if figure["target"] is not None:
            assert figure["name"] in described


def test_the_catalog_and_a_vault_are_really_gone_through(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ronron.catalog.recipe import names

    catalog = bench("catalog")
    monkeypatch.setattr(catalog, "FILES", 2)
    catalog.fill(tmp_path)
    assert catalog.read(tmp_path) == 2 * catalog.SECRETS
    assert catalog.decrypt(tmp_path) > 2 * catalog.SECRETS * 32
    assert catalog.whole_catalog() == len(names())

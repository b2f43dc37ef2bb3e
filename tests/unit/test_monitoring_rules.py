"""The rules of alerts: each has a test in Prometheus' own format, and promtool runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ronron.catalog import alerting
from ronron.catalog.recipe import find
from ronron.catalog.render import render
from ronron.site.alerts import Alerts
from ronron.site.models import App, Site

RULES = find("monitoring").folder / "rules"
TESTS = Path(__file__).parents[1] / "rules"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: scripts/interpreters"
)
SITE = Site.model_validate(
    {
        "name": "cats",
        "domain": "example.org",
        "contact": "cat@example.org",
        "servers": {"one": {"roles": ["manager"]}, "two": None},
        "alerts": {
            "disk": 90,
            "servers": {"two": {"disk": 80, "cpu": 50}},
            "email": ["a@example.org"],
            "ntfy": "https://ntfy.example.org/cats",
        },
    }
)


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert of the rules, by name."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(rules) > 20
    return {rule["alert"]: rule for rule in rules}


@needs_promtool
@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_before(path: Path) -> None:
    promtool("test", "rules", path.name)


def test_every_alert_is_tested_both_ways() -> None:
    quiet: set[str] = set()
    fires: set[str] = set()
    for path in TESTS.glob("*.yml"):
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for case in test["promql_expr_test"]:
                assert f'"{test["name"]}"' in case["expr"]
                (fires if case["exp_samples"] else quiet).add(test["name"])
    assert fires == set(alerts())
    assert quiet == set(alerts()) - {"Watchdog"}


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for name, rule in alerts().items():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning", "none"), name
        assert notes["summary"], name
        assert name == "Watchdog" or (notes["description"] and notes["command"]), name


@needs_promtool
def test_thresholds_are_figures_for_each_server(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.yml"
    path.write_text(alerting.thresholds(SITE))
    promtool("check", "rules", path)
    rules = json.loads(path.read_text())["groups"][0]["rules"]
    found = {(rule["record"], rule["labels"]["server"]): rule["expr"] for rule in rules}
    assert found == {
        ("ronron_threshold_cpu", "one"): "vector(95)",
        ("ronron_threshold_memory", "one"): "vector(95)",
        ("ronron_threshold_disk", "one"): "vector(90)",
        ("ronron_threshold_cpu", "two"): "vector(50)",
        ("ronron_threshold_memory", "two"): "vector(95)",
        ("ronron_threshold_disk", "two"): "vector(80)",
    }


def test_the_site_says_who_is_told_and_secrets_without_a_value_are_left_out() -> None:
    app = App.model_validate({"name": "monitoring", "recipe": "monitoring"})
    stack = render(app, find("monitoring"), SITE, {"slack_url": "monitoring_slack_url_1"})
    watch = stack.compose["services"]["watch"]
    assert json.loads(watch["environment"]["ALERTS"]) == {
        "email": ["a@example.org"],
        "ntfy": "https://ntfy.example.org/cats",
    }
    assert watch["secrets"] == ["slack_url"]
    assert stack.secrets == {"slack_url": "monitoring_slack_url_1"}
    filled = stack.compose["services"]["prometheus"]["environment"]["THRESHOLDS"]
    assert "ronron_threshold_disk" in filled


@pytest.mark.parametrize(
    ("mounted", "left_out"),
    [
        ("/", False),
        ("/var/lib/docker", False),
        ("/var/lib/docker/overlay2/a/merged", True),
        ("/run", True),
        ("/run/docker/netns/a", True),
        ("/dev/shm", True),  # noqa: S108 - nothing is written there
        ("/devices", False),
    ],
)
def test_disks_are_measured_and_what_docker_mounts_on_them_is_not(
    mounted: str, left_out: bool
) -> None:
    option = "--collector.filesystem.mount-points-exclude="
    command = find("monitoring").stack["services"]["node"]["command"]
    (pattern,) = (word.removeprefix(option) for word in command if word.startswith(option))
    assert bool(re.search(pattern.replace("$$", "$"), mounted)) is left_out


def test_no_other_recipe_gets_what_is_the_monitorings() -> None:
    assert alerting.defaults(find("ghost"), SITE) == {}


def test_a_server_that_says_nothing_has_the_common_threshold() -> None:
    assert Alerts().threshold("one", "cpu") == 95

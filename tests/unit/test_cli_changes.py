"""How a plan is shown to a person and to a program."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ronron.catalog.recipe import Catalog
from ronron.catalog.render import render
from ronron.cli import changes
from ronron.errors import ServerError
from ronron.plan.model import AppChange, Change, Plan
from ronron.servers.provision.model import Change as ServerChange
from ronron.servers.provision.model import ProvisioningPlan
from ronron.site.models import App, Site
from ronron.swarm.nodes import NodeChange

PLAN = Plan(
    ProvisioningPlan((ServerChange("worker-1", "package docker.io", "", "installed", "needed"),)),
    nodes=(NodeChange("join", "worker-1", "node", None, "worker", "not in the swarm"),),
    network=(Change("network ronron_proxy", "network", None, "subnet 10.90.0.0/16"),),
    apps=(
        AppChange(
            "blog",
            "update",
            (
                Change("app blog", "services.web.image", "ghost:6.1", "ghost:6.2", "apps/blog.yml"),
                Change("app blog", "services.web.environment.X", "1", None, "changed by hand"),
            ),
        ),
        AppChange("old", "remove", (Change("app old", "app", "deployed", None),)),
    ),
)
NOTHING = Plan(ProvisioningPlan())


def test_a_plan_is_shown_line_by_line_below_servers_and_apps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes.show(PLAN, as_json=False)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "server worker-1",
        "  ~ package docker.io:  → installed  (needed)",
        "  + node: worker  (not in the swarm)",
        "network ronron_proxy",
        "  + network: subnet 10.90.0.0/16",
        "app blog",
        "  ~ services.web.image: ghost:6.1 → ghost:6.2  (apps/blog.yml)",
        "  - services.web.environment.X: 1  (changed by hand)",
        "app old",
        "  - app: deployed",
        "6 changes",
    ]
    assert err == ""
    assert "\x1b" not in out, "no colours without a terminal"


def test_one_change_is_no_changes(capsys: pytest.CaptureFixture[str]) -> None:
    changes.show(Plan(ProvisioningPlan(), network=PLAN.network), as_json=False)
    assert capsys.readouterr().out.endswith("\n1 change\n")


def test_nothing_to_change_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    changes.show(NOTHING, as_json=False)
    assert capsys.readouterr().out == "nothing to change\n"


@pytest.mark.parametrize(
    "plan",
    [
        Plan(ProvisioningPlan(), unreachable={"worker-1": "worker-1: no answer"}),
        Plan(ProvisioningPlan(failures=(ServerError("worker-1", "no answer"),))),
    ],
)
def test_what_could_not_be_looked_at_is_not_called_unchanged(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    changes.show(plan, as_json=False)
    assert capsys.readouterr() == ("", "could not be looked at: worker-1: no answer\n")
    changes.show(plan, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "changes": [],
        "failures": {"worker-1": "worker-1: no answer"},
        "notes": [],
    }


def test_a_program_gets_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    changes.show(PLAN, as_json=True)
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [set(item) for item in told["changes"]] == [
        {"where", "field", "before", "after", "why"}
    ] * 6
    assert told["changes"][4] == {
        "where": "app blog",
        "field": "services.web.environment.X",
        "before": "1",
        "after": None,
        "why": "changed by hand",
    }
    assert err == ""


def test_a_stack_in_a_plan_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    hello = Catalog().find("hello")
    site = Site(name="cats", domain="example.org", contact="cat@example.org")
    app = App(name="hi", recipe="hello", parameters={"title": "a marker"})
    stack = render(app, hello, site, {})
    plan = Plan(ProvisioningPlan(), apps=(AppChange("hi", "create", (), stack),))
    for as_json in (True, False):
        changes.show(plan, as_json)
        assert "a marker" not in capsys.readouterr().out


@given(st.text(min_size=1), st.text(max_size=200))
def test_no_control_character_reaches_the_terminal(field: str, value: str) -> None:
    line = changes._line(Change("app x", field, None, value))
    assert line.isprintable()


def test_long_values_are_cut_and_lines_joined() -> None:
    long = "a\n" * 100
    line = changes._line(Change("app x", "field", None, long))
    assert line == "+ field: " + ("a " * 100)[: changes.WIDEST - 1] + "…"
    assert changes._line(Change("app x", "field", "", "\x1b[2J")) == "~ field:  → �[2J"

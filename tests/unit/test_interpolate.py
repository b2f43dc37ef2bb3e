"""Compose interpolation, form by form, and the types that values are cast to."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ronron.catalog.interpolate import Need, compile, escape
from ronron.errors import SiteError


@pytest.mark.parametrize(
    ("text", "unset", "empty", "filled"),
    [
        ("$A", "", "", "x"),
        ("${A}", "", "", "x"),
        ("${A:-d}", "d", "d", "x"),
        ("${A-d}", "d", "", "x"),
        ("${A:+alt}", "", "", "alt"),
        ("${A+alt}", "", "alt", "alt"),
        ("${A:-}", "", "", "x"),
        ("${A:-${B:-c}}", "c", "c", "x"),
        ("${A:-a-${B:-b-${C:-c}}-z}", "a-b-c-z", "a-b-c-z", "x"),
        ("${A:+${A}@}host", "host", "host", "x@host"),
        ("a$$b", "a$b", "a$b", "a$b"),
        ("$${A}", "${A}", "${A}", "${A}"),
        ("$$$A", "$", "$", "$x"),
        ("${A:-pa$$word}", "pa$word", "pa$word", "x"),
        ("$A-$A.${A}", "-.", "-.", "x-x.x"),
        ("${A:-http://h:80/?q=1}", "http://h:80/?q=1", "http://h:80/?q=1", "x"),
        ("{{.Node}} {$A}", "{{.Node}} {}", "{{.Node}} {}", "{{.Node}} {x}"),
        ("admin:$$apr1$$x/y$$z", *["admin:$apr1$x/y$z"] * 3),
    ],
)
def test_every_form(text: str, unset: str, empty: str, filled: str) -> None:
    template = compile([text])
    assert template.render({}) == [unset]
    assert template.render({"A": ""}) == [empty]
    assert template.render({"A": "x"}) == [filled]


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("${A:?say which}", {}, "variable A is missing: say which"),
        ("${A:?say which}", {"A": ""}, "variable A is missing: say which"),
        ("${A?}", {}, "variable A is missing"),
        ("${A:-${B:?and B}}", {}, "variable B is missing: and B"),
        ("${A:?no $B}", {"B": "bee"}, "variable A is missing: no bee"),
    ],
)
def test_a_required_variable_is_named_with_its_place(
    text: str, variables: dict[str, str], message: str
) -> None:
    template = compile({"services": {"web": {"image": text}}}, "ghost.yml")
    with pytest.raises(SiteError) as caught:
        template.render(variables)
    problem = caught.value.problems[0]
    assert str(problem).startswith(f"ghost.yml: services.web.image: {message} (")
    assert "--set" in problem.remedy


def test_required_but_empty_is_enough_without_the_colon() -> None:
    assert compile("${A?need it}").render({"A": ""}) == ""


def test_all_missing_variables_are_reported_together() -> None:
    with pytest.raises(SiteError) as caught:
        compile({"a": "${A:?}", "b": ["${B?}", "${C}"]}).render({})
    assert [problem.path for problem in caught.value.problems] == ["a", "b[0]"]


@pytest.mark.parametrize(
    "text", ["$", "5$", "$1", "${", "${A", "${A:-${B}", "${}", "${1}", "${A!}"]
)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(SiteError) as caught:
        compile({"command": ["sh", text]})
    assert caught.value.problems[0].path == "command[1]"
    assert "$$" in caught.value.problems[0].remedy


CASTS: list[tuple[str, str, object]] = [
    ("services.web.deploy.replicas", "3", 3),
    ("services.web.deploy.update_config.parallelism", "2", 2),
    ("services.web.deploy.update_config.max_failure_ratio", "0.5", 0.5),
    ("services.web.deploy.restart_policy.max_attempts", "4", 4),
    ("services.web.deploy.placement.max_replicas_per_node", "1", 1),
    ("services.web.deploy.resources.limits.pids", "100", 100),
    ("services.web.deploy.resources.limits.memory", "512M", "512M"),
    ("services.web.healthcheck.retries", "5", 5),
    ("services.web.healthcheck.disable", "true", True),
    ("services.web.read_only", "no", False),
    ("services.web.init", "1", True),
    ("services.web.tty", "off", False),
    ("services.web.environment.PORT", "80", "80"),
    ("networks.front.external", "true", True),
    ("networks.front.internal", "false", False),
]


@pytest.mark.parametrize(("path", "value", "expected"), CASTS)
def test_typed_places_get_typed_values(path: str, value: str, expected: object) -> None:
    *parents, leaf = path.split(".")
    tree: dict[str, Any] = {leaf: "${V}"}
    for parent in reversed(parents):
        tree = {parent: tree}
    node = compile(tree).render({"V": value})
    for step in path.split("."):
        node = node[step]
    assert node == expected
    assert type(node) is type(expected)


def test_typed_places_in_lists() -> None:
    web = {
        "ports": [{"target": "${P}", "published": "${P:-1}0"}],
        "secrets": [{"source": "s", "mode": "${MODE}"}],
    }
    rendered = compile({"services": {"web": web}}).render({"P": "80", "MODE": "0440"})
    assert rendered["services"]["web"]["ports"] == [{"target": 80, "published": 800}]
    assert rendered["services"]["web"]["secrets"][0]["mode"] == 0o440


def test_a_value_of_the_wrong_type_names_the_variable() -> None:
    template = compile({"services": {"web": {"deploy": {"replicas": "${N}"}}}}, "x.yml")
    with pytest.raises(SiteError, match=r"x.yml: services.web.deploy.replicas: “many”.*variable N"):
        template.render({"N": "many"})


def test_each_tree_is_fresh_and_the_source_is_left_alone() -> None:
    source = {"a": ["$X", {"b": 1}]}
    template = compile(source)
    first = template.render({"X": "1"})
    first["a"].append("more")
    first["a"][1]["b"] = 2
    assert template.render({"X": "2"}) == {"a": ["2", {"b": 1}]}
    assert source == {"a": ["$X", {"b": 1}]}


def test_the_variables_are_listed_with_their_defaults() -> None:
    template = compile(
        {"image": "app:${TAG:-1.2}", "env": ["${D:?which}", "${D}", "${E:-${F:-f}}", "${G:+$H}"]}
    )
    assert template.variables() == {
        "TAG": Need("1.2", False, ("image",)),
        "D": Need(None, True, ("env[0]", "env[1]")),
        "E": Need("f", False, ("env[2]",)),
        "F": Need("f", False, ("env[2]",)),
        "G": Need(None, False, ("env[3]",)),
        "H": Need(None, False, ("env[3]",)),
    }


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(trees)
def test_an_escaped_tree_comes_back_as_it_was(tree: object) -> None:
    assert compile(escape(tree)).render({"A": "x"}) == tree


def test_a_recipe_of_three_services_renders_in_well_under_a_third_of_a_millisecond() -> None:
    service = {
        "image": "app:${TAG:-1}",
        "environment": {f"KEY_{n}": f"${{VALUE_{n}:-x}} and text" for n in range(10)},
        "deploy": {"replicas": "${N:-1}", "resources": {"limits": {"memory": "${M:-1G}"}}},
        "healthcheck": {"test": ["CMD", "curl", "-f", "http://localhost/$PATHNAME"]},
        "volumes": [f"v{n}:/data/{n}" for n in range(5)],
    }
    template = compile({"services": dict.fromkeys(("web", "db", "cache"), service)})
    best = min(_seconds(template.render, {"TAG": "2"}) for _ in range(50))
    assert best < 0.0003


def _seconds(call: Any, argument: Any) -> float:
    began = time.perf_counter()
    call(argument)
    return time.perf_counter() - began

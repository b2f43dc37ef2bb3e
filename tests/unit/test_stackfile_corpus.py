"""Every file of the corpus becomes what its golden file says, or is refused as it says."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ronron.catalog.plain.document import read
from ronron.catalog.render import render
from ronron.catalog.stackfile import translate
from ronron.errors import SiteError
from ronron.site.models import App, Site
from stack_corpus import FOLDER, Case, cases

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")


def test_the_corpus_is_large() -> None:
    assert len(cases()) >= 50


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_file_becomes_what_its_golden_file_says(case: Case) -> None:
    outcome = case.outcome()
    assert outcome == yaml.safe_load(case.golden.read_text("utf-8"))
    assert ("refused" in outcome) == case.refused


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_file_that_is_not_refused_renders(case: Case) -> None:
    if case.refused:
        return
    recipe = case.translate().recipe
    app = App(name="app", stack="stacks/app.yml", domain=case.domain)
    secrets = {name: f"app_{name}_1" for name in recipe.extension.secrets}
    stack = render(app, recipe, SITE, secrets)
    web = recipe.extension.web
    names = {"web" if web and name == web.service else name for name in recipe.services}
    assert {name.removeprefix("web.") for name in stack.compose["services"]} == names
    assert set(stack.secrets) == set(recipe.extension.secrets)


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.refused], ids=lambda case: case.name
)
def test_what_is_refused_names_its_line_and_a_remedy(case: Case) -> None:
    lines = case.text.splitlines()
    for problem in case.outcome()["refused"]:
        assert problem.startswith(f"{case.name}.yml: line ")
        number = int(problem.split("line ")[1].split(":")[0])
        assert 0 < number <= len(lines)
        assert problem.endswith(")")


ODD: Iterator[Any] = itertools.cycle(
    [None, 5, "x", "", [], {}, [None], {"a": None}, [{}], True, "${Z}", "[::", "/"]
)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_wrong_value_anywhere_is_an_error_of_the_operator(case: Case) -> None:
    if case.name == "duplicate-key":
        return
    tree = read(case.text, case.name).tree
    for path in _paths(tree):
        changed = copy.deepcopy(tree)
        node: Any = changed
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = next(ODD)
        with contextlib.suppress(SiteError):
            translate(
                yaml.safe_dump(changed),
                name="app",
                file="x.yml",
                folder=FOLDER / case.name,
                variables={},
                domain=case.domain,
            )


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from _paths(value, (*path, key))

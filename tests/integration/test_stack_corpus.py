"""What the corpus of plain stack files becomes is accepted by Docker's own reader."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from ronron.catalog.render import render
from ronron.site.models import App, Site
from stack_corpus import Case, cases

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")


@pytest.mark.parametrize(
    "case", [case for case in cases() if not case.refused], ids=lambda case: case.name
)
def test_docker_accepts_what_a_file_becomes(case: Case) -> None:
    recipe = case.translate().recipe
    app = App(name="app", stack="stacks/app.yml", domain=case.domain)
    secrets = {name: f"app_{name}_1" for name in recipe.extension.secrets}
    stack = render(app, recipe, SITE, secrets)
    done = subprocess.run(
        ["docker", "stack", "config", "-c", "-"],
        input=stack.text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    accepted = yaml.safe_load(done.stdout)
    for name, body in stack.compose["services"].items():
        assert accepted["services"][name]["image"] == body["image"]
        found = accepted["services"][name].get("environment", {})
        environment = {key: "" if value is None else value for key, value in found.items()}
        assert environment == (body.get("environment") or {})

"""Docker's own reader accepts every built-in recipe: as it is written, and as it is rendered."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml

from ronron.catalog.lint import OWN_VARIABLES
from ronron.catalog.recipe import find, names
from ronron.catalog.render import render
from ronron.site.models import App, Site

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker command")


def config(text: str) -> dict[str, object]:
    """The stack as `docker stack config` understands it."""
    done = subprocess.run(
        ["docker", "stack", "config", "-c", "-"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    accepted: dict[str, object] = yaml.safe_load(done.stdout)
    return accepted


@pytest.mark.parametrize("name", names())
def test_docker_accepts_the_rendered_stack(name: str) -> None:
    recipe = find(name)
    parameters: dict[str, str | int | float | bool] = {
        parameter: (rule.choices or ("1",))[0]
        for parameter, rule in recipe.extension.parameters.items()
        if rule.required
    }
    secrets = {secret: f"app_{secret}_1" for secret in recipe.extension.secrets}
    app = App(name="app", recipe=name, parameters=parameters)
    stack = render(app, recipe, SITE, secrets)
    accepted = config(stack.text)["services"]
    assert isinstance(accepted, dict)
    assert set(accepted) == set(stack.compose["services"])
    for service, body in stack.compose["services"].items():
        found = accepted[service]
        assert found["image"] == body["image"]
        assert found["healthcheck"]["test"] == body["healthcheck"]["test"]
        environment = {key: value or "" for key, value in found.get("environment", {}).items()}
        assert environment == (body.get("environment") or {})


@pytest.mark.parametrize("name", names())
def test_docker_accepts_the_recipe_as_it_is_written(name: str) -> None:
    recipe = find(name)
    done = subprocess.run(
        ["docker", "stack", "config", "-c", "stack.yml"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=recipe.folder,
        env={**os.environ, **dict.fromkeys(OWN_VARIABLES, "example")},
    )
    assert done.returncode == 0, done.stderr

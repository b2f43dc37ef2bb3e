"""docs/recipes.md names every key of a recipe, and every rule of the lint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from ronron.catalog import checks, lint, recipe

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "recipes.md").read_text("utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", TEXT.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`(?:, `[^`]+`)* \|", text, re.M)


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("## The block `x-ronron`", recipe.Extension),
        ("### `web`", recipe.Web),
        ("### `secrets.NAME`", recipe.SecretRule),
        ("### `secrets.NAME.rotate`", recipe.Rotation),
        ("### `parameters.NAME`", recipe.Parameter),
        ("### `volumes.NAME`", recipe.Volume),
        ("### `databases.NAME`", recipe.Database),
        ("### `checks.NAME`", checks.Check),
    ],
)
def test_every_key_is_documented_in_the_models_order(title: str, model: type[BaseModel]) -> None:
    keys = [field.alias or name for name, field in model.model_fields.items()]
    assert first_column(section(title)) == keys


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("## The block `x-ronron`", recipe.Extension),
        ("### `web`", recipe.Web),
        ("### `databases.NAME`", recipe.Database),
        ("### `checks.NAME`", checks.Check),
    ],
)
def test_what_is_required_is_said_to_be(title: str, model: type[BaseModel]) -> None:
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    said = re.findall(r"^\| `(\w+)` \|[^|]*\| required \|", section(title), re.M)
    assert set(said) == required


def test_every_rule_of_the_lint_is_documented() -> None:
    source = Path(lint.__file__).read_text("utf-8")
    rules = set(re.findall(r"Finding\(\s*\"([a-z-]+)\"", source))
    rows = re.findall(r"^\| (`[^|]+) \|", section("## The contract"), re.M)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == rules


def test_every_variable_is_documented() -> None:
    assert first_column(section("## Variables")) == list(lint.OWN_VARIABLES)


def test_the_example_passes_the_lint_but_for_what_it_leaves_out(tmp_path: Path) -> None:
    example = section("## An example").split("```yaml\n")[1].split("```")[0]
    folder = tmp_path / "wiki"
    folder.mkdir()
    database = """db:
    image: mariadb:11.8.6
    secrets: [db_password]
    volumes: ["data:/var/lib/mysql"]
    healthcheck: {test: [CMD, healthcheck.sh, --connect]}
    deploy: {resources: {limits: {memory: 256M}, reservations: {memory: 64M}}}
"""
    (folder / "stack.yml").write_text(example.replace("db: …", database))
    (folder / "README.md").write_text("# Wiki\n\nA wiki.\n\nOpen it.\n")
    assert lint.lint(recipe.load(folder)) == []

"""The published schemas and the page on the site's files say what the models say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from ronron.site.models import RESERVED_APPS
from ronron.site.reading import parse
from ronron.site.schema import KINDS, schema, schema_text

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_that_of_the_models(kind: str) -> None:
    assert (DOCS / "schema" / f"{kind}.json").read_text() == schema_text(kind), (
        f"run: ronron schema {kind} > docs/schema/{kind}.json"
    )


def valid(kind: str, text: str) -> bool:
    validator = jsonschema.Draft202012Validator(schema(kind))
    return bool(validator.is_valid(parse(text, "")))


GOOD = "name: a\ndomain: example.org\ncontact: a@example.org\n"


@pytest.mark.parametrize(
    ("kind", "text", "is_valid"),
    [
        ("ronron", GOOD, True),
        ("ronron", GOOD + "servers:\nacme:\n", True),
        ("ronron", GOOD + "servers: {a: {roles: [manager]}, b: }", True),
        ("ronron", GOOD + "servers: {a: {name: a}}", False),
        ("ronron", GOOD + "servers: {A: {}}", False),
        ("ronron", GOOD + "servers: {a: {roles: []}}", False),
        ("ronron", GOOD + "colour: red", False),
        ("ronron", "name: a", False),
        ("app", "recipe: ghost\nlimits: {web: {memory: 1G, cpus: 1.5}}", True),
        ("app", "stack: a.yml\nparameters: {a: 1, b: true, c: d}", True),
        ("app", "recipe: ghost\nstack: a.yml", False),
        ("app", "domain: a.org", False),
        ("app", "recipe: ghost\nname: a", False),
    ],
)
def test_the_schema_holds_and_refuses(kind: str, text: str, is_valid: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    assert valid(kind, text) is is_valid


def rows(kind: str) -> list[str]:
    """The rows that the page has for a file, one for each of its keys."""
    whole = schema(kind)

    def resolved(described: dict[str, Any]) -> dict[str, Any]:
        """What is described, without the possibility to leave it empty."""
        about = dict(described)
        for one in described.get("anyOf", []):
            if one != {"type": "null"}:
                about |= resolved(one)
        if "$ref" in about:
            about = {**whole["$defs"][about["$ref"].rsplit("/", 1)[1]], **about}
        return about

    def kind_of(about: dict[str, Any]) -> str:
        if "enum" in about:
            return ", ".join(f"`{value}`" for value in about["enum"])
        if about["type"] == "array":
            return f"list of {kind_of(resolved(about['items']))}"
        words: dict[str, str] = {"string": "text", "integer": "number", "boolean": "true, false"}
        types = about["type"] if isinstance(about["type"], list) else [about["type"]]
        return ", ".join(words.get(one, str(one)) for one in types)

    def below(path: str, about: dict[str, Any]) -> list[str]:
        found = []
        for key, described in about["properties"].items():
            found += row(f"{path}{key}", described, key in about.get("required", []))
        return found

    def row(path: str, described: dict[str, Any], required: bool) -> list[str]:
        about = resolved(described)
        if "properties" in about:
            return below(f"{path}.", about)
        if about.get("type") == "array" and "properties" in (one := resolved(about["items"])):
            return below(f"{path}.N.", one)
        patterns = about.get("patternProperties", {})
        inner = about.get("additionalProperties") or next(iter(patterns.values()), None)
        if inner and "properties" in resolved(inner):
            return below(f"{path}.NAME.", resolved(inner))
        value = f"by name: {kind_of(resolved(inner))}" if inner else kind_of(about)
        default = described.get("default")
        shown = (
            "required" if required
            else "" if default in (None, {}, [])
            else f"`[{', '.join(default)}]`" if isinstance(default, list)
            else f"`{str(default).lower()}`"
        )  # fmt: skip
        return [f"| `{path}` | {value} | {shown} | {about['description']} |"]

    return below("", whole)


def test_the_page_lists_every_key_and_no_other() -> None:
    page = (DOCS / "site.md").read_text()
    written = re.findall(r"^\| `(?:[^|\n]*\|){4}$", page, re.MULTILINE)
    expected = [row for kind in KINDS for row in rows(kind)]
    assert written == expected, "docs/site.md should have:\n" + "\n".join(expected)


def test_the_page_names_the_reserved_apps() -> None:
    page = (DOCS / "site.md").read_text()
    assert all(f"`{name}`" in page for name in RESERVED_APPS)


def test_the_page_s_examples_are_valid() -> None:
    page = (DOCS / "site.md").read_text()
    examples = re.findall(r"```yaml\n# (ronron|app).*?\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in examples] == ["ronron", "app"]
    for kind, text in examples:
        assert valid(kind, text)

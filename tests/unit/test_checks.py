"""Data checks: what a recipe may declare, and what an app without any must hold."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ronron.catalog.checks import Check, checks_of
from ronron.catalog.recipe import Extension, find, names

GOOD: list[dict[str, Any]] = [
    {"service": "db", "rows": ["x"]},
    {"volume": "files", "file": "**/*"},
    {"service": "db", "volume": "files", "listed": ["x"]},
]
BAD: list[dict[str, Any]] = [
    {},
    {"rows": ["x"]},
    {"file": "*"},
    {"service": "db", "listed": ["x"]},
    {"service": "db", "rows": ["x"], "volume": "files"},
    {"service": "db", "rows": ["x"], "listed": ["x"], "volume": "files"},
]


@pytest.mark.parametrize("content", GOOD)
def test_a_check_is_one_of_three(content: dict[str, Any]) -> None:
    assert Check(about="x", **content).command == tuple(
        content.get("rows", content.get("listed", ()))
    )


@pytest.mark.parametrize("content", BAD)
def test_and_nothing_else(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must have"):
        Check(about="x", **content)


def test_an_app_that_declares_none_must_have_files() -> None:
    extension = Extension(title="x", license="MIT")
    (check,) = checks_of(extension, {"data": "files"}).values()
    assert (check.volume, check.file) == ("data", "**/*")
    # A database is not looked into without being told how: there is nothing to make up.
    assert checks_of(extension, {"data": "files", "db": "database"}) == {}


@pytest.mark.parametrize("name", [n for n in names() if find(n).extension.databases])
def test_passwords_of_checks_are_no_arguments(name: str) -> None:
    """As with dumps: by an environment of that one program, or read by the program itself."""
    for check in find(name).extension.checks.values():
        text = " ".join(check.command)
        assert "--password" not in text
        assert not text or "/run/secrets/db_password" in text

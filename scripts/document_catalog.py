"""Write docs/catalog.md: the built-in recipes, as they describe themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ronron.catalog.recipe import Recipe, builtin_folder, find, names
from ronron.catalog.stack import PLATFORM

DOCS = Path(__file__).resolve().parent.parent / "docs"
TARGET = DOCS / "catalog.md"
SOURCE = "../src/ronron/catalog/recipes"
UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}

HEAD = """\
# The catalog

Written by `scripts/document_catalog.py` from the recipes themselves; a test compares them.

Every recipe keeps [the contract](recipes.md#the-contract). How far each was tried:

- **run**: the tests deploy it on a lab's servers and use it over HTTPS;
- **rendered**: Docker accepts the stack, and its image, variables and paths were looked up in
  upstream's documentation and sources. It was never deployed: expect to correct something.

*Memory* is the sum of its services' limits, and in brackets of what the swarm reserves for them:
a bound, not a measurement.
"""


def main() -> int:
    TARGET.write_text(text(), encoding="utf-8")
    return 0


def text() -> str:
    """The whole page."""
    recipes = [find(name) for name in names()]
    apps = [recipe for recipe in recipes if recipe.name not in PLATFORM]
    columns = ("recipe", "what it is", "category", "licence", "tried", "memory", "databases")
    parts = [HEAD, table(columns, [row(recipe) for recipe in apps])]
    parts.append("## Images\n")
    parts.append(
        table(("recipe", "service", "image"), [line for it in apps for line in images(it)])
    )
    unfree = [it for it in apps if it.extension.license_exception]
    if unfree:
        parts.append("## Not free software\n")
        parts += [
            f"**{it.extension.title}**: {it.extension.license_exception.strip()}\n" for it in unfree
        ]
    parts.append("## The platform's own parts\n")
    parts.append("ronron deploys them by itself.\n")
    own = [recipe for recipe in recipes if recipe.name in PLATFORM]
    parts.append(table(("recipe", "what it is"), [(link(it), it.extension.about) for it in own]))
    return "\n".join(parts)


def row(recipe: Recipe) -> tuple[str, ...]:
    """A recipe's line in the table."""
    it = recipe.extension
    licence = f"{it.license} (not free)" if it.license_exception else it.license
    engines = ", ".join(database.engine for database in it.databases.values())
    return (link(recipe), it.about, it.category, licence, it.verified, memory(recipe), engines)


def link(recipe: Recipe) -> str:
    """The recipe's name, leading to its README."""
    name = recipe.folder.relative_to(builtin_folder())
    return f"[{recipe.name}]({SOURCE}/{name}/README.md)"


def images(recipe: Recipe) -> list[tuple[str, ...]]:
    """The images that its services run."""
    return [
        (recipe.name, service, f"`{body['image']}`") for service, body in recipe.services.items()
    ]


def memory(recipe: Recipe) -> str:
    """The sum of the services' limits and reservations."""
    limits, reserved = 0.0, 0.0
    for body in recipe.services.values():
        resources = body["deploy"]["resources"]
        limits += megabytes(resources["limits"])
        reserved += megabytes(resources.get("reservations") or {})
    return f"{limits:.0f} MB ({reserved:.0f} MB)"


def megabytes(resources: Mapping[str, Any]) -> float:
    """The memory that a Compose file means by `512M`, in megabytes."""
    value = str(resources.get("memory", "0M"))
    return float(value[:-1]) * UNITS[value[-1]]


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell or ' ' for cell in line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

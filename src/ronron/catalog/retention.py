"""What the site's file says of log lines, as the recipes of log stores take it: parameters."""

from __future__ import annotations

from ronron.catalog.recipe import Recipe
from ronron.site.logs import CLASSES, STORES
from ronron.site.models import Site


def defaults(recipe: Recipe, site: Site) -> dict[str, str]:
    """What the recipe's parameters get from the site: how long each class is kept."""
    if recipe.name not in STORES:
        return {}
    names = {f"retention_{name}": getattr(site.logs.retention, name) for name in CLASSES}
    return {name: value for name, value in names.items() if name in recipe.extension.parameters}

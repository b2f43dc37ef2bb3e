"""What the site's file says of alerts, as the recipe `monitoring` takes it: two parameters."""

from __future__ import annotations

import json
from dataclasses import replace

from ronron.catalog.recipe import Recipe
from ronron.site.alerts import KINDS
from ronron.site.load import LoadedSite
from ronron.site.models import Site

THRESHOLDS = "thresholds"
CHANNELS = "channels"
AUTHORITY = "authority"


def defaults(recipe: Recipe, site: Site) -> dict[str, str]:
    """What the recipe's parameters get from the site."""
    made = {THRESHOLDS: thresholds, CHANNELS: channels}
    if recipe.name != "monitoring" or not set(made) <= set(recipe.extension.parameters):
        return {}
    return {name: make(site) for name, make in made.items()}


def with_authority(recipe: Recipe, loaded: LoadedSite) -> Recipe:
    """The recipe with the authority of the apps' certificates, where the site names its own."""
    trust = loaded.site.acme.trust
    if recipe.name != "monitoring" or trust is None:
        return recipe
    text = loaded.path(trust).read_text(encoding="utf-8")
    rules = dict(recipe.extension.parameters)
    rules[AUTHORITY] = rules[AUTHORITY].model_copy(update={"default": text})
    return replace(recipe, extension=recipe.extension.model_copy(update={"parameters": rules}))


def thresholds(site: Site) -> str:
    """A file of rules for Prometheus: the threshold of each kind and server as a figure."""
    rules = [
        {
            "record": f"ronron_threshold_{kind}",
            "expr": f"vector({site.alerts.threshold(server, kind)})",
            "labels": {"server": server},
        }
        for server in site.servers
        for kind in KINDS
    ]
    return json.dumps({"groups": [{"name": "thresholds", "rules": rules}]}, indent=1)


def channels(site: Site) -> str:
    """The channels as JSON; what is secret of them is not in the site's file."""
    wanted = {"email", "matrix", "ntfy"}
    return json.dumps(site.alerts.model_dump(include=wanted, exclude_defaults=True))

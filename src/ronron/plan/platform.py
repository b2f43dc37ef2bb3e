"""The platform's own apps, as the site asks for them: socket proxy, registry, proxy."""

from __future__ import annotations

from ronron.catalog.stack import PLATFORM
from ronron.site.load import LoadedSite
from ronron.site.models import App


def apps(loaded: LoadedSite) -> dict[str, App]:
    """The platform's apps by name, in the order in which they start."""
    parameters: dict[str, dict[str, str]] = {name: {} for name in PLATFORM}
    parameters |= {"proxy": _proxy(loaded)}
    return {
        name: App.model_validate({"name": name, "recipe": name, "parameters": parameters[name]})
        for name in PLATFORM
    }


def _proxy(loaded: LoadedSite) -> dict[str, str]:
    acme = loaded.site.acme
    authority = loaded.path(acme.ca).read_text(encoding="utf-8") if acme.ca else ""
    return {"acme_directory": acme.url, "acme_ca": authority}

"""The site's one mail relay, as recipes know it: parameters and a secret of fixed names.

What an app's own file says comes first. An app that names a relay of its own gets nothing of the
site's: neither its account nor its password are for others.
"""

from __future__ import annotations

from ronron.catalog.recipe import Recipe
from ronron.site.models import App, Site

HOST = "mail_host"
SECURITY = "mail_security"
USER = "mail_user"
PASSWORD = "mail_password"  # noqa: S105 - the secret's name
PARAMETERS = (HOST, "mail_port", SECURITY, USER, "mail_from")
ALWAYS = (HOST, "mail_port", "mail_from")
"""Those that every recipe that sends mail has; some programs neither log in nor encrypt."""


def defaults(app: App, recipe: Recipe, site: Site) -> dict[str, str | int]:
    """What an app gets from the site for the parameters that its own file does not set.

    Nothing for an app with a relay of its own, or one that cannot speak with the site's.
    """
    relay = site.mail
    if relay is None or HOST in app.parameters:
        return {}
    encrypts = SECURITY in recipe.extension.parameters
    if (relay.user and not takes_account(recipe)) or (relay.security != "none" and not encrypts):
        return {}
    found = (relay.host, relay.port, relay.security, relay.user or "", relay.sender)
    return dict(zip(PARAMETERS, found, strict=True))


def takes_account(recipe: Recipe) -> bool:
    """Whether the recipe can log in at a relay: it has the parameter and the secret for it.

    A plain stack file may have a secret of that name which is another's.
    """
    return USER in recipe.extension.parameters and PASSWORD in recipe.extension.secrets


def is_relays(recipe: Recipe, name: str) -> bool:
    """Whether the secret `name` is a relay's: it is never made up, and not always there."""
    return name == PASSWORD and takes_account(recipe)


def has_account(app: App, recipe: Recipe, site: Site) -> bool:
    """Whether the app logs in at its relay, and so needs the secret `mail_password`."""
    if not takes_account(recipe):
        return False
    user = app.parameters.get(USER, defaults(app, recipe, site).get(USER, ""))
    return bool(user)


def has_sites_account(app: App, recipe: Recipe, site: Site) -> bool:
    """Whether that account is the site's, with the site's password."""
    return has_account(app, recipe, site) and USER not in app.parameters

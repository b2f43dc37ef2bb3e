"""Those who log in at the proxy: their passwords are secrets of the app that the proxy checks.

The proxy reads the hashes in labels. A file would have to be mounted into it, and it would stop
for each password that changes (docs/decisions/0027).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import TypeVar

from ronron.catalog.recipe import Recipe, SecretRule
from ronron.site.models import App
from ronron.site.vault import Secrets

COST = 8
"""bcrypt's: 2^8 rounds, some 15 ms of each request. The passwords are random, of 190 bits."""

NEW = "new"
"""Stands in a plan for the hash of a password that is not made yet."""

_PREFIX = "access_"
_BCRYPT = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)

Found = TypeVar("Found", bound=Recipe)


class Login(SecretRule):
    """The password of somebody who logs in at the proxy: no service reads it."""


def with_logins(recipe: Found, app: App) -> Found:
    """The recipe, with a secret for each of the app's users."""
    if not app.access.users:
        return recipe
    logins = {secret_of(user): Login(about=f"{user}'s at the proxy") for user in app.access.users}
    secrets = {**recipe.extension.secrets, **logins}
    extension = recipe.extension.model_copy(update={"secrets": secrets})
    return replace(recipe, extension=extension)


def secret_of(user: str) -> str:
    """The name of the secret that is a user's password."""
    return f"{_PREFIX}{user}"


def hashes(app: App, secrets: Secrets | None) -> dict[str, str]:
    """The hash of each user's password; the same one as long as the password is the same."""
    values = secrets.values if secrets else {}
    return {
        user: _hash(secrets, app.name, secret_of(user))
        if secrets and secret_of(user) in values
        else NEW
        for user in app.access.users
    }


def _hash(secrets: Secrets, app: str, name: str) -> str:
    import bcrypt

    message = f"{app}\0{name}\0bcrypt".encode()
    key = bytes.fromhex(secrets.salt.reveal())
    salt = hmac.new(key, message, hashlib.sha256).digest()[:16]
    text = base64.b64encode(salt).translate(_BCRYPT)[:22]
    # bcrypt takes 72 bytes: a longer one, that somebody chose, counts with its first.
    password = secrets.values[name].reveal().encode()[:72]
    return bcrypt.hashpw(password, b"$2b$%02d$%s" % (COST, text)).decode()

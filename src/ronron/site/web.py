"""What stands before an app in the proxy: `headers`, `access`, `traffic` in `apps/NAME.yml`.

Recipes say the same of their headers and paths (`x-ronron.web`), with these types.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from ronron.site import values
from ronron.site.fields import Model

LARGEST_BODY = 32 * 2**20
"""Bytes: requests with a limit wait in the proxy's memory until they are whole."""

_RATE = r"([1-9][0-9]{0,5})/([smh])"
# Others are part of how HTTP itself works, or set anew by each answer.
_FIXED = re.compile(
    r"connection|content-(encoding|length|range|type)|date|etag|keep-alive|location|set-cookie|"
    r"trailer|transfer-encoding|upgrade|via|www-authenticate|proxy-.*",
    re.IGNORECASE,
)


def header(name: str) -> str:
    """The name of a header of answers that may be set."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise values.fault(f"{values.shown(name)} is not a header", "such as X-Frame-Options")
    if _FIXED.fullmatch(name):
        raise values.fault(f"{name} is not a header that the proxy may set", "remove it")
    return name


def header_value(text: str) -> str:
    """One line of a header's value."""
    if not text.strip() or not re.fullmatch(r"[\x20-\x7e]{1,4096}", text):
        raise values.fault(
            f"{values.shown(text)} is not a header's value",
            "one line in ASCII; to take the header away, name it under own: and in the app",
        )
    return text


def network(text: str) -> str:
    """An IP address or a network, in its canonical form."""
    try:
        return str(ipaddress.ip_network(text, strict=True)).removesuffix("/32").removesuffix("/128")
    except ValueError:
        pass
    try:
        wider = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        remedy = "such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
        raise values.fault(f"{values.shown(text)} is not an address", remedy) from None
    raise values.fault(f"{text} is an address inside of a network", f"write {wider}, or it alone")


def networks(items: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses without repetition; all of the Internet is no restriction."""
    for item in items:
        if item in ("0.0.0.0/0", "::/0"):
            raise values.fault(f"{item} is everybody", "remove the list, and nobody is kept out")
        if items.count(item) > 1:
            raise values.fault(f"{item} is there twice", "remove one")
    return items


def login(name: str) -> str:
    """The name of somebody who logs in at the proxy."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
        raise values.fault(
            f"{values.shown(name)} is not a user name",
            "1 to 31 of a-z, 0-9 and _, beginning with a letter",
        )
    return name


def logins(items: tuple[str, ...]) -> tuple[str, ...]:
    """User names without repetition."""
    for item in items:
        if items.count(item) > 1:
            raise values.fault(f"{item} is there twice", "remove one")
    return items


def rate(text: str) -> str:
    """A number of requests in a second, minute or hour: `20/s`."""
    if not re.fullmatch(_RATE, text):
        raise values.fault(
            f"{values.shown(text)} is not a rate", "requests by second, minute or hour: 20/s, 30/m"
        )
    return text


def rate_parts(text: str) -> tuple[int, str]:
    """`30/m` as a count and a period of the proxy's: (30, `1m`)."""
    count, _, unit = text.partition("/")
    return int(count), f"1{unit}"


def body(text: str) -> str:
    """The size of a request's body."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}[KM]", text):
        raise values.fault(f"{values.shown(text)} is not a size", "such as 512K or 10M")
    if values.memory_bytes(text) > LARGEST_BODY:
        raise values.fault(
            f"{text} is more than the proxy keeps of a request",
            f"at most {LARGEST_BODY // 2**20}M; larger uploads are the app's own to limit",
        )
    return text


def path(text: str) -> str:
    """A path on the app's domain, with everything below it."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{1,200}", text):
        raise values.fault(f"{values.shown(text)} is not a path", "such as /admin")
    return text


Header = Annotated[str, AfterValidator(header)]
HeaderValue = Annotated[str, AfterValidator(header_value)]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(network)], ...],
    Field(strict=False),
    AfterValidator(networks),
]
Rate = Annotated[
    str,
    AfterValidator(rate),
    WithJsonSchema({"type": "string", "pattern": f"^{_RATE}$"}),
]
Body = Annotated[str, AfterValidator(body)]
WebPath = Annotated[str, AfterValidator(path)]


class Headers(Model):
    """How the headers of an app's answers differ from those that every app gets."""

    set: dict[Header, HeaderValue] = Field(
        default={}, description="Headers by name, instead of the default or beside it."
    )
    own: Annotated[tuple[Header, ...], Field(strict=False)] = Field(
        default=(), description="Headers that are left as the app itself sends them."
    )
    reason: str | None = Field(default=None, description="Why they differ: required where they do.")

    @model_validator(mode="after")
    def _reasoned(self) -> Headers:
        names = [name.lower() for name in (*self.set, *self.own)]
        for name in names:
            if names.count(name) > 1:
                raise values.fault(f"{name} is there twice", "set it, or leave it to the app")
        if names and not (self.reason or "").strip():
            raise values.fault("missing", "say why the headers differ", at="reason")
        return self


class Access(Model):
    """Who may reach an app at all; the proxy asks."""

    addresses: Networks = Field(
        default=(), description="Addresses and networks that may; default: all."
    )
    users: Annotated[
        tuple[Annotated[str, AfterValidator(login)], ...],
        Field(strict=False),
        AfterValidator(logins),
    ] = Field(
        default=(),
        description="Names of those who log in (HTTP basic authentication); their passwords are "
        "made, and shown by ronron secrets show APP access_USER --reveal.",
    )
    admin: Networks = Field(
        default=(),
        description="Addresses and networks that may reach the recipe's admin paths; default: all.",
    )


class Traffic(Model):
    """How much of an app's traffic the proxy lets through."""

    rate: Rate | None = Field(
        default=None, description="Requests of one client: `20/s`, `300/m`; more get status 429."
    )
    burst: int | None = Field(
        default=None, ge=1, le=100_000, description="How many may come at once; default: the rate."
    )
    body: Body | None = Field(
        default=None, description="Size of a request, `10M`; larger ones get status 413."
    )

    @model_validator(mode="after")
    def _of_a_rate(self) -> Traffic:
        if self.burst is not None and self.rate is None:
            raise values.fault("is nothing without a rate", "add one: rate: 20/s", at="burst")
        return self

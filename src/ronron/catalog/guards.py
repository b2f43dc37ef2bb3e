"""What stands before an app in the proxy, as labels: headers, addresses, logins, limits, paths.

All routers of an app get them, also those that a plain stack file has beside its domain's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ronron.catalog.recipe import PathRule, Recipe, Web
from ronron.errors import Problem
from ronron.site.models import App
from ronron.site.values import memory_bytes
from ronron.site.web import rate_parts

HEADERS: Mapping[str, str] = {
    # Two years, as hstspreload.org asks; names below the domain are other apps' to decide.
    "Strict-Transport-Security": "max-age=63072000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # The proxy takes headers away that are set to nothing.
    "Server": "",
    "X-Powered-By": "",
}
"""The headers of every app's answers."""

NOBODY = "255.255.255.255/32"
"""An address that no client has: the proxy can close a path by an allow-list alone."""

UNAUTHORIZED, FORBIDDEN = 401, 403
REFUSALS_LABEL = "ronron.refusals"
"""On an app's web service: by which statuses the proxy refuses strangers, such as `401_403`."""

_OPTIONS = {
    "stsseconds": "strict-transport-security",
    "framedeny": "x-frame-options",
    "customframeoptionsvalue": "x-frame-options",
    "contenttypenosniff": "x-content-type-options",
    "referrerpolicy": "referrer-policy",
    "permissionspolicy": "permissions-policy",
}
"""Options of Traefik's middleware by the header that they set."""

_PAGES = {"monitoring": "grafana", "logs": "elastic"}
"""What people may look at in the place of a recipe that has no web page."""

_RULE = re.compile(r"traefik\.http\.routers\.([^.]+)\.rule", re.IGNORECASE)
_SETS = re.compile(r"traefik\.http\.middlewares\.[^.]+\.headers\.(.+)", re.IGNORECASE)
_CUSTOM = "customresponseheaders."


def headers(web: Web, app: App) -> dict[str, str]:
    """The headers that the proxy sets: every app's, then as the recipe, then as the app says.

    An empty value takes the header away.
    """
    found = dict(HEADERS)
    for differing in (web.headers, app.headers):
        changed = {name.lower() for name in (*differing.own, *differing.set)}
        found = {name: value for name, value in found.items() if name.lower() not in changed}
        found |= differing.set
    return found


def refusals(app: App, web: Web | None) -> tuple[int, ...]:
    """The statuses by which the proxy keeps a stranger from the app's health page."""
    health = web.health if web else ""
    admin = app.access.admin and any(health.startswith(path) for path in (web.admin if web else ()))
    statuses = (
        (app.access.users, UNAUTHORIZED),
        (app.access.addresses or admin, FORBIDDEN),
    )
    return tuple(status for asked, status in statuses if asked)


def check(app: App, recipe: Recipe) -> Iterator[Problem]:
    """What the app's file asks of the proxy that the recipe has nothing for."""
    file, web = f"apps/{app.name}.yml", recipe.extension.web
    if web is None:
        if app.domain:
            text = f"{recipe.name} has no web page: nothing would answer there"
            other = _PAGES.get(recipe.name)
            instead = f"; the recipe {other} has pages" if other else ""
            yield Problem(file, "domain", text, f"leave the domain out{instead}")
        for field in ("headers", "access", "traffic"):
            if field in app.model_fields_set and getattr(app, field).model_fields_set:
                text = f"{recipe.name} answers no domain: the proxy does not stand before it"
                yield Problem(file, field, text, "remove it")
    elif app.access.admin and not web.admin:
        text = f"the recipe {recipe.name} names no admin paths"
        remedy = "use access.addresses for the whole app, or x-ronron.web.admin in a recipe"
        yield Problem(file, "access.admin", text, remedy)


def apply(
    services: Mapping[str, Any], app: App, web: Web, domain: str, users: Mapping[str, str]
) -> None:
    """Add the labels of the app's guards to its services' own.

    `users` maps those who log in to the hashes of their passwords. The web service's router is
    there already, named after the app.
    """
    labels: dict[str, str] = services[web.service]["deploy"]["labels"]
    everywhere = [body["deploy"]["labels"] for body in services.values()]
    written = {name for one in everywhere for name in _written(one)}
    kept = {n: v for n, v in headers(web, app).items() if n.lower() not in written}
    guards = dict(_guards(app, kept, users))
    for one in everywhere:
        for key in [key for key in one if _RULE.fullmatch(key)]:
            router = key.removesuffix(".rule") + ".middlewares"
            one[router] = ",".join([*guards, *filter(None, [one.get(router)])])
    labels |= dict(_options(guards))
    if statuses := refusals(app, web):
        labels[REFUSALS_LABEL] = "_".join(map(str, statuses))
    for number, (path, restricting) in enumerate(_paths(app, web).items(), 1):
        labels |= _path_router(app.name, number, path, restricting, labels)
        labels |= dict(_options(restricting))


def rules(services: Mapping[str, Any]) -> Iterator[str]:
    """The rules of all routers of an app that is rendered."""
    for body in services.values():
        labels: Mapping[str, str] = body["deploy"]["labels"]
        yield from (rule for key, rule in labels.items() if _RULE.fullmatch(key))


def _options(middlewares: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for name, options in middlewares.items():
        for key, value in options.items():
            yield f"traefik.http.middlewares.{name}.{key}", value


def _written(labels: Mapping[str, str]) -> Iterator[str]:
    """The headers that a plain stack file's own labels set, in lower case."""
    for key in labels:
        if match := _SETS.fullmatch(key):
            option = match[1].lower()
            if option.startswith(_CUSTOM):
                yield option.removeprefix(_CUSTOM)
            elif option in _OPTIONS:
                yield _OPTIONS[option]


def _guards(
    app: App, kept: Mapping[str, str], users: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The middlewares in their order: answers of those behind get the headers too."""
    name, access, traffic = app.name, app.access, app.traffic
    yield f"{name}-headers", {f"headers.{_CUSTOM}{key}": kept[key] for key in sorted(kept)}
    if access.addresses:
        yield f"{name}-addresses", {"ipallowlist.sourcerange": ",".join(access.addresses)}
    if traffic.rate:
        yield f"{name}-rate", _rate(traffic.rate, traffic.burst)
    if access.users:
        listed = ",".join(f"{user}:{users[user]}" for user in access.users)
        yield (
            f"{name}-users",
            # The app does not learn the password.
            {"basicauth.users": listed, "basicauth.realm": name, "basicauth.removeheader": "true"},
        )
    if traffic.body:
        size = str(memory_bytes(traffic.body))
        yield f"{name}-body", {"buffering.maxrequestbodybytes": size}


def _rate(rate: str, burst: int | None) -> dict[str, str]:
    count, period = rate_parts(rate)
    return {
        "ratelimit.average": str(count),
        "ratelimit.period": period,
        "ratelimit.burst": str(burst or count),
        # One client has a whole /64 of addresses.
        "ratelimit.sourcecriterion.ipstrategy.ipv6subnet": "64",
    }


def _paths(app: App, web: Web) -> Mapping[str, dict[str, dict[str, str]]]:
    """By path that is restricted, its middlewares with their options."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    if app.access.admin:
        allowed = {"ipallowlist.sourcerange": ",".join(app.access.admin)}
        found = {path: {f"{app.name}-admin": allowed} for path in web.admin}
    for number, rule in enumerate(web.paths, 1):
        found.setdefault(rule.path, {})[f"{app.name}-path{number}"] = _restricted(rule)
    return found


def _restricted(rule: PathRule) -> dict[str, str]:
    return _rate(rule.rate, rule.burst) if rule.rate else {"ipallowlist.sourcerange": NOBODY}


def _path_router(
    app: str, number: int, path: str, middlewares: Iterable[str], labels: Mapping[str, str]
) -> dict[str, str]:
    """A router beside the app's own, for a path: a longer rule comes before a shorter one."""
    own, router = f"traefik.http.routers.{app}", f"traefik.http.routers.{app}_{number}"
    found = {
        key.replace(own, router, 1): value
        for key, value in labels.items()
        if key.startswith(f"{own}.")
    }
    found[f"{router}.rule"] = f"({labels[f'{own}.rule']}) && PathPrefix(`{path}`)"
    first, _, rest = labels[f"{own}.middlewares"].partition(",")
    found[f"{router}.middlewares"] = ",".join(filter(None, [first, *middlewares, rest]))
    return found

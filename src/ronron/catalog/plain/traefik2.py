"""Labels for Traefik 2 and 3, read as routes in the form of version 3.

What changed between the two is in Traefik's "Migration from v2 to v3" page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ronron.catalog.plain.reading import Reading
from ronron.catalog.plain.routes import Label, Middlewares, Route, entry_points, port_of, text_of
from ronron.catalog.plain.rules import Match, RuleError, parse

_REMOVED_HEADERS = re.compile(
    r"headers\.(sslredirect|ssltemporaryredirect|sslhost|sslforcehost|featurepolicy)$"
)
_TO_HTTPS = re.compile(r"redir.*(https|ssl|tls|secure)|(https|ssl|tls).*redir|redirect$")


@dataclass
class Labels:
    """The labels of one service, sorted by what they configure."""

    routers: dict[str, dict[str, Label]] = field(default_factory=dict)
    services: dict[str, dict[str, Label]] = field(default_factory=dict)
    middlewares: dict[str, dict[str, Label]] = field(default_factory=dict)


def uses(labels: Mapping[str, Label]) -> bool:
    """Whether any of the labels is for version 2 or 3."""
    return any(key.startswith(("traefik.http.", "traefik.tcp.", "traefik.udp.")) for key in labels)


def sort(reading: Reading, labels: Mapping[str, Label]) -> Labels:
    """Sort the labels; kinds that cannot be carried over are refused."""
    found = Labels()
    rooms = {
        "routers": found.routers,
        "services": found.services,
        "middlewares": found.middlewares,
    }
    for key, label in labels.items():
        protocol, _, rest = key.removeprefix("traefik.").partition(".")
        if protocol in ("tcp", "udp"):
            remedy = "publish its port with ports: instead"
            reading.refuse(label.steps, f"{protocol} routers cannot be carried over", remedy)
        elif protocol == "http":
            kind, _, rest = rest.partition(".")
            name, _, option = rest.partition(".")
            if kind not in rooms or not option:
                reading.refuse(label.steps, f"{key} cannot be carried over", "remove it")
                continue
            rooms[kind].setdefault(name, {})[option] = label
    return found


def middlewares(reading: Reading, labels: Labels) -> Middlewares:
    """Return the middlewares that the labels define, in the form of version 3."""
    found: Middlewares = {}
    for name, options in labels.middlewares.items():
        for option, label in options.items():
            if option.startswith(("plugin.", "errors.")):
                remedy = "use another of Traefik's own middlewares"
                kind = option.partition(".")[0]
                reading.refuse(label.steps, f"the middleware {kind} cannot be carried over", remedy)
                continue
            if option.endswith(("usersfile", ".tls.ca", ".tls.cert", ".tls.key")):
                remedy = "write its content in the label"
                reading.refuse(label.steps, f"{option} names a file of the proxy", remedy)
                continue
            if _REMOVED_HEADERS.match(option) or option == "stripprefix.forceslash":
                reading.note(label.steps, f"{option} is gone in Traefik 3: left out")
                continue
            target = re.sub(r"^ipwhitelist\b", "ipallowlist", option)
            if target != option:
                reading.note(label.steps, f"middleware {name}: ipWhiteList is now ipAllowList")
            found.setdefault(name, {})[target] = text_of(label)
    return found


def routes(reading: Reading, service: str, labels: Labels, known: Middlewares) -> list[Route]:
    """Read the routers of one service. `known` are the middlewares of the whole file."""
    if not labels.routers and labels.services:
        steps = next(iter(next(iter(labels.services.values())).values())).steps
        route = Route(service, "", steps)
        _target(reading, route, labels, None)
        return [route]
    secure = {name for name, options in labels.routers.items() if _is_secure(reading, options)}
    found = []
    for name, options in labels.routers.items():
        if name not in secure and secure:
            reading.note(
                next(iter(options.values())).steps,
                f"router {name} is left out: http is redirected to https for every app",
            )
            continue
        found += _router(reading, service, name, options, labels, known)
    return found


def _is_secure(reading: Reading, options: Mapping[str, Label]) -> bool:
    entries = entry_points(reading, options["entrypoints"]) if "entrypoints" in options else set()
    tls = any(option == "tls" or option.startswith("tls.") for option in options)
    return "https" in entries or (tls and "http" not in entries) or not entries


def _router(
    reading: Reading,
    service: str,
    name: str,
    options: Mapping[str, Label],
    labels: Labels,
    known: Middlewares,
) -> list[Route]:
    first = next(iter(options.values()))
    rule = options.get("rule")
    matches = [Match((), "")]
    if rule is not None:
        try:
            matches = parse(reading.value(rule.raw, rule.steps))
        except RuleError as error:
            reading.refuse(rule.steps, str(error), error.remedy)
    for option, label in options.items():
        if option.startswith("tls.options"):
            reading.note(label.steps, f"router {name}: the proxy's own TLS options are used")
        elif option.startswith("tls.domains"):
            reading.note(label.steps, f"router {name}: a certificate is had for each host itself")
        elif not option.startswith(("rule", "tls", "entrypoints", "observability")) and (
            option not in ("middlewares", "service", "priority")
        ):
            reading.refuse(label.steps, f"router option {option} is not known", "remove it")
    found = []
    for number, match in enumerate(matches):
        route = Route(service, name if not number else f"{name}-{number + 1}", first.steps)
        route.steps = rule.steps if rule else first.steps
        route.hosts, route.rest = match
        route.priority = text_of(options["priority"]) if "priority" in options else ""
        if "middlewares" in options:
            _middlewares(reading, route, options["middlewares"], known)
        _target(reading, route, labels, options.get("service"))
        found.append(route)
    return found


def _middlewares(reading: Reading, route: Route, label: Label, known: Middlewares) -> None:
    for reference in reading.value(label.raw, label.steps).split(","):
        name, _, provider = reference.strip().lower().partition("@")
        if not name:
            continue
        options = known.get(name)
        if options is None or provider not in ("", "docker", "swarm"):
            if _TO_HTTPS.search(name):
                reading.note(label.steps, f"middleware {reference.strip()} is left out: http is "
                             "redirected to https for every app")  # fmt: skip
                continue
            remedy = "define it in this file's labels, or remove it"
            reading.refuse(label.steps, f"middleware {reference.strip()} is not here", remedy)
        elif any(option.startswith("redirectscheme.") for option in options):
            reading.note(label.steps, f"middleware {name} is left out: http is redirected to "
                         "https for every app")  # fmt: skip
        else:
            route.middlewares[name] = options
            for option, value in options.items():
                if option == "chain.middlewares":
                    _chained(reading, route, Label(value, label.steps), known)


def _chained(reading: Reading, route: Route, label: Label, known: Middlewares) -> None:
    # A chain is written out: its own name goes, its members come.
    for name in [n for n, o in route.middlewares.items() if "chain.middlewares" in o]:
        del route.middlewares[name]
    _middlewares(reading, route, label, known)


def _target(reading: Reading, route: Route, labels: Labels, label: Label | None) -> None:
    """Find the port and the options of the load balancer that a router uses."""
    name = reading.value(label.raw, label.steps).partition("@") if label else None
    if label is not None and name is not None and name[2] == "internal":
        if name[0] != "noop":
            remedy = "remove this router: Traefik's own pages are not the app's"
            reading.refuse(label.steps, f"{name[0]}@internal is not a service here", remedy)
        return
    chosen = labels.services.get(name[0].lower()) if name else None
    if chosen is None and len(labels.services) == 1:
        chosen = next(iter(labels.services.values()))
    if label is not None and name is not None and chosen is None and labels.services:
        remedy = "name one of: " + ", ".join(labels.services)
        reading.refuse(label.steps, f"there is no service {name[0]} in the labels", remedy)
    for option, value in (chosen or {}).items():
        key = option.removeprefix("loadbalancer.")
        if key == option:
            reading.refuse(value.steps, f"{option} cannot be carried over", "use a loadbalancer")
        elif key == "server.port":
            route.port = port_of(reading, value)
        elif key == "serverstransport":
            reading.refuse(value.steps, "servers transports cannot be carried over", "remove it")
        elif key not in ("swarm", "server.url"):
            route.options[key] = text_of(value)

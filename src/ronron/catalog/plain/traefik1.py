"""Labels for Traefik 1, as documented for its Docker provider in 1.7, read as routes."""

from __future__ import annotations

from ronron.catalog.plain.reading import Reading
from ronron.catalog.plain.routes import (
    Label,
    Middlewares,
    Route,
    entry_points,
    port_of,
    text_of,
)
from ronron.catalog.plain.rules import RuleError, parse_legacy

_ROOTS = ("port", "protocol", "weight", "frontend", "backend")
_GENERAL = ("enable", "docker", "domain", "tags", "http", "tcp", "udp", "swarm", "constraint-label")

# What each option becomes: the middleware's name and its option in version 3.
_MIDDLEWARES = {
    "frontend.auth.basic": ("auth", "basicauth.users"),
    "frontend.auth.basic.users": ("auth", "basicauth.users"),
    "frontend.auth.basic.removeheader": ("auth", "basicauth.removeheader"),
    "frontend.auth.digest.users": ("auth", "digestauth.users"),
    "frontend.auth.digest.removeheader": ("auth", "digestauth.removeheader"),
    "frontend.auth.forward.address": ("forward", "forwardauth.address"),
    "frontend.auth.forward.trustforwardheader": ("forward", "forwardauth.trustforwardheader"),
    "frontend.auth.forward.authresponseheaders": ("forward", "forwardauth.authresponseheaders"),
    "frontend.redirect.regex": ("redirect", "redirectregex.regex"),
    "frontend.redirect.replacement": ("redirect", "redirectregex.replacement"),
    "frontend.redirect.permanent": ("redirect", "redirectregex.permanent"),
    "frontend.whitelist.sourcerange": ("allow", "ipallowlist.sourcerange"),
    "frontend.whitelistsourcerange": ("allow", "ipallowlist.sourcerange"),
    "backend.maxconn.amount": ("limit", "inflightreq.amount"),
    "backend.circuitbreaker": ("breaker", "circuitbreaker.expression"),
    "backend.circuitbreaker.expression": ("breaker", "circuitbreaker.expression"),
}
_OPTIONS = {
    "frontend.passhostheader": "passhostheader",
    "backend.healthcheck.path": "healthcheck.path",
    "backend.healthcheck.interval": "healthcheck.interval",
    "backend.healthcheck.timeout": "healthcheck.timeout",
    "backend.healthcheck.port": "healthcheck.port",
    "backend.healthcheck.scheme": "healthcheck.scheme",
    "backend.healthcheck.hostname": "healthcheck.hostname",
    "backend.responseforwarding.flushinterval": "responseforwarding.flushinterval",
    "backend.loadbalancer.stickiness": "sticky.cookie",
    "backend.loadbalancer.sticky": "sticky.cookie",
    "backend.loadbalancer.stickiness.cookiename": "sticky.cookie.name",
}
_DROPPED = {
    "backend",
    "backend.loadbalancer.method",
    "backend.loadbalancer.swarm",
    "backend.maxconn.extractorfunc",
    "frontend.ratelimit.extractorfunc",
    "frontend.redirect.entrypoint",
    "frontend.whitelist.usexforwardedfor",
    "weight",
}
_OLD_HEADERS = ("sslredirect", "ssltemporaryredirect", "sslhost", "sslproxyheaders", "sslforcehost")
_HEADERS = {
    "allowedhosts", "browserxssfilter", "contentsecuritypolicy", "contenttypenosniff",
    "custombrowserxssvalue", "customframeoptionsvalue", "forcestsheader", "framedeny",
    "hostsproxyheaders", "isdevelopment", "publickey", "referrerpolicy", "stsincludesubdomains",
    "stspreload", "stsseconds",
}  # fmt: skip


def uses(labels: dict[str, Label]) -> bool:
    """Whether any of the labels is for version 1 alone."""
    return any(_place(key)[1] for key in labels)


def routes(reading: Reading, service: str, labels: dict[str, Label]) -> list[Route]:
    """Read the labels of one service; what cannot be carried over is refused."""
    segments: dict[str, dict[str, Label]] = {"": {}}
    for key, label in labels.items():
        segment, option = _place(key)
        if option:
            segments.setdefault(segment, {})[option] = label
    common = segments.pop("")
    if not segments:
        return [_route(reading, service, "", common)]
    inherited = {k: v for k, v in common.items() if k != "frontend.rule"}
    found = [_route(reading, service, name, inherited | own) for name, own in segments.items()]
    if "frontend.rule" in common:
        found.insert(0, _route(reading, service, "", common))
    return found


def _place(key: str) -> tuple[str, str]:
    """Split `traefik.admin.frontend.rule` into its segment and option; both empty if neither."""
    first, _, rest = key.removeprefix("traefik.").partition(".")
    if first in _ROOTS:
        return "", key.removeprefix("traefik.")
    if first in _GENERAL or rest.partition(".")[0] not in _ROOTS:
        return "", ""
    return first, rest


def _route(reading: Reading, service: str, segment: str, labels: dict[str, Label]) -> Route:
    first = next(iter(labels.values()))
    rule = labels.get("frontend.rule")
    route = Route(service, segment, rule.steps if rule else first.steps)
    for option, label in labels.items():
        if option == "port":
            route.port = port_of(reading, label)
        elif option == "protocol":
            _protocol(reading, route, label)
        elif option == "frontend.rule":
            _rule(reading, route, label)
        elif option == "frontend.entrypoints":
            entry_points(reading, label)
        elif option == "frontend.priority":
            route.priority = text_of(label)
        elif option in _MIDDLEWARES:
            name, target = _MIDDLEWARES[option]
            route.middlewares.setdefault(name, {})[target] = text_of(label)
        elif option in _OPTIONS:
            route.options[_OPTIONS[option]] = text_of(label)
        elif option.startswith("frontend.headers."):
            _header(reading, route, option.removeprefix("frontend.headers."), label)
        elif option.startswith("frontend.ratelimit.rateset."):
            value = option.rpartition(".")[2]
            route.middlewares.setdefault("rate", {})[f"ratelimit.{value}"] = text_of(label)
        elif option.startswith("backend.buffering."):
            value = option.removeprefix("backend.buffering.")
            route.middlewares.setdefault("buffer", {})[f"buffering.{value}"] = text_of(label)
        elif option not in _DROPPED:
            remedy = "remove it, or write it as a middleware of Traefik 3"
            reading.refuse(label.steps, f"traefik.{option} cannot be carried over", remedy)
    return route


def _protocol(reading: Reading, route: Route, label: Label) -> None:
    scheme = reading.value(label.raw, label.steps).lower()
    if scheme in ("https", "h2c"):
        route.options["server.scheme"] = scheme
    elif scheme != "http":
        reading.refuse(label.steps, f"the protocol {scheme} is not known", "use http or https")


def _rule(reading: Reading, route: Route, label: Label) -> None:
    try:
        legacy = parse_legacy(reading.value(label.raw, label.steps))
    except RuleError as error:
        reading.refuse(label.steps, str(error), error.remedy)
        return
    route.hosts, route.rest = legacy.match
    for name, options in legacy.middlewares.items():
        route.middlewares[name] = {k: v.replace("$", "$$") for k, v in options.items()}


def _header(reading: Reading, route: Route, option: str, label: Label) -> None:
    headers: Middlewares = route.middlewares
    if option in ("customrequestheaders", "customresponseheaders"):
        for entry in text_of(label).split("||"):
            key, _, value = entry.partition(":")
            headers.setdefault("headers", {})[f"headers.{option}.{key.strip()}"] = value.strip()
    elif option in _HEADERS:
        headers.setdefault("headers", {})[f"headers.{option}"] = text_of(label)
    elif option not in _OLD_HEADERS:
        remedy = "remove it, or write it as a middleware of Traefik 3"
        reading.refuse(label.steps, f"the header {option} cannot be carried over", remedy)

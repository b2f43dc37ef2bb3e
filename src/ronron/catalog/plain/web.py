"""Which service of a stack answers its domain, and the labels that its other routes become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ronron.catalog.plain import images, ports, traefik1, traefik2
from ronron.catalog.plain.reading import Reading, pairs, scalar_text
from ronron.catalog.plain.routes import Label, Middlewares, Route, take_labels
from ronron.catalog.plain.rules import expression
from ronron.catalog.recipe import Web
from ronron.catalog.routing import PROXY_SERVICE, WEB_SERVICE

# Stand for `${app}` and `${domain}` until the file's own variables are filled in.
APP = "\ue000app\ue001"
DOMAIN = "\ue000domain\ue001"
_LB = "loadbalancer"


@dataclass
class Routing:
    """The outcome: the web service, its hosts as the file had them, and who joins the proxy."""

    web: Web | None = None
    hosts: tuple[str, ...] = ()
    joined: set[str] = field(default_factory=set)


def route(
    reading: Reading, services: dict[str, Any], domain: str | None, wanted: str | None
) -> Routing:
    """Choose the web service, replace the labels for proxies by ronron's own.

    `wanted` is the operator's choice, `SERVICE` or `SERVICE:PORT`.
    """
    routes = _routes(reading, services)
    if domain == DOMAIN and not any(DOMAIN in r.hosts for r in routes):
        domain = None
    chosen, port = _wanted(reading, services, wanted) if wanted else ("", None)
    if not chosen:
        chosen = _choose(reading, services, routes, domain)
    if not chosen:
        return Routing()
    own = [r for r in routes if r.service == chosen]
    main = _main(own, domain) or Route(chosen, "", ("services", chosen))
    if port is None:
        port = main.port or _port(reading, chosen, services[chosen], required=True)
    if port is None:
        return Routing()
    emitter = _Emitter(reading, services, main, domain)
    emitter.main()
    for other in routes:
        if other is not main:
            emitter.other(other, port)
    health = re.match(r"Path(?:Prefix)?\(`(/[^`]*)`\)$", main.rest)
    web = Web(service=chosen, port=port, health=health[1] if health else "/")
    for name in services:
        # Rendering calls the web service `web`, and the proxy's network knows `proxy`.
        if name != chosen and name in (WEB_SERVICE, PROXY_SERVICE):
            remedy = "rename it, and what refers to it"
            message = f"only the service that answers may be called {name}, and {chosen} does"
            reading.refuse(("services", name), message, remedy)
    return Routing(web, main.hosts, emitter.joined)


def _routes(reading: Reading, services: dict[str, Any]) -> list[Route]:
    taken = {name: take_labels(reading, name, body) for name, body in services.items()}
    sorted_labels = {name: traefik2.sort(reading, labels) for name, labels in taken.items()}
    known: Middlewares = {}
    for each in sorted_labels.values():
        known |= traefik2.middlewares(reading, each)
    found: list[Route] = []
    for name, labels in taken.items():
        enable = labels.get("traefik.enable")
        if enable is not None and not reading.flag(enable.raw, enable.steps):
            continue
        steps = next(iter(labels.values())).steps if labels else ()
        if traefik2.uses(labels):
            mine = traefik2.routes(reading, name, sorted_labels[name], known)
            version = "2 or 3"
        elif traefik1.uses(labels):
            mine, version = traefik1.routes(reading, name, labels), "1"
        elif enable is not None:
            mine, version = [Route(name, "", enable.steps)], ""
        else:
            found += _other_proxies(reading, name, services[name], labels)
            continue
        if mine:
            text = f"{name}: labels for Traefik {version}".rstrip()
            reading.note(steps, f"{text} became ronron's own")
        found += mine
    return found


def _other_proxies(
    reading: Reading, name: str, body: dict[str, Any], labels: Mapping[str, Label]
) -> list[Route]:
    """Routes for nginx-proxy (`VIRTUAL_HOST`) and caddy-docker-proxy (`caddy:` labels)."""
    environment = body.get("environment") or {}
    steps = ("services", name, "environment", "VIRTUAL_HOST")
    if "VIRTUAL_HOST" in environment:
        hosts = reading.value(environment["VIRTUAL_HOST"], steps)
        port = reading.value(environment.get("VIRTUAL_PORT"), steps)
        for key in [k for k in environment if re.match(r"(VIRTUAL|LETSENCRYPT)_", k)]:
            del environment[key]
        reading.note(steps, f"{name}: variables for nginx-proxy became ronron's own labels")
        names = tuple(host.strip().lower() for host in hosts.split(",") if host.strip())
        return [Route(name, "", steps, names, port=int(port) if port.isdigit() else None)]
    if "caddy" in labels:
        label = labels["caddy"]
        target = labels.get("caddy.reverse_proxy", label)
        port_match = re.search(r"upstreams[^}]*?(\d+)", reading.value(target.raw, target.steps))
        hosts = reading.value(label.raw, label.steps)
        names = tuple(
            re.sub(r"^https?://", "", host) for host in re.split(r"[,\s]+", hosts) if host
        )
        reading.note(label.steps, f"{name}: labels for Caddy became ronron's own")
        port_number = int(port_match[1]) if port_match else None
        return [Route(name, "", label.steps, names, port=port_number)]
    return []


def _wanted(reading: Reading, services: Mapping[str, Any], wanted: str) -> tuple[str, int | None]:
    name, _, text = wanted.partition(":")
    if name not in services:
        remedy = f"--web takes one of: {', '.join(services)}"
        reading.refuse(("services",), f"there is no service {name}", remedy)
        return "", None
    if text and not (text.isdigit() and 0 < int(text) < 65536):
        reading.refuse(("services", name), f"“{text}” is not a port", f"--web {name}:PORT")
        return "", None
    return name, int(text) if text else None


def _choose(
    reading: Reading, services: Mapping[str, Any], routes: Sequence[Route], domain: str | None
) -> str:
    names = list(dict.fromkeys(r.service for r in routes))
    if not names:
        return _by_ports(reading, services, domain)
    tests: tuple[Callable[[Route], bool], ...] = (
        lambda r: domain in r.hosts and not r.rest,
        lambda r: domain in r.hosts,
        lambda r: not r.rest,
    )
    for test in tests:
        fitting = list(dict.fromkeys(r.service for r in routes if test(r)))
        if len(fitting) == 1:
            return fitting[0]
        names = fitting or names
    if len(names) == 1:
        return names[0]
    shortest = min(routes, key=lambda r: (r.service not in names, len(r.hosts[:1] and r.hosts[0])))
    if len({r.hosts for r in routes if r.service in names}) > 1 and shortest.hosts:
        related = [r for r in routes if r.service in names and r is not shortest]
        if all(any(h.endswith(f".{shortest.hosts[0]}") for h in r.hosts) for r in related):
            return shortest.service
    _ask(reading, services, names)
    return ""


def _ask(reading: Reading, services: Mapping[str, Any], names: Sequence[str]) -> None:
    if reading.problems:
        return
    choices = []
    for name in names[:4]:
        port = ports.likeliest(ports.web_candidates(reading, name, services[name]))
        choices.append(f"--web {name}:{port or 'PORT'}")
    message = f"several services may answer the domain: {', '.join(names)}"
    reading.refuse(("services", names[0]), message, " or ".join(choices))


def _by_ports(reading: Reading, services: Mapping[str, Any], domain: str | None) -> str:
    likely: dict[str, list[int]] = {
        name: ports.web_candidates(reading, name, body) for name, body in services.items()
    }
    published = [n for n, found in likely.items() if found and services[n].get("ports")]
    names = published or [n for n, found in likely.items() if found]
    if len(names) > 1:
        on_80 = [
            name
            for name in names
            if any(p.published in (80, 443) for p in ports.read(reading, name, services[name]))
        ]
        image = {n: reading.value(services[n].get("image"), ("services", n)) for n in names}
        known = [n for n in names if images.known_port(image[n]) in likely[n]]
        tools = ("adminer", "phpmyadmin", "pgadmin", "mongo-express", "mailhog", "mailpit")
        apps = [n for n in names if not any(t in image[n] for t in tools)]
        for narrowed in (on_80, apps, known):
            if len(narrowed) == 1:
                return narrowed[0]
        _ask(reading, services, names)
        return ""
    if not names and domain and not reading.problems:
        remedy = f"say which, such as --web {next(iter(services))}:PORT"
        reading.refuse(("services",), f"no service was found that answers {domain}", remedy)
    return names[0] if names else ""


def _port(reading: Reading, name: str, body: Mapping[str, Any], required: bool) -> int | None:
    found = ports.web_candidates(reading, name, body)
    port = ports.likeliest(found)
    if port is None and required and not reading.problems:
        listed = f" (it has {', '.join(map(str, found))})" if found else ""
        message = f"which port of {name} answers the domain?{listed}"
        reading.refuse(("services", name), message, f"--web {name}:PORT")
    return port


def _main(routes: Sequence[Route], domain: str | None) -> Route | None:
    ranked = sorted(routes, key=lambda r: (bool(r.rest), domain not in r.hosts))
    return ranked[0] if ranked else None


class _Emitter:
    """Writes routes as labels for Traefik 3."""

    def __init__(
        self, reading: Reading, services: dict[str, Any], main: Route, domain: str | None
    ) -> None:
        self.joined: set[str] = set()
        self._reading = reading
        self._services = services
        self._main = main
        self._domain = domain
        self._middlewares: Middlewares = {}

    def main(self) -> None:
        """Write what the router of the app's domain has beside its rule."""
        main, reading = self._main, self._reading
        labels = self._middleware_labels(main, f"traefik.http.routers.{APP}")
        for option, value in main.options.items():
            labels[f"traefik.http.services.{APP}.{_LB}.{option}"] = value
        if main.rest:
            rule = expression([DOMAIN], main.rest).replace("$", "$$")
            labels[f"traefik.http.routers.{APP}.rule"] = rule
            reading.note(main.steps, f"{main.service}: answers where {main.rest}, not elsewhere")
        others = [host for host in main.hosts if host != self._domain]
        if self._domain is None:
            others = list(main.hosts[1:])
        elif self._domain not in main.hosts and others:
            names = ", ".join(others)
            reading.note(main.steps, f"{main.service}: answers at {self._domain}, not {names}")
            others = []
        if others:
            router = f"traefik.http.routers.{APP}_hosts"
            labels |= self._router(router, expression(others, main.rest), APP)
            labels |= self._middleware_labels(main, router)
            reading.note(main.steps, f"{main.service}: also answers at {', '.join(others)}")
        self._write(main.service, labels)

    def other(self, route: Route, web_port: int) -> None:
        """Write a route beside the main one."""
        main, reading = self._main, self._reading
        if route.service == main.service and route.hosts == main.hosts and not route.rest:
            return
        own = set(route.hosts) & {*main.hosts, self._domain} or not route.hosts
        hosts = [host for host in route.hosts if host not in (*main.hosts, self._domain)]
        rule = expression([DOMAIN] if own else hosts, route.rest)
        if own and hosts:
            rule = expression([DOMAIN, *hosts], route.rest)
        if not own:
            text = f"{route.service}: also answers at {', '.join(hosts)}"
            reading.note(route.steps, text)
        elif not route.rest:
            remedy = "give it a path or another host, or remove its labels"
            message = f"{route.service} and {main.service} answer at the same domain"
            reading.refuse(route.steps, message, remedy)
            return
        else:
            reading.note(route.steps, f"{route.service}: also answers where {route.rest}")
        # Lines of the access log are the app's whose name stands before the first underscore.
        name = f"{APP}_" + "-".join(dict.fromkeys(p for p in (route.service, route.name) if p))
        router = f"traefik.http.routers.{name}"
        body = self._services[route.service]
        port = route.port or (
            web_port if route.service == main.service
            else _port(reading, route.service, body, required=True)
        )  # fmt: skip
        same = route.service == main.service and port == web_port and not route.options
        target = APP if same else name
        labels = self._router(router, rule, target)
        if route.priority:
            labels[f"{router}.priority"] = route.priority
        labels |= self._middleware_labels(route, router)
        if not same:
            labels[f"traefik.http.services.{name}.{_LB}.server.port"] = str(port)
            for option, value in route.options.items():
                labels[f"traefik.http.services.{name}.{_LB}.{option}"] = value
        if route.service != main.service:
            labels = {"traefik.enable": "true", **labels}
            self.joined.add(route.service)
        self._write(route.service, labels)

    def _router(self, router: str, rule: str, service: str) -> dict[str, str]:
        return {
            f"{router}.rule": rule.replace("$", "$$"),
            f"{router}.entrypoints": "websecure",
            f"{router}.tls.certresolver": "acme",
            f"{router}.service": service,
        }

    def _middleware_labels(self, route: Route, router: str) -> dict[str, str]:
        labels: dict[str, str] = {}
        names = []
        for name, options in route.middlewares.items():
            options = {k: self._reachable(k, v) for k, v in options.items()}
            unique, number = name, 2
            while self._middlewares.setdefault(unique, options) != options:
                unique, number = f"{name}-{number}", number + 1
            names.append(f"{APP}-{unique}")
            for option, value in options.items():
                labels[f"traefik.http.middlewares.{APP}-{unique}.{option}"] = value
        if names:
            labels[f"{router}.middlewares"] = ",".join(names)
        return labels

    def _reachable(self, option: str, value: str) -> str:
        """Let the proxy reach a service of the stack that a middleware asks."""
        match = re.match(r"(https?://)([\w-]+)(.*)", value)
        if option != "forwardauth.address" or match is None or match[2] not in self._services:
            return value
        # On the proxy's network every service of an app has a name that begins with `web`.
        name = WEB_SERVICE if match[2] == self._main.service else f"{WEB_SERVICE}.{match[2]}"
        if match[2] != self._main.service:
            self.joined.add(match[2])
        return f"{match[1]}{APP}_{name}{match[3]}"

    def _write(self, service: str, labels: Mapping[str, str]) -> None:
        if not labels:
            if not self._services[service].get("deploy", True):
                del self._services[service]["deploy"]
            return
        deploy = self._services[service].setdefault("deploy", {})
        kept = [
            key if value is None else f"{key}={scalar_text(value)}"
            for key, value in pairs(deploy.get("labels")).items()
        ]
        deploy["labels"] = kept + [f"{key}={value}" for key, value in labels.items()]

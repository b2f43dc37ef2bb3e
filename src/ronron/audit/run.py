"""The audit as a whole: all servers and domains at once, from outside and from inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ronron.audit import inside, ports, scan, sshd, web
from ronron.audit.model import Audit, Finding, settle
from ronron.audit.names import addresses
from ronron.catalog import guards
from ronron.catalog.plain.rules import RuleError, parse
from ronron.catalog.recipe import Recipe
from ronron.catalog.render import domain_of
from ronron.catalog.stack import PLATFORM
from ronron.errors import RonronError, ServerError
from ronron.events import step
from ronron.plan import platform
from ronron.plan.apply import proxy_address
from ronron.plan.make import recipe_of, rendered
from ronron.plan.session import Session
from ronron.servers.defend import facts
from ronron.servers.names import lookup
from ronron.servers.runner import Runner
from ronron.site.models import App
from ronron.site.security import declared_ports


@dataclass(frozen=True)
class Scope:
    """What is looked at. `every_port` asks all TCP ports instead of the common ones, `deep` runs
    the programs that take minutes."""

    outside: bool = True
    inside: bool = True
    every_port: bool = True
    deep: bool = False


Work = tuple[Callable[[], Iterable[Finding]], str]
"""A look, and what it is at."""


def audit(session: Session, scope: Scope) -> Audit:
    """Look at the whole site. What cannot be looked at is named in the result; a server of which
    nothing is known is a finding.

    Raises OperatorError when no server is declared.
    """
    site = session.loaded.site
    site.manager  # noqa: B018 - raises where no server is declared
    found: list[Finding] = []
    skipped: list[str] = []
    unseen: dict[str, ServerError] = {}

    def add(work: Callable[[], Iterable[Finding]], what: str) -> None:
        try:
            found.extend(work())
        except ServerError as error:
            unseen.setdefault(error.server, error)
        except RonronError as error:
            skipped.append(f"{what}: {error}")

    # An operator's first question is what strangers see: each look is a thread's.
    works: list[Work] = []
    if scope.outside:
        works += _outside(session, scope, skipped, unseen)
    if scope.inside:
        works += _inside(session, scope, skipped)
    with ThreadPoolExecutor(max(1, min(32, len(works)))) as threads:
        for one in [threads.submit(add, work, what) for work, what in works]:
            one.result()
    accepted = site.audit.accept
    return settle(
        [*found, *map(_unseen, unseen.values())],
        accepted,
        datetime.now(UTC).date(),
        sorted(set(skipped)),
    )


def _unseen(error: ServerError) -> Finding:
    what = "it could not be looked at: nobody knows what is open there"
    remedy = error.remedy or f"ronron server check {error.server}"
    return Finding("server-unseen", "high", f"server {error.server}", what, error.message, remedy)


def _outside(
    session: Session, scope: Scope, skipped: list[str], unseen: dict[str, ServerError]
) -> Iterator[Work]:
    loaded, report = session.loaded, session.report
    declared = declared_ports(loaded.site, loaded.apps)
    at_once = scan.connections_at_once(len(declared))
    for server in loaded.site.servers.values():
        name, port = server.name, server.port

        def ports_of(
            name: str = name, address: str = server.address, port: int = port
        ) -> Iterable[Finding]:
            problem, client = None, ""
            found: dict[Finding, None] = {}
            admitted = []
            with step(report, "ports, from outside", name):
                try:
                    client = _client(session.servers[name])
                except ServerError as error:
                    problem = error
                wanted = scan.ALL_TCP if scope.every_port else scan.COMMON_TCP
                udp = {one.first: b"\0" for one in declared[name] if one.protocol == "udp"}
                for target in _addresses(name, address, loaded.site.resolver):
                    own = scan.own_address(target)
                    if not own:
                        skipped.append(f"server {name}: this computer has no way to {target}")
                        continue
                    answered: set[tuple[Literal["tcp", "udp"], int]] = set()
                    answered |= {("tcp", it) for it in scan.tcp(target, wanted, at_once=at_once)}
                    answered |= {("udp", it) for it in scan.udp(target, {**udp, **scan.UDP})}
                    # An SSH session has one kind of address; for the other this computer's counts.
                    auditor = client if (":" in client) == (":" in target) and client else own
                    judged = ports.findings(name, answered, declared[name], auditor)
                    found |= dict.fromkeys(judged)
                    ssh = (one for one in declared[name] if one.covers("tcp", port))
                    admitted.append(any(ports.admits(one.sources, auditor) for one in ssh))
            # Where SSH is closed to strangers it is right that it does not answer them.
            if problem and (any(admitted) or not admitted):
                unseen.setdefault(name, problem)
            elif problem:
                skipped.append(f"server {name}: whether it is itself: {problem}")
            return found

        def ssh_of(
            name: str = name, address: str = server.address, port: int = port
        ) -> Iterable[Finding]:
            said = sshd.look(lookup(address, loaded.site.resolver), port)
            if said is None:
                skipped.append("SSH's algorithms: ssh-audit is not installed on this computer")
            return list(sshd.findings(name, said or {}))

        yield ports_of, f"server {name}: its ports"
        yield ssh_of, f"server {name}: its SSH"
    for app, recipe in _with_domains(session):

        def domain_of_app(app: App = app, recipe: Recipe = recipe) -> Iterable[Finding]:
            return list(_domains(session, app, recipe, skipped))

        yield domain_of_app, f"app {app.name}: its domains"


def _addresses(name: str, address: str, resolver: str | None) -> tuple[str, ...]:
    """All addresses of a server. Raises ServerError."""
    try:
        return addresses(address, resolver)
    except RonronError as error:
        raise ServerError(name, error.message, remedy=error.remedy) from error


def _client(runner: Runner) -> str:
    """The address that a server sees this computer at. Raises ServerError."""
    program = f"{facts.program()}\nprint(client())\n"
    return runner.run(["python3", "-"], stdin=program.encode()).text.strip()


def _with_domains(session: Session) -> Iterator[tuple[App, Recipe]]:
    for app in session.loaded.apps.values():
        recipe = recipe_of(app, session.loaded, session.catalog)
        if recipe.extension.web is not None:
            yield app, recipe


def _domains(session: Session, app: App, recipe: Recipe, skipped: list[str]) -> Iterator[Finding]:
    """All hosts that the app's routers name: its domain, and those that its own labels add."""
    loaded, described = session.loaded, recipe.extension.web
    domain = domain_of(app, recipe, loaded.site)
    if described is None or domain is None:
        return
    trust = loaded.site.acme.trust
    reason = app.headers.reason or described.headers.reason
    hosts = {domain: False, **_hosts(session, app, recipe, skipped)}
    for host, narrow in hosts.items():
        with step(session.report, "TLS and headers", host):
            seen = web.look(
                host,
                described.health if host == domain else "/",
                at=web.Place(proxy_address(session)),
                trust=loaded.path(trust) if trust else None,
                resolver=loaded.site.resolver,
            )
        if seen.caa is None and not seen.problem:
            skipped.append(f"{host}: no name server said whether it has CAA records")
        wanted = guards.headers(described, app)
        yield from web.findings(seen, wanted, reason, datetime.now(UTC), narrow=narrow)


def _hosts(session: Session, app: App, recipe: Recipe, skipped: list[str]) -> dict[str, bool]:
    """The hosts in the rules of the app's routers, and whether each is for a part of the requests
    alone."""
    found: dict[str, bool] = {}
    stack, _ = rendered(app, recipe, session.loaded.site, None, 1500)
    for rule in guards.rules(stack.compose["services"]):
        try:
            matches = parse(rule)
        except RuleError as error:
            skipped.append(f"app {app.name}: the hosts of {rule}: {error}")
            continue
        for match in matches:
            for host in match.hosts:
                found[host] = found.get(host, True) and bool(match.rest)
    return found


def _inside(session: Session, scope: Scope, skipped: list[str]) -> Iterator[Work]:
    explained = dict(_explained(session))
    loaded = session.loaded
    site, declared = loaded.site, declared_ports(loaded.site, loaded.apps)
    for name, runner in session.servers.items():

        def look(name: str = name, runner: Runner = runner) -> Iterable[Finding]:
            with step(session.report, "from inside", name):
                users = (site.server(name).user, *site.hardening.ssh_users)
                asked = tuple(dict.fromkeys((*users, "root")))
                seen = inside.look(runner, asked, deep=scope.deep)
            if seen.docker_bench and seen.docker_bench.problem:
                problem = seen.docker_bench.problem
                skipped.append(f"server {name}: docker-bench-security: {problem}")
            if not all(seen.sshd.get(user) for user in asked):
                skipped.append(f"server {name}: whom SSH lets in: sshd -T says nothing")
            firewall = site.firewall.enabled
            return [
                *inside.findings(name, seen, explained, site.audit.image_days),
                *ports.listening(name, seen.udp, declared[name], firewall=firewall),
                *sshd.logins(name, seen.sshd, users, hardened=site.hardening.ssh),
            ]

        yield look, f"server {name}: from inside"


def _explained(session: Session) -> Iterator[tuple[str, str]]:
    """The apps that have the Docker socket with a reason in their recipes."""
    declared: Mapping[str, App] = {**platform.apps(session.loaded), **session.loaded.apps}
    for name, app in declared.items():
        recipe = recipe_of(app, session.loaded, session.catalog)
        if recipe.extension.docker_socket and (name in PLATFORM or recipe.builtin):
            yield name, recipe.extension.docker_socket

"""An app's secrets: which its recipe has, whether all are there, and new values for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ronron.catalog import access, mail
from ronron.catalog.recipe import Catalog, Recipe, Rotation, SecretRule
from ronron.catalog.routing import WEB_SERVICE
from ronron.catalog.stack import PLATFORM
from ronron.errors import OperatorError, Problem, RonronError, SiteError
from ronron.plan import platform, rotating
from ronron.plan.apply import proxy_address
from ronron.plan.inside import container_of
from ronron.plan.lock import lock
from ronron.plan.make import SITE, recipe_of, with_mail
from ronron.plan.session import Session
from ronron.servers.runner import Runner
from ronron.site import keys
from ronron.site.load import LoadedSite
from ronron.site.secret import Secret, redacted
from ronron.site.vault import Secrets, Vault, generate
from ronron.swarm import probe, stacks
from ronron.swarm.engines import engine_of

COMMAND_SECONDS = 60.0
"""How long a database may take to change a password."""


def recipe_named(loaded: LoadedSite, catalog: Catalog, app: str) -> Recipe:
    """The recipe of an app that is declared, or of one of the platform's own.

    Raises OperatorError when there is no such app, SiteError when its files are at fault.
    """
    found = platform.apps(loaded)[app] if app in PLATFORM else loaded.app(app)
    return recipe_of(found, loaded, catalog)


def rule_of(recipe: Recipe, app: str, name: str) -> SecretRule:
    """What the recipe says of the secret `name`. Raises OperatorError when it has none."""
    rules = recipe.extension.secrets
    if name not in rules:
        known = ", ".join(rules) or "none"
        raise OperatorError(f"{app} has no secret {name}", remedy=f"{recipe.name} has: {known}")
    return rules[name]


def fixed(recipe: Recipe, name: str) -> str:
    """Why the secret `name` cannot be rotated; empty when it can."""
    rule = recipe.extension.secrets[name]
    if rule.provided:
        return "it is made by ronron itself"
    if isinstance(rule, access.Login):
        return "the proxy reads it by ronron apply: ronron secrets set gives it another value"
    if rule.permanent:
        return rule.permanent
    if mail.is_relays(recipe, name):
        return "the relay says what it is"
    if rule.optional:
        return "it is another's"
    if rule.rotate is None and (service := _database_that_reads(recipe, name)):
        return f"the recipe does not say how the database of {service} learns a new value"
    return ""


def _database_that_reads(recipe: Recipe, name: str) -> str | None:
    """A service that reads the secret and keeps data in a volume of class database."""
    kinds = {volume: rule.kind for volume, rule in recipe.extension.volumes.items()}
    for service, body in recipe.services.items():
        read = {_source(item) for item in body.get("secrets") or ()}
        mounted = {_source(item).partition(":")[0] for item in body.get("volumes") or ()}
        if name in read and any(kinds.get(volume) == "database" for volume in mounted):
            return service
    return None


def _source(item: Any) -> str:  # noqa: ANN401 - Compose allows two types
    return str(item.get("source", "")) if isinstance(item, Mapping) else str(item)


def to_rotate(
    loaded: LoadedSite, catalog: Catalog, app: str, name: str | None
) -> tuple[list[str], dict[str, str]]:
    """The secrets of `app` that can be rotated, or `name` alone; and why the others cannot.

    Raises OperatorError when there is none, or `name` cannot be.
    """
    recipe = recipe_named(loaded, catalog, app)
    if name is not None:
        rule_of(recipe, app, name)
    asked = [name] if name else list(recipe.extension.secrets)
    reasons = {item: fixed(recipe, item) for item in asked}
    names = [item for item, reason in reasons.items() if not reason]
    left = {item: reason for item, reason in reasons.items() if reason}
    if not names:
        what = "; ".join(f"{item} cannot be changed: {reason}" for item, reason in left.items())
        raise OperatorError(f"{app}: {what or 'it has no secrets'}")
    return names, left


def settable(loaded: LoadedSite, catalog: Catalog, app: str, name: str) -> SecretRule | None:
    """What the recipe says of a secret that the operator may set; None before `app` is declared.

    Raises OperatorError when the recipe has no such secret, or it is made by ronron itself.
    """
    if app == SITE and name != mail.PASSWORD:
        raise OperatorError(f"site has no secret {name}", remedy=f"it has: {mail.PASSWORD}")
    if app not in PLATFORM and app not in loaded.apps:
        return None
    recipe = recipe_named(loaded, catalog, app)
    rule = rule_of(recipe, app, name)
    if rule.provided:
        raise OperatorError(f"{app}: {name} cannot be changed: {fixed(recipe, name)}")
    return rule


def keep(vault: Vault, app: str, name: str, value: Secret, rule: SecretRule | None) -> None:
    """Put a value that the operator chose in the vault, and there alone. Raises OperatorError."""
    if rule is not None and rule.rotate is not None:
        _one_line(value)
    known = vault.read(app) if vault.exists(app) else Secrets()
    pending, retired = (
        {key: it for key, it in stage.items() if key != name}
        for stage in (known.pending, known.retired)
    )
    vault.write(app, replace(known.set(name, value), pending=pending, retired=retired))


def check(loaded: LoadedSite, catalog: Catalog, vault: Vault) -> list[Problem]:
    """What is wrong with the vault: as `site.keys.check`, and what the apps' recipes miss in it."""
    problems = keys.check(vault)
    for app in {**platform.apps(loaded), **loaded.apps}:
        try:
            problems += _missing(loaded, recipe_named(loaded, catalog, app), app, vault)
        except SiteError as error:
            problems += error.problems
    return problems


def _missing(loaded: LoadedSite, recipe: Recipe, app: str, vault: Vault) -> Iterator[Problem]:
    rules, file = recipe.extension.secrets, f"vault/{app}.age"
    from_git = f"if {app} ever ran, take it from git: git log -- {file}; else ronron apply makes it"
    if not vault.exists(app):
        if rules and app not in PLATFORM:
            yield Problem(file, "", f"is missing, and {app} has secrets", from_git)
        return
    try:
        known = vault.read(app).values
    except RonronError:
        return  # told already
    for name, rule in rules.items():
        if name not in known and not (rule.optional or mail.is_relays(recipe, name)):
            yield Problem(file, name, "is missing", from_git)
    if app in loaded.apps:
        try:
            with_mail(Secrets(known), loaded.apps[app], recipe, loaded.site, vault)
        except OperatorError as error:
            yield Problem(file, mail.PASSWORD, f"is missing: {error.message}", error.remedy)


def change(
    session: Session, app: str, wanted: Mapping[str, Secret | None], *, seconds: float
) -> tuple[str, ...]:
    """Give the app's secrets in `wanted` these values, or new random ones where it has None.

    The app runs with them when this returns; returns the names of all that were changed, those
    of an interrupted rotation too. `seconds` is how long the services may take. Raises
    OperatorError when one cannot be changed, and as `rotating.rotate`.
    """
    recipe = recipe_named(session.loaded, session.catalog, app)
    known = session.vault.read(app).values if session.vault.exists(app) else {}
    for name, value in wanted.items():
        rule = rule_of(recipe, app, name)
        if reason := fixed(recipe, name):
            raise OperatorError(f"{app}: {name} cannot be changed: {reason}")
        if name not in known:
            raise OperatorError(f"{app}: {name} has no value yet", remedy="ronron apply makes it")
        if rule.rotate and value is not None:
            _one_line(value)

    def make(name: str) -> Secret:
        rule = recipe.extension.secrets[name]
        return generate(rule.length, rule.alphabet)

    with lock(session.manager, f"ronron secrets rotate {app}"):
        place = Running(session, app, recipe, seconds)
        place.require()
        return rotating.rotate(session.vault, app, wanted, make, place, session.report)


def _one_line(value: Secret) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in value.reveal()):
        raise OperatorError(
            "a database's password is one line of text", remedy="nothing was changed"
        )


@dataclass(frozen=True)
class Running:
    """The app as it runs in the swarm: a `rotating.Place`."""

    session: Session
    app: str
    recipe: Recipe
    seconds: float

    def require(self) -> None:
        """Raise OperatorError when the app is not deployed."""
        with engine_of(self.session.manager) as engine:
            stacks.deployed(engine, self.app)

    def accept(self, name: str, old: Secret, new: Secret) -> None:
        """See `rotating.Place`."""
        if rule := self._rule(name):
            self._tell(rule.service, rule.accept, old, new)

    def drop(self, name: str, old: Secret, new: Secret) -> None:
        """See `rotating.Place`."""
        if (rule := self._rule(name)) and rule.drop:
            self._tell(rule.service, rule.drop, old, new)

    def go_back(self, name: str, old: Secret, new: Secret) -> None:
        """See `rotating.Place`."""
        if rule := self._rule(name):
            self._tell(rule.service, rule.drop or rule.accept, new, old)

    def run_with(self, secrets: Secrets, names: tuple[str, ...]) -> None:
        """See `rotating.Place`."""
        session, app = self.session, self.app
        references = {name: secrets.digest_name(app, name) for name in names}
        with engine_of(session.manager) as engine:
            revision = stacks.renew(
                engine, session.manager, app, references, secrets,
                seconds=self.seconds, report=session.report,
            )  # fmt: skip
            content = revision.content
            if content["domain"] is None:
                return
            trust = session.loaded.site.acme.trust
            probe.wait(
                engine,
                app,
                content["domain"],
                content["health"],
                address=proxy_address(session),
                trust=session.loaded.path(trust) if trust else None,
                seconds=self.seconds,
                report=session.report,
                refusals=content.get("refusals", ()),
            )

    def _rule(self, name: str) -> Rotation | None:
        # An interrupted rotation may be of a secret that the recipe has no more.
        rule = self.recipe.extension.secrets.get(name)
        return rule.rotate if rule else None

    def _tell(self, service: str, command: Sequence[str], old: Secret, new: Secret) -> None:
        web = self.recipe.extension.web
        name = WEB_SERVICE if web and service == web.service else service
        runner, container = container_of(self.session, self.app, name)
        tell(runner, container, command, old, new)


def tell(runner: Runner, container: str, command: Sequence[str], old: Secret, new: Secret) -> None:
    """Run a rotation's command in a container, with the two values on its standard input.

    Raises RonronError with what the command wrote to standard error, without the values.
    """
    done = runner.run(
        ["docker", "exec", "-i", container, *command],
        stdin=f"{old.reveal()}\n{new.reveal()}\n".encode(),
        check=False,
        timeout=COMMAND_SECONDS,
    )
    if done.status:
        lines = redacted(done.stderr.decode(errors="replace").splitlines()[-10:], (old, new))
        raise RonronError(
            f"{runner.name}: the database did not change its password (status {done.status})",
            details=lines,
        )

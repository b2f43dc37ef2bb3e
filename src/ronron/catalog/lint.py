"""The contract that every recipe keeps, checked; the rules and their reasons: docs/recipes.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ronron.catalog import checks, healthchecks, mail, sockets
from ronron.catalog.interpolate import compile, place
from ronron.catalog.licences import is_free
from ronron.catalog.plain import images, passwords
from ronron.catalog.plain.reading import listing, pairs, split
from ronron.catalog.recipe import Recipe
from ronron.errors import SiteError

OWN_VARIABLES = ("app", "domain", "site_name", "site_domain", "contact")
"""Variables that rendering gives to every recipe."""

_LONGEST_CONFIG = 64 - 31 - 12 - 2
"""Docker's limit less an app's longest name, the digest's digits, and two underscores."""

_SECRET_NAME = re.compile(r"[a-z][a-z0-9_]{0,20}")


@dataclass(frozen=True)
class Finding:
    """One rule that a recipe breaks: where, why it matters, and what to do.

    Errors must go before the recipe is trusted; a warning is worth a look.
    """

    rule: str
    path: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class _Subject:
    """A recipe with its stack filled in with the parameters' defaults."""

    recipe: Recipe
    stack: Mapping[str, Any]

    @property
    def services(self) -> Mapping[str, Any]:
        services: Mapping[str, Any] = self.stack["services"]
        return services

    def mounts(self) -> Iterator[tuple[str, str, str, str]]:
        """Each mount: service, place, source, target."""
        for service, body in self.services.items():
            for i, raw in enumerate(listing(body.get("volumes"))):
                where = place(("services", service, "volumes", i))
                if isinstance(raw, Mapping):
                    source = str(raw.get("source") or "")
                    yield service, where, source, str(raw.get("target") or "")
                else:
                    pieces = split(str(raw))
                    yield service, where, pieces[0] if pieces[1:] else "", (pieces[1:] or pieces)[0]


def lint(recipe: Recipe) -> list[Finding]:
    """Check a recipe against the whole contract; findings in the order of the rules."""
    values = dict.fromkeys(OWN_VARIABLES, "example")
    for name, rule in recipe.extension.parameters.items():
        default = rule.default if rule.default is not None else (rule.choices or ("1",))[0]
        values[name] = str(default).lower() if isinstance(default, bool) else str(default)
    try:
        stack = compile(recipe.stack).render(values)
    except SiteError as error:
        return [
            Finding("interpolation", problem.path, problem.message, problem.remedy)
            for problem in error.problems
        ]
    faults = [
        Finding("format", place(("services", name)), "a service is a mapping", "give it an image")
        for name, body in stack["services"].items()
        if not isinstance(body, dict)
    ]
    if faults:
        return faults
    subject = _Subject(recipe, stack)
    return [finding for rule in _RULES for finding in rule(subject)]


def _image_tag(subject: _Subject) -> Iterator[Finding]:
    for service, body in subject.services.items():
        where = place(("services", service, "image"))
        remedy = "pin a version, such as NAME:1.2.3"
        if not body.get("image"):
            yield Finding("image-tag", where, f"{service} has no image", remedy)
            continue
        image = images.split_image(str(body["image"]))
        if image.digest:
            continue
        if not image.tag or not re.search(r"\d", image.tag) or image.tag.startswith("latest"):
            what = f"the tag {image.tag} moves" if image.tag else "no tag means latest, which moves"
            message = f"{what}: tomorrow's deployment would be another program"
            yield Finding("image-tag", where, message, remedy)
        elif re.fullmatch(r"v?\d{1,3}(-[a-z]+)*", image.tag):
            message = f"the tag {image.tag} moves with every minor version"
            yield Finding("image-tag", where, message, remedy, "warning")


def _healthcheck(subject: _Subject) -> Iterator[Finding]:
    for service, body in subject.services.items():
        if str((body.get("deploy") or {}).get("mode", "")).endswith("-job"):
            continue
        where = place(("services", service, "healthcheck"))
        if fault := healthchecks.fault(body.get("healthcheck")):
            remedy = "ask the program something that only it can answer"
            yield Finding("healthcheck", where, fault, remedy)


def _memory(subject: _Subject) -> Iterator[Finding]:
    for service, body in subject.services.items():
        resources = (body.get("deploy") or {}).get("resources") or {}
        where = ("services", service, "deploy", "resources")
        if not (resources.get("limits") or {}).get("memory"):
            message = f"without a limit {service} can take the memory of a whole server"
            yield Finding(
                "memory-limit", place((*where, "limits")), message, "add limits: {memory: 256M}"
            )
        elif not (resources.get("reservations") or {}).get("memory"):
            message = f"the swarm does not know how much memory {service} needs"
            remedy = "add reservations: {memory: 64M}"
            yield Finding(
                "memory-reservation", place((*where, "reservations")), message, remedy, "warning"
            )


def _passwords(subject: _Subject) -> Iterator[Finding]:
    remedy = "declare a secret, and read it through a *_FILE variable"
    services = {
        name: {**body, "environment": pairs(body.get("environment"))}
        for name, body in subject.recipe.services.items()
    }
    for found in passwords.find(services):
        if found.text.startswith("/run/secrets/"):
            continue
        what = found.variable or "command"
        where = ("services", found.service, *(("environment", what) if found.variable else (what,)))
        message = f"{what} holds a password that everybody can read"
        yield Finding("literal-password", place(where), message, remedy)
    for name, rule in subject.recipe.extension.parameters.items():
        if passwords.is_secret_name(name) and rule.default not in (None, "", False, True):
            where = ("x-ronron", "parameters", name)
            message = f"the default of {name} is a password that everybody can read"
            yield Finding("literal-password", place(where), message, remedy)


def _databases(subject: _Subject) -> Iterator[Finding]:
    extension = subject.recipe.extension
    dumped = {database.volume for database in extension.databases.values()}
    for name, volume in extension.volumes.items():
        if volume.kind == "database" and volume.backup and name not in dumped:
            message = f"{name} is on one server's disk alone: without a dump it dies with that disk"
            remedy = "say under x-ronron.databases how it is dumped and restored"
            yield Finding("database-dump", f"x-ronron.volumes.{name}", message, remedy)
    for name, database in extension.databases.items():
        where = f"x-ronron.databases.{name}"
        kind = extension.volumes.get(database.volume)
        if kind is None or kind.kind != "database":
            message = f"{database.volume} is not a volume of class database"
            remedy = f"declare x-ronron.volumes.{database.volume}: {{class: database}}"
            yield Finding("database-dump", f"{where}.volume", message, remedy)
        service = database.service or name
        if service not in subject.services:
            message = f"there is no service {service}"
            remedy = f"name one of: {', '.join(subject.services)}"
            yield Finding("database-dump", f"{where}.service", message, remedy)
    for service, where, source, target in subject.mounts():
        rule = extension.volumes.get(source)
        image = str(subject.services[service].get("image", ""))
        known = source in (subject.stack.get("volumes") or {})
        if (
            known
            and images.is_database_folder(image, target)
            and not (rule and rule.kind == "database")
        ):
            message = f"{target} holds a database, which loses data on shared storage"
            remedy = f"declare x-ronron.volumes.{source}: {{class: database}}"
            yield Finding("database-class", where, message, remedy)


def _checks(subject: _Subject) -> Iterator[Finding]:
    for fault in checks.faults(subject.recipe.extension, subject.services):
        yield Finding("data-check", *fault)


def _ports(subject: _Subject) -> Iterator[Finding]:
    if subject.recipe.extension.published_ports.strip():
        return
    for service, body in subject.services.items():
        if body.get("ports"):
            message = f"{service} is reached beside the proxy: no certificate, no access log"
            remedy = "remove ports:, or give the reason in x-ronron.published_ports"
            yield Finding("published-port", place(("services", service, "ports")), message, remedy)


def _host_paths(subject: _Subject) -> Iterator[Finding]:
    for service, where, source, _ in subject.mounts():
        if not source.startswith(("/", ".", "~")):
            continue
        if sockets.is_reached(source):
            if not subject.recipe.extension.docker_socket.strip():
                message = f"with the Docker socket {service} commands every server"
                remedy = "remove it, or give the reason in x-ronron.docker_socket"
                yield Finding("docker-socket", where, message, remedy)
        elif not subject.recipe.extension.host_paths.strip():
            message = f"{source} is a path of one server: the data does not follow the service"
            remedy = "use a volume, or a config; else give the reason in x-ronron.host_paths"
            yield Finding("host-path", where, message, remedy)
    for service, body in subject.services.items():
        if body.get("privileged"):
            message = f"privileged, {service} is root on its server"
            remedy = "remove it; add single capabilities with cap_add"
            yield Finding("privileged", place(("services", service, "privileged")), message, remedy)


def _licence(subject: _Subject) -> Iterator[Finding]:
    extension = subject.recipe.extension
    if not is_free(extension.license) and not extension.license_exception.strip():
        message = f"{extension.license} is not the SPDX identifier of a free licence"
        remedy = "correct it, or give the reason in x-ronron.license_exception"
        yield Finding("licence", "x-ronron.license", message, remedy)


def _readme(subject: _Subject) -> Iterator[Finding]:
    path = subject.recipe.folder / "README.md"
    if not path.is_file() or len(path.read_text("utf-8").strip().splitlines()) < 3:
        message = "nobody can know the first steps, the parameters, and how to upgrade"
        yield Finding("readme", "README.md", message, "write it: see docs/recipes.md")


def _web(subject: _Subject) -> Iterator[Finding]:
    web = subject.recipe.extension.web
    if web is not None and web.service not in subject.services:
        message = f"there is no service {web.service}"
        remedy = f"name one of: {', '.join(subject.services)}"
        yield Finding("web", "x-ronron.web.service", message, remedy)


def _secrets(subject: _Subject) -> Iterator[Finding]:
    declared, listed = subject.recipe.extension.secrets, subject.stack.get("secrets") or {}
    used: set[str] = set()
    for service, body in subject.services.items():
        for i, raw in enumerate(listing(body.get("secrets"))):
            name = str(raw.get("source") if isinstance(raw, Mapping) else raw)
            used.add(name)
            if name not in declared or name not in listed:
                where = place(("services", service, "secrets", i))
                remedy = f"declare {name} in x-ronron.secrets and under secrets:"
                yield Finding("secrets", where, f"the secret {name} is not declared", remedy)
    for name, rule in declared.items():
        where = f"x-ronron.secrets.{name}"
        if not _SECRET_NAME.fullmatch(name):
            message = f"{name} is no name of a secret"
            remedy = "1 to 21 of a-z, 0-9 and _, beginning with a letter"
            yield Finding("secrets", where, message, remedy)
        if rule.rotate and rule.rotate.service not in subject.services:
            message = f"there is no service {rule.rotate.service}"
            remedy = f"name one of: {', '.join(subject.services)}"
            yield Finding("secrets", f"{where}.rotate.service", message, remedy)
        if name not in used:
            message = f"no service reads the secret {name}"
            yield Finding("secrets", where, message, "remove it")
    for name in listed:
        if name not in declared and name not in used:
            message = f"the secret {name} is not one of x-ronron.secrets"
            yield Finding("secrets", f"secrets.{name}", message, "remove it")


def _volumes(subject: _Subject) -> Iterator[Finding]:
    listed = subject.stack.get("volumes") or {}
    used: set[str] = set()
    for _, where, source, _ in subject.mounts():
        if source and not source.startswith(("/", ".", "~")):
            used.add(source)
            if source not in listed:
                message = f"the volume {source} is not declared"
                yield Finding("volumes", where, message, f"add {source}: {{}} under volumes:")
    for name in listed:
        if name not in used:
            message = f"no service mounts the volume {name}"
            yield Finding("volumes", f"volumes.{name}", message, "remove it")
    for name in subject.recipe.extension.volumes:
        if name not in listed:
            message = f"there is no volume {name} under volumes:"
            yield Finding("volumes", f"x-ronron.volumes.{name}", message, "correct its name")


def _writers(subject: _Subject) -> Iterator[Finding]:
    rules = subject.recipe.extension.volumes
    for service, body in subject.services.items():
        deploy = body.get("deploy") or {}
        mounted = {source for name, _, source, _ in subject.mounts() if name == service} & set(
            subject.stack.get("volumes") or {}
        )
        for key in ("update_config", "rollback_config"):
            if mounted and (deploy.get(key) or {}).get("order") == "start-first":
                where = place(("services", service, "deploy", key, "order"))
                message = "the old task and the new one would write the same volume at once"
                yield Finding("two-writers", where, message, "write order: stop-first")
        databases = [name for name in mounted if name in rules and rules[name].kind == "database"]
        many = deploy.get("mode") == "global" or int(deploy.get("replicas") or 1) > 1
        if databases and many:
            where = place(("services", service, "deploy", "replicas"))
            message = f"several tasks would write the database volume {databases[0]}"
            yield Finding("two-writers", where, message, "write replicas: 1")


def _parameters(subject: _Subject) -> Iterator[Finding]:
    declared = subject.recipe.extension.parameters
    needs = subject.recipe.template.variables()
    for name, need in needs.items():
        if name not in declared and name not in OWN_VARIABLES:
            remedy = f"declare it in x-ronron.parameters, or write $${{{name}}} for a literal"
            message = f"the variable {name} is no parameter: it would always be empty"
            yield Finding("parameters", need.places[0], message, remedy)
    for name, rule in declared.items():
        where = f"x-ronron.parameters.{name}"
        if name not in needs:
            message = f"nothing uses the parameter {name}"
            yield Finding("parameters", where, message, "remove it")
        if rule.default not in (None, "") and (wrong := rule.check(rule.default)):
            yield Finding("parameters", f"{where}.default", wrong, "correct it")
        if not rule.about.strip():
            message = f"nobody can know what {name} is for"
            yield Finding("parameters", where, message, "add about:", "warning")


def _files(subject: _Subject) -> Iterator[Finding]:
    folder = subject.recipe.folder
    for name, body in (subject.stack.get("configs") or {}).items():
        path = (body or {}).get("file")
        if path and not (folder / str(path)).is_file():
            message = f"{path} is not in the recipe's folder"
            yield Finding("files", f"configs.{name}.file", message, "add the file")
    for service, body in subject.services.items():
        build = body.get("build")
        context = build.get("context", ".") if isinstance(build, Mapping) else build
        if context is not None and not (folder / str(context) / "Dockerfile").is_file():
            where = place(("services", service, "build"))
            message = f"there is no Dockerfile in {context}"
            yield Finding("files", where, message, "add one, or remove build:")


def _configs(subject: _Subject) -> Iterator[Finding]:
    for name in subject.stack.get("configs") or {}:
        if len(str(name)) > _LONGEST_CONFIG:
            message = f"{name} is too long: Docker's name of it is the app's, this, and a digest"
            remedy = f"{_LONGEST_CONFIG} characters at most"
            yield Finding("files", place(("configs", name)), message, remedy)


def _short_tmpfs(subject: _Subject) -> Iterator[Finding]:
    for service, body in subject.services.items():
        for target in listing(body.get("tmpfs")):
            where = place(("services", service, "tmpfs"))
            path = str(target).partition(":")[0]
            remedy = f"under volumes: {{type: tmpfs, target: {path}}}"
            yield Finding("volumes", where, f"the swarm leaves tmpfs: {path} out", remedy)


def _mail(subject: _Subject) -> Iterator[Finding]:
    extension = subject.recipe.extension
    for name in extension.parameters:
        if re.search(r"smtp|mail_", name) and name not in mail.PARAMETERS:
            message = f"{name}: the site's one mail setting does not reach it"
            remedy = f"use {', '.join(mail.PARAMETERS)}, and the secret {mail.PASSWORD}"
            yield Finding("mail", f"x-ronron.parameters.{name}", message, remedy)
    present = set(mail.PARAMETERS) & set(extension.parameters)
    missing = [name for name in mail.ALWAYS if name not in present]
    if present and missing:
        message = f"{', '.join(missing)}: the site's mail setting needs them too"
        yield Finding("mail", "x-ronron.parameters", message, "add them")
    if (mail.USER in present) != (mail.PASSWORD in extension.secrets):
        message = f"{mail.USER} and the secret {mail.PASSWORD} belong together"
        yield Finding("mail", "x-ronron.secrets", message, "declare both")


_RULES: tuple[Callable[[_Subject], Iterator[Finding]], ...] = (
    _image_tag,
    _healthcheck,
    _memory,
    _passwords,
    _databases,
    _checks,
    _ports,
    _host_paths,
    _licence,
    _readme,
    _web,
    _secrets,
    _volumes,
    _writers,
    _parameters,
    _configs,
    _short_tmpfs,
    _mail,
    _files,
)

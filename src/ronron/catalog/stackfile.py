"""Plain stack files: any Compose file, translated into a recipe that renders like the others.

What is translated, what is refused, and why, is in docs/stack-files.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ronron.catalog.interpolate import cast_of, compile, escape, leaves
from ronron.catalog.plain import mounts, networks, objects, passwords, ports, shapes
from ronron.catalog.plain import services as service_keys
from ronron.catalog.plain import variables as variable
from ronron.catalog.plain import web as web_routes
from ronron.catalog.plain.document import read as read_document
from ronron.catalog.plain.reading import Reading
from ronron.catalog.recipe import Extension, Recipe, SecretRule, Volume, Web
from ronron.digest import short_digest
from ronron.errors import OperatorError, Problem, SiteError

_BYTES = 1_000_000
_TOP = {"configs", "include", "name", "networks", "secrets", "services", "version", "volumes"}
_PRIVATE = re.compile("\ue000(\\w+)\ue001")


@dataclass(frozen=True)
class PlainRecipe(Recipe):
    """A recipe that was a plain stack file: its digest is that of `content`, not of its folder."""

    content: bytes = b""

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that change with the stack file and the files that it reads."""
        return short_digest(self.content)


@dataclass(frozen=True)
class StackFile:
    """A plain stack file, translated.

    `recipe` is what renders; `hosts` are the domains that its labels named; `files` are the files
    beside it that it reads, relative to its folder; `secrets` are contents of secrets that it
    reads from such files, which belong in the vault and not in the site.
    """

    recipe: Recipe
    hosts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_stack(
    text: str,
    *,
    name: str,
    file: str,
    folder: Path,
    variables: Mapping[str, str],
    domain: str | None,
    allow_host_paths: bool = False,
    secrets: bool = False,
    web: str | None = None,
) -> Recipe:
    """Read a Compose file as a recipe, its variables filled in; see `translate`."""
    return translate(
        text, name=name, file=file, folder=folder, variables=variables, domain=domain,
        allow_host_paths=allow_host_paths, secrets=secrets, web=web,
    ).recipe  # fmt: skip


def translate(
    text: str,
    *,
    name: str,
    file: str,
    folder: Path,
    variables: Mapping[str, str],
    domain: str | None,
    allow_host_paths: bool = False,
    secrets: bool = False,
    web: str | None = None,
    fill: bool = True,
) -> StackFile:
    """Translate a Compose file.

    `file` is its name in errors, `folder` where its relative paths start, `variables` what its
    `${VARIABLES}` are (before those of `.env` in `folder`), `domain` what the app answers on.
    `secrets` replaces passwords in clear, `web` chooses the service (`SERVICE[:PORT]`). Without
    `fill` the variables stay in the result, as parameters of the recipe.

    Raises SiteError with all that cannot be carried over, each with its line and a remedy.
    """
    if len(text.encode()) > _BYTES:
        raise SiteError([Problem(file, "", "is larger than 1 MB", "a stack file is small")])
    document = read_document(text, file)
    tree = document.tree
    options = _options(tree, file)
    if not fill:
        variable.rename_domain(tree, variables)
        domain = domain or web_routes.DOMAIN
    known = variable.values(document, folder, variables, name, domain)
    allow = allow_host_paths or bool(options.pop("allow_host_paths", False))
    hide = bool(options.pop("replace_passwords", False)) or secrets
    reading = Reading(file, folder, document, known, allow)
    services = _services(reading, tree)
    parameters = variable.parameters(reading, tree, variables, fill)
    own: dict[str, str] = objects.secrets(reading, tree, services)
    objects.configs(reading, tree, services)
    service_keys.run_once(reading, services)
    for service, body in services.items():
        service_keys.translate(reading, service, body)
    held = mounts.translate(reading, tree, services)
    if held.configs:
        tree["configs"] = {**(tree.get("configs") or {}), **held.configs}
    chosen = web or _wanted(options)
    routing = web_routes.route(reading, services, domain, chosen)
    published = _publish(reading, services, routing.web)
    networks.translate(reading, tree, services, routing.joined)
    for body in services.values():
        for key in ("expose", "links"):
            body.pop(key, None)
    if hide:
        passwords.replace(reading, tree, services)
    passwords.report(reading, services)
    volumes = _volumes(reading, services, held)
    stack = _finished(reading, tree, known, fill)
    extension = {
        "title": name,
        "license": "NOASSERTION",
        "web": routing.web and {**routing.web.model_dump(), **(options.get("web") or {})},
        "secrets": {key: SecretRule.model_validate({}) for key in (tree.get("secrets") or {})},
        "parameters": parameters,
        "volumes": volumes,
        "published_ports": published,
        **{key: value for key, value in options.items() if key != "web"},
    }
    notes = [
        f"line {line}: {_private(text)}"
        for line, text in sorted(reading.notes, key=lambda note: note[0])
    ]
    hosts = tuple(host for host in routing.hosts if host != web_routes.DOMAIN)
    content = [text.encode(), *((folder / path).read_bytes() for path in reading.files)]
    recipe = PlainRecipe(
        name, folder, _extension(extension, file), stack,
        notes=tuple(notes), content=b"\0".join(content),
    )  # fmt: skip
    return StackFile(recipe, hosts, tuple(reading.files), own)


def gather(source: Path, found: StackFile) -> dict[str, bytes]:
    """Return the stack file `source` and all that it reads, by their paths in its folder.

    Contents of secrets are not among them: they are in `found.secrets`, for the vault.
    """
    paths = [source.name, *found.files]
    if found.recipe.extension.parameters and (source.parent / ".env").is_file():
        paths.append(".env")
    return {path: (source.parent / path).read_bytes() for path in dict.fromkeys(paths)}


def with_options(
    text: str, *, web: str | None = None, allow_host_paths: bool = False, secrets: bool = False
) -> str:
    """Return a stack file with the operator's choices written at its end, in `x-ronron`.

    Raises OperatorError when the file has such a block already.
    """
    lines = []
    if web:
        service, _, port = web.partition(":")
        lines.append(f"  web: {{service: {service}{f', port: {port}' if port else ''}}}")
    if allow_host_paths:
        lines.append("  allow_host_paths: true")
    if secrets:
        lines.append("  replace_passwords: true")
    if not lines:
        return text
    if re.search(r"^x-ronron\s*:", text, re.M):
        raise OperatorError("the file has an x-ronron block", remedy="write " + "; ".join(lines))
    return text.rstrip("\n") + "\n\nx-ronron:\n" + "\n".join(lines) + "\n"


def _options(tree: dict[str, Any], file: str) -> dict[str, Any]:
    options = tree.pop("x-ronron", None) or {}
    if not isinstance(options, dict) or not isinstance(options.get("web", {}), dict):
        raise SiteError(
            [Problem(file, "x-ronron", "and its web are mappings", "see docs/stack-files.md")]
        )
    return dict(options)


def _wanted(options: Mapping[str, Any]) -> str | None:
    wanted = options.get("web") or {}
    if not wanted.get("service"):
        return None
    return str(wanted["service"]) + (f":{wanted['port']}" if wanted.get("port") else "")


def _services(reading: Reading, tree: dict[str, Any]) -> dict[str, Any]:
    for key in [key for key in tree if key.startswith("x-") or tree[key] is None]:
        del tree[key]
    if "include" in tree:
        remedy = "write it out: docker compose config > flat.yml"
        reading.refuse(("include",), "other files are not read", remedy)
    for key in [key for key in tree if key not in _TOP]:
        reading.refuse((key,), f"{key} is not a key of Compose files", "correct it, or remove it")
    shapes.check(reading, tree)
    services: dict[str, Any] = tree.get("services") or {}
    for name in services if isinstance(services, dict) else ():
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", name):
            reading.refuse(("services", name), f"{name} is no name of a service", "rename it")
    reading.finish()
    services = service_keys.profiles(reading, services)
    if not services:
        reading.refuse(("services",), "every service has a profile", "set COMPOSE_PROFILES")
        reading.finish()
    tree["services"] = services
    for key in ("version", "name", "include"):
        tree.pop(key, None)
    return services


def _publish(reading: Reading, services: dict[str, Any], chosen: Web | None) -> str:
    """Leave only the ports beside the proxy's; return why there are some."""
    kept = [
        f"{service} {port.published}/{port.protocol}"
        for service, body in services.items()
        for port in ports.keep(
            reading, service, body, chosen.port if chosen and chosen.service == service else None
        )
    ]
    return f"The stack file publishes {', '.join(kept)}." if kept else ""


def _volumes(
    reading: Reading, services: Mapping[str, Any], held: mounts.Volumes
) -> dict[str, Volume]:
    found = {}
    for name, uses in held.used.items():
        # No owner: as with Docker alone, an empty volume gets the image's content and owner.
        kind = "files"
        for service, target in uses:
            steps = ("services", service)
            image = reading.value(services[service].get("image"), (*steps, "image"))
            if mounts.kind_of(image, target) == "database":
                kind = "database"
        found[name] = Volume.model_validate({"class": kind})
        place = "on the local disk of its server" if kind == "database" else "on shared storage"
        steps = ("volumes", name)
        if steps not in reading.document.lines:
            steps = ("services", uses[0][0])
        reading.note(steps, f"volume {name}: class {kind}, {place}")
    return found


def _finished(
    reading: Reading, tree: dict[str, Any], known: Mapping[str, str], fill: bool
) -> dict[str, Any]:
    for steps, raw in leaves(tree):
        if isinstance(raw, str) and "$" not in raw and (cast := cast_of(steps)):
            try:
                variable.put(tree, steps, cast(raw))
            except ValueError as error:
                reading.refuse(steps, str(error), "correct it")
    reading.finish()
    if fill:
        tree = escape(compile(tree, reading.file).render(known))
    result: dict[str, Any] = _private(tree)
    return result


def _private(node: Any) -> Any:  # noqa: ANN401 - any tree
    """Turn the marks of ronron's own variables into `${app}` and `${domain}`."""
    if isinstance(node, str):
        return _PRIVATE.sub(r"${\1}", node)
    if isinstance(node, dict):
        return {key: _private(value) for key, value in node.items()}
    return [_private(value) for value in node] if isinstance(node, list) else node


def _extension(content: dict[str, Any], file: str) -> Extension:
    from pydantic import ValidationError

    try:
        return Extension.model_validate(content)
    except ValidationError as error:
        raise SiteError(
            [
                Problem(
                    file, ".".join(["x-ronron", *map(str, fault["loc"])]), fault["msg"],
                    "see docs/stack-files.md",
                )
                for fault in error.errors()
            ]
        ) from None  # fmt: skip

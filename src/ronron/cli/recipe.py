"""`ronron recipe`: the catalog listed, shown, checked and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.catalog.recipe import Recipe, SecretRule


@click.group()
def recipe() -> None:
    """List and show the recipes, check them, and make your own."""


def _own(ctx: click.Context) -> Path | None:
    """The folder of the site's own recipes; None outside of a site."""
    from ronron.errors import OperatorError

    try:
        return context.site_folder(ctx) / "recipes"
    except OperatorError:
        if ctx.find_root().obj:
            raise
        return None


def _into(ctx: click.Context, name: str) -> Path:
    return context.site_folder(ctx) / "recipes" / name


@recipe.command("list")
@context.json_option
@click.pass_context
def list_recipes(ctx: click.Context, as_json: bool) -> None:
    """List the recipes: the site's own, and the built-in ones."""
    from ronron.catalog.recipe import find, names

    own = _own(ctx)
    found = [find(name, own) for name in names(own)]
    if as_json:
        output.result_json([_summary(item) for item in found])
        return
    rows = [
        (
            item.name,
            item.extension.category,
            item.extension.license,
            item.extension.verified,
            "built-in" if item.builtin else "own",
            item.extension.about,
        )
        for item in found
    ]
    output.table(("name", "category", "licence", "verified", "from", "about"), rows)


@recipe.command()
@click.argument("name")
@context.json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a recipe: its parameters, secrets, volumes, memory, licence, how it was verified."""
    from ronron.catalog.recipe import find

    item = find(name, _own(ctx))
    if as_json:
        output.result_json(_details(item))
        return
    extension = item.extension
    output.result(f"{extension.title}: {extension.about}")
    verified = {
        "run": "deployed, used over HTTPS, dumped and restored by the tests",
        "rendered": "accepted by Docker, and checked against upstream's documentation; never run",
    }
    facts = {
        "from": str(item.folder),
        "website": extension.website,
        "licence": extension.license
        + (f" (not free: {extension.license_exception})" if extension.license_exception else ""),
        "verified": f"{extension.verified} ({verified[extension.verified]})",
        "published ports": extension.published_ports.strip(),
        "Docker socket": extension.docker_socket.strip(),
    }
    for title, text in facts.items():
        if text:
            output.result(f"{title}: {text}")
    for title, columns, rows in _sections(item):
        if rows:
            output.result("")
            output.result(f"{title}:")
            output.table(columns, rows)


def _made(rule: SecretRule) -> str:
    if rule.provided:
        return "by ronron"
    return "by you, if you want" if rule.optional else f"{rule.length} characters"


def _sections(item: Recipe) -> list[tuple[str, Sequence[str], list[Sequence[object]]]]:
    extension = item.extension
    services = [
        (name, body.get("image", ""), *_memory(body)) for name, body in item.services.items()
    ]
    parameters = [
        (
            name,
            "required" if rule.required else rule.default,
            " or ".join(rule.choices) or rule.type,
            rule.about,
        )
        for name, rule in extension.parameters.items()
    ]
    secrets = [(name, _made(rule), rule.about) for name, rule in extension.secrets.items()]
    dumped = {database.volume: database.engine for database in extension.databases.values()}
    volumes = [(name, rule.kind, dumped.get(name, "")) for name, rule in extension.volumes.items()]
    return [
        ("services", ("name", "image", "memory limit", "reserved"), list(services)),
        ("parameters", ("name", "default", "value", "about"), list(parameters)),
        ("secrets", ("name", "made", "about"), list(secrets)),
        ("volumes", ("name", "class", "dumped as"), list(volumes)),
    ]


def _memory(body: Any) -> tuple[str, str]:  # noqa: ANN401 - a service of a stack
    resources = (body.get("deploy") or {}).get("resources") or {}
    limits, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    return str(limits.get("memory", "")), str(reserved.get("memory", ""))


def _summary(item: Recipe) -> dict[str, Any]:
    extension = item.extension
    return {
        "name": item.name,
        "title": extension.title,
        "about": extension.about,
        "category": extension.category,
        "license": extension.license,
        "verified": extension.verified,
        "builtin": item.builtin,
    }


def _details(item: Recipe) -> dict[str, Any]:
    extension = item.extension.model_dump(mode="json", by_alias=True)
    services = {
        name: dict(
            zip(("image", "memory", "reserved"), (body.get("image"), *_memory(body)), strict=True)
        )
        for name, body in item.services.items()
    }
    return {**_summary(item), **extension, "services": services, "folder": str(item.folder)}


@recipe.command()
@click.argument("sources", metavar="[PATH|NAME]...", nargs=-1)
@context.json_option
@click.pass_context
def lint(ctx: click.Context, sources: Sequence[str], as_json: bool) -> int:
    """Check recipes against the contract: by name or folder, or all of them.

    Each finding says what is wrong, why it matters and what to do. The exit status is 1 when there
    are errors, 0 when there are only warnings.
    """
    from ronron.catalog.lint import Finding
    from ronron.catalog.lint import lint as check
    from ronron.catalog.recipe import find, load, names
    from ronron.errors import OperatorError, SiteError

    own = _own(ctx)
    found: list[tuple[str, Finding]] = []
    for source in sources or names(own):
        try:
            if "/" in source or Path(source, "stack.yml").is_file():
                if not Path(source, "stack.yml").is_file():
                    raise OperatorError(f"{source} is no recipe", remedy="it needs a stack.yml")
                item = load(Path(source).absolute())
            else:
                item = find(source, own)
        except SiteError as error:
            found += [
                (source, Finding("format", fault.path, fault.message, fault.remedy))
                for fault in error.problems
            ]
            continue
        found += [(item.name, finding) for finding in check(item)]
    if as_json:
        rows = [{"recipe": name, **dataclasses.asdict(finding)} for name, finding in found]
        output.result_json(rows)
    else:
        for name, finding in found:
            text = f"recipes/{name}: {finding.path}: {finding.message} ({finding.remedy})"
            kind = "" if finding.severity == "error" else "warning: "
            output.result(f"{kind}{text} [{finding.rule}]")
        errors = sum(finding.severity == "error" for _, finding in found)
        count = len(sources or names(own))
        output.note(f"{count} recipes, {errors} errors, {len(found) - errors} warnings")
    return int(any(finding.severity == "error" for _, finding in found))


@recipe.command()
@click.argument("name")
@click.pass_context
def new(ctx: click.Context, name: str) -> None:
    """Make a recipe of your own in the site: a skeleton that passes the lint."""
    from ronron.catalog import authoring

    folder = _into(ctx, name)
    authoring.write(folder, authoring.skeleton(name))
    output.result(f"made {folder}: edit stack.yml, then ronron recipe lint {name}")


@recipe.command()
@click.argument("name")
@click.pass_context
def diff(ctx: click.Context, name: str) -> None:
    """Show how the site's own recipe NAME differs from the built-in one."""
    from ronron.catalog import authoring
    from ronron.catalog.recipe import builtin_folder
    from ronron.errors import OperatorError

    own, builtin = _into(ctx, name), builtin_folder() / name
    if not (own / "stack.yml").is_file():
        remedy = "copy the built-in one to recipes/, or ronron recipe new"
        raise OperatorError(f"the site has no recipe {name} of its own", remedy=remedy)
    if not (builtin / "stack.yml").is_file():
        raise OperatorError(f"there is no built-in recipe {name}", remedy="ronron recipe list")
    for line in authoring.difference(builtin, own):
        output.result(line)


@recipe.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("name", required=False)
@click.option("--domain", help="Where it is to answer; default: what its labels say.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set a variable.")
@click.option("--web", metavar="SERVICE:PORT", help="What is to answer the domain.")
@click.option("--secrets", is_flag=True, help="Replace passwords in clear by generated secrets.")
@click.option("--allow-host-paths", is_flag=True, help="Keep bind mounts of the servers' paths.")
@click.option("--dry-run", is_flag=True, help="Only say what would be translated.")
@click.pass_context
def import_file(
    ctx: click.Context,
    file: Path,
    name: str | None,
    domain: str | None,
    settings: Sequence[str],
    web: str | None,
    secrets: bool,
    allow_host_paths: bool,
    dry_run: bool,
) -> None:
    """Make a recipe of your own of a plain Compose stack file.

    What is translated is listed; what cannot be carried over is an error with its line.
    """
    from ronron.catalog import authoring
    from ronron.catalog.stackfile import translate
    from ronron.cli.deploy import pairs
    from ronron.errors import OperatorError

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise OperatorError(f"{file} is not a text file", remedy="name a stack file") from None
    chosen = name or _name_of(file)
    authoring.skeleton(chosen)  # The name is checked before the file is read.
    found = translate(
        text,
        name=chosen,
        file=str(file),
        folder=file.parent.absolute(),
        variables=pairs(settings, "--set"),
        domain=domain,
        allow_host_paths=allow_host_paths,
        secrets=secrets,
        web=web,
        fill=False,
    )
    for note in found.recipe.notes:
        output.note(note)
    for secret in found.secrets:
        output.note(f"secret {secret}: its content is not in the recipe, a new one will be made")
    files = authoring.imported(found, file.parent)
    if dry_run:
        output.result(str(files["stack.yml"]).rstrip("\n"))
        return
    folder = _into(ctx, chosen)
    authoring.write(folder, files)
    domain = domain or next(iter(found.hosts), None)
    hint = f" --domain {domain}" if domain else ""
    output.result(f"made {folder}: ronron recipe lint {chosen}, ronron deploy {chosen} NAME{hint}")


def _name_of(file: Path) -> str:
    import re

    generic = ("docker-compose", "compose", "stack", "docker-stack")
    stem = file.stem if file.stem not in generic else file.absolute().parent.name
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "imported"

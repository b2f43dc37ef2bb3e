"""`ronron deploy`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.plan.deploying import Draft
    from ronron.servers.connections import Connections
    from ronron.site.load import LoadedSite


@click.command()
@click.argument("source")
@click.argument("name", required=False)
@click.option("--domain", help="Where it answers; default: NAME below the site's domain.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set a parameter.")
@click.option("--replicas", metavar="SERVICE=N", multiple=True, help="How many run at once.")
@click.option("--image", "images", metavar="SERVICE=IMAGE", multiple=True, help="Another image.")
@click.option("--web", metavar="SERVICE:PORT", help="Of a plain stack file: what is to answer.")
@click.option(
    "--secrets", is_flag=True, help="Of a plain stack file: generate secrets for its passwords."
)
@click.option(
    "--allow-host-paths", is_flag=True, help="Of a plain stack file: keep mounts of host paths."
)
@context.timeout_option(300.0, "Seconds that it may take to answer.")
@context.json_option
@context.yes_option
@context.with_site
def deploy(
    loaded: LoadedSite,
    source: str,
    name: str | None,
    domain: str | None,
    settings: Sequence[str],
    replicas: Sequence[str],
    images: Sequence[str],
    web: str | None,
    secrets: bool,
    allow_host_paths: bool,
    timeout: float,
    as_json: bool,
    yes: bool,
) -> None:
    """Add the app NAME from SOURCE, or update it, and wait until it answers over HTTPS.

    SOURCE is a recipe (see ronron recipe list) or a Compose stack file, such as ./ghost.yml.
    Without NAME the app is called like its recipe. The app's file, apps/NAME.yml, and its secrets
    in the vault are written; commit them.

    \b
      ronron deploy ghost blog --domain blog.example.org
      ronron deploy ./wiki.yml wiki --domain wiki.example.org --set DB=wiki
      ronron deploy monitoring
    """
    from ronron.servers.connections import connecting

    began = time.monotonic()
    if name is None:
        if _is_file(source):
            raise click.UsageError("Name the app: ronron deploy FILE NAME.")
        name = source
    with connecting(loaded) as servers:
        from ronron.plan import deploying

        request = deploying.Request(
            name=name,
            source=Path(source) if _is_file(source) else source,
            domain=domain,
            parameters=pairs(settings, "--set"),
            replicas=pairs(replicas, "--replicas"),
            images=pairs(images, "--image"),
            web=web,
            allow_host_paths=allow_host_paths,
            replace_passwords=secrets,
        )
        with deploying.prepared(loaded, request) as draft:
            run(draft, servers, name, timeout=timeout, as_json=as_json, yes=yes, began=began)


def _is_file(source: str) -> bool:
    return "/" in source or source.endswith((".yml", ".yaml"))


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` arguments as a mapping. Raises click's usage error."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} {value}: write it as KEY=VALUE.")
        found[key] = text
    return found


def run(
    draft: Draft,
    servers: Connections,
    name: str,
    *,
    timeout: float,
    as_json: bool,
    yes: bool,
    began: float,
) -> None:
    """Plan and carry out the app `name` of the site as declared, and say what it answers."""
    from ronron.cli.changes import lines
    from ronron.plan import deploying
    from ronron.plan.session import session_over

    with output.reporter() as report:
        session = session_over(servers, draft.loaded, report)
        change, reality = deploying.plan_one(session, name)
        for line in deploying.notes(session, name, change):
            output.note(line)
    if change is not None and change.action != "create":
        if not as_json:
            lines(change.changes)
        output.confirm(f"Change {name}?", yes)
    with output.reporter() as report:
        session = session.reporting(report)
        done = deploying.carry_out(session, draft, name, change, reality, seconds=timeout)
    if as_json:
        output.result_json(done)
    elif done.answer:
        answer = done.answer
        output.result(
            f"{name} answers at {answer.url} (HTTP {answer.status}, {answer.tls}, certificate by "
            f"{answer.issuer} until {answer.expires:%Y-%m-%d}) after "
            f"{time.monotonic() - began:.1f} s"
        )
    else:
        output.result(f"{name} runs, after {time.monotonic() - began:.1f} s")

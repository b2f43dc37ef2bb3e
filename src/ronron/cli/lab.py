"""`ronron lab`: disposable servers on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ronron.cli import output
from ronron.errors import OperatorError

if TYPE_CHECKING:
    from ronron.lab import Lab

_NAME = click.option("--name", default="lab", show_default=True, help="Which lab.")


@click.group()
def lab() -> None:
    """Disposable servers on this computer, to try ronron and to test.

    A lab is one to five bare Debian servers in containers, with a network of their own, a name
    server, and a certificate authority that speaks ACME. To ronron they are servers like any
    other. Several labs can exist side by side. It needs a running Docker engine, nothing else.
    """


@lab.command()
@click.option("--servers", type=click.IntRange(1, 5), help="How many; default: as is, or 3.")
@_NAME
def up(servers: int | None, name: str) -> None:
    """Bring a lab up: create what is missing, start what is stopped."""
    from ronron import lab as domain

    with output.reporter() as report:
        found = domain.up(name, servers, report=report)
    _show(found)


@lab.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def status(name: str, as_json: bool) -> None:
    """Show a lab's servers, addresses, ports and keys."""
    found = _find(name)
    if as_json:
        output.result_json({**_facts(found), "servers": found.servers})
    else:
        _show(found)


@lab.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@_NAME
def site(folder: Path, name: str) -> None:
    """Make a site of a lab's servers in FOLDER, ready for plan and apply.

    A site of this lab that is there already gets the lab's present keys and certificates.
    """
    from ronron.lab.site import write_site

    write_site(_find(name), folder)
    output.result(f"site {name} in {folder}: next, ronron --site {folder} apply")


@lab.command()
@click.argument("server", default="manager")
@click.argument("command", nargs=-1)
@_NAME
def shell(server: str, command: tuple[str, ...], name: str) -> int:
    """Log in to SERVER (default: manager) as root, or run COMMAND there."""
    from ronron import lab as domain

    found = _find(name)
    wanted = found.server(server)
    if not wanted.running:
        raise OperatorError(
            f"{wanted.address} is stopped", remedy=f"start it: ronron lab up --name {name}"
        )
    with domain.connections(found) as runners:
        return runners[server].interactive(command or ("bash", "--login"))


@lab.command()
@_NAME
@click.option("--all", "every", is_flag=True, help="Every lab of this computer.")
@click.option("--keep-images", is_flag=True, help="Keep the images, so that the next up is quick.")
@click.option("--yes", is_flag=True, help="Do not ask before removing several labs.")
def down(name: str, every: bool, keep_images: bool, yes: bool) -> None:
    """Remove a lab and every trace of it: servers, network, volumes, keys, images."""
    from ronron import lab as domain

    labs = domain.names() if every else [name]
    if len(labs) > 1:
        output.confirm(f"Remove {len(labs)} labs ({', '.join(labs)})?", yes)
    removed = []
    with output.reporter() as report:
        for each in labs:
            if domain.down(each, keep_images=keep_images, report=report):
                removed.append(each)
    output.result(f"removed: {', '.join(removed)}" if removed else "there was nothing to remove")


def _find(name: str) -> Lab:
    from ronron import lab as domain

    found = domain.find(name)
    if found is None:
        others = domain.names()
        if name in others:
            raise OperatorError(
                f"lab {name} is incomplete", remedy=f"complete it: ronron lab up --name {name}"
            )
        there = f"; there are: {', '.join(others)}" if others else ""
        raise OperatorError(
            f"there is no lab {name}{there}", remedy=f"make it: ronron lab up --name {name}"
        )
    return found


def _facts(lab: Lab) -> dict[str, object]:
    return {
        "name": lab.name,
        "running": lab.running,
        "domain": lab.domain,
        "resolver": lab.resolver,
        "acme_directory": lab.acme_directory,
        "http_port": lab.http_port,
        "https_port": lab.https_port,
        "ssh_key": str(lab.ssh_key),
        "encrypted_networks": lab.encrypted_networks,
    }


def _show(lab: Lab) -> None:
    output.table(
        ["server", "address", "ip", "state"],
        [
            [server.name, server.address, server.ip, "running" if server.running else "stopped"]
            for server in lab.servers
        ],
    )
    output.result("")
    for label, value in _facts(lab).items():
        if label not in ("name", "running"):
            shown = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else value
            output.result(f"{label.replace('_', ' ')}: {shown}")

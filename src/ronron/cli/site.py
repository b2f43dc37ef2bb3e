"""`ronron init` and `ronron schema`."""

from __future__ import annotations

from pathlib import Path

import click

from ronron.cli import output


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--name", help="The site's name; default: the folder's.")
@click.option("--domain", default="example.org", help="Default domain of the apps.")
@click.option("--contact", help="E-mail address for the certificate authority.")
def init(folder: Path, name: str | None, domain: str, contact: str | None) -> None:
    """Make a site in FOLDER (default: here), with the key that opens its vault."""
    from ronron.site.create import init_site
    from ronron.site.vault import identity_path

    name = name or folder.absolute().name
    key = identity_path(name)
    existed = key.exists()
    init_site(folder, name=name, domain=domain, contact=contact or f"admin@{domain}", key=key)
    output.result(f"site {name} made in {folder}")
    output.result(
        f"key {'found' if existed else 'made'}: {key} (ronron secrets init adds a recovery key)"
    )
    say = "set domain and contact in" if domain == "example.org" else "read"
    output.result(f"next: {say} {folder / 'ronron.yml'}, then ronron server add ADDRESS")
    output.result("then, if you like: ronron deploy monitoring (alerts), ronron deploy logs")


@click.command()
@click.argument("kind", type=click.Choice(["ronron", "app"]), default="ronron")
def schema(kind: str) -> None:
    """Print the JSON Schema of ronron.yml, or of an app's file."""
    from ronron.site.schema import schema_text

    click.echo(schema_text(kind), nl=False)

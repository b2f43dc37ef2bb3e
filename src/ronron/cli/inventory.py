"""`ronron inventory`: the site as an Ansible dynamic inventory."""

from __future__ import annotations

import click

from ronron.cli import context, output


@click.command()
@click.option("--list", "everything", is_flag=True, help="All groups and hosts (the default).")
@click.option("--host", metavar="NAME", help="The variables of one host.")
@click.pass_context
def inventory(ctx: click.Context, everything: bool, host: str | None) -> None:
    """Print an Ansible dynamic inventory.

    For an inventory script: an executable file with the two lines `#!/bin/sh` and
    `exec ronron --site DIR inventory "$@"`.
    """
    from ronron.errors import RonronError
    from ronron.servers.connections import key_file
    from ronron.servers.names import lookup
    from ronron.site import inventory as ansible
    from ronron.site.models import Server

    if everything and host:
        raise click.UsageError("--list and --host exclude each other.", ctx)
    loaded = context.load(ctx)
    key = key_file(loaded)

    def address(server: Server) -> str:
        """Where the site's own resolver says that it is; Ansible would ask this computer's."""
        if not loaded.site.resolver:
            return server.address
        try:
            return lookup(server.address, loaded.site.resolver)
        except RonronError:
            return server.address

    if host:
        server = loaded.site.server(host)
        variables = ansible.hostvars(loaded, server, key=key, address=address(server))
        output.result_json(variables)
    else:
        output.result_json(ansible.inventory(loaded, key=key, address=address))

"""`ronron provider`: the firewall of the servers' provider, from the site's declared ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ronron.cli import context, output

if TYPE_CHECKING:
    from ronron.provider.scaleway import Plan
    from ronron.site.load import LoadedSite


@click.group()
def provider() -> None:
    """Firewall rules at the servers' provider, from the ports that the site declares.

    They stand before the servers' own firewall, with the same rules, and hold where that one is not
    up yet. What is declared is what ronron itself needs, firewall.ports in ronron.yml, and
    published_ports of the apps.
    """


@provider.group()
def scaleway() -> None:
    """Scaleway's security groups: one for each server.

    The key is read as Scaleway's own tools read it (SCW_ACCESS_KEY, SCW_SECRET_KEY,
    SCW_DEFAULT_PROJECT_ID, SCW_DEFAULT_ZONE, or their file), and kept nowhere. The library is an
    extra: pip install 'ronron[scaleway]'.
    """


@scaleway.command("plan")
@context.json_option
@context.with_site
def plan_scaleway(loaded: LoadedSite, as_json: bool) -> None:
    """Show what apply would change at Scaleway."""
    from ronron.provider import scaleway as domain

    _show(domain.plan(domain.client(), loaded.site, loaded.apps), as_json)


@scaleway.command("apply")
@context.yes_option
@context.with_site
def apply_scaleway(loaded: LoadedSite, yes: bool) -> None:
    """Make the security groups what the site declares, and the servers use them."""
    from ronron.provider import scaleway as domain

    api = domain.client()
    made = domain.plan(api, loaded.site, loaded.apps)
    _show(made, False)
    if not made.changes:
        return
    servers = ", ".join(dict.fromkeys(one.server for one in made.changes))
    output.confirm(f"Change the security groups of {servers}?", yes)
    domain.apply(api, loaded.site, made)
    output.result("applied")


def _show(made: Plan, as_json: bool) -> None:
    from ronron.cli import changes
    from ronron.plan.model import Change

    if as_json:
        output.result_json({"changes": made.changes})
        return
    changes.lines(
        Change(f"server {one.server}", one.field, one.before, one.after, one.why)
        for one in made.changes
    )
    count = len(made.changes)
    output.result(f"{count} change{'s' if count != 1 else ''}" if count else "nothing to change")

"""Comparing what is declared with what is: a pure function from both to a plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from ronron.catalog import access, alerting, mail
from ronron.catalog.recipe import Catalog, Recipe, read_text
from ronron.catalog.render import render
from ronron.catalog.routing import MTU_OPTION, PROXY_NETWORK, overlay_options
from ronron.catalog.stack import PLATFORM, Stack
from ronron.errors import OperatorError, Problem, SiteError
from ronron.plan import (
    carry,
    defending,
    fencing,
    gluster,
    limiting,
    moved,
    platform,
    relocating,
    remapping,
)
from ronron.plan.model import DRIFT, AppChange, Change, Plan
from ronron.plan.observe import Reality
from ronron.servers.provision.model import ProvisioningPlan
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site
from ronron.site.security import declared_ports
from ronron.site.vault import Secrets, Vault
from ronron.swarm import nodes, spec, state
from ronron.swarm.record import Record

SITE = "site"
"""The vault's file of what belongs to no app: the mail relay's password."""

NEW = "new"
"""Stands in a plan for the digest of a secret that is not made yet."""


def make(
    loaded: LoadedSite,
    reality: Reality,
    provisioning: ProvisioningPlan,
    catalog: Catalog,
    vault: Vault,
    only: Iterable[str] | None = None,
) -> Plan:
    """Plan for the whole site, or for the apps named in `only` alone.

    Raises SiteError with every fault of the apps' files that their recipes tell, OperatorError for
    a site that cannot be as declared.
    """
    moved.other_storage(loaded.site, reality)
    remapping.check(loaded.site, reality)
    chosen = None if only is None else set(only)
    problems: list[Problem] = []
    notes: list[str] = []
    apps = []
    wanted = platform.apps(loaded) if chosen is None else {}
    wanted |= {name: app for name, app in loaded.apps.items() if chosen is None or name in chosen}
    for app in wanted.values():
        try:
            change = _app(app, loaded, reality, catalog, vault, notes)
        except SiteError as error:
            problems += error.problems
        else:
            apps += [change] if change else []
    if problems:
        raise SiteError(problems)
    if chosen is None:
        apps = [*_removed(loaded, reality.swarm), *apps]
    whole = chosen is None
    unseen = ""
    if nodes.is_unseen(loaded.site, reality.swarm, reality.facts):
        # What cannot be seen is not new.
        unseen = f"{loaded.site.manager.name} does not answer for it: apps are not compared"
        apps, notes = [], []
    return Plan(
        provisioning=provisioning,
        defence=tuple(defending.changes(loaded, reality)) if whole else (),
        nodes=tuple(nodes.changes(loaded.site, reality.swarm, reality.facts)) if whole else (),
        storage=gluster.changes_of(loaded.site, reality) if whole else (),
        network=tuple(_network(loaded.site, reality)) if whole and not unseen else (),
        apps=tuple(apps),
        carry=tuple(carry.changes(loaded, reality)) if whole else (),
        fences=tuple(fencing.changes(reality)) if whole else (),
        unreachable={name: str(error) for name, error in reality.failures.items()},
        notes=tuple(notes),
        unseen=unseen,
    )


def recipe_of(app: App, loaded: LoadedSite, catalog: Catalog) -> Recipe:
    """The app's recipe, or its plain stack file read as one. Raises SiteError."""
    if app.stack is not None:
        from ronron.catalog.stackfile import read_stack

        path = loaded.path(app.stack)
        plain = read_stack(
            read_text(path, app.stack),
            name=app.name,
            file=app.stack,
            folder=path.parent,
            variables={key: str(value) for key, value in app.parameters.items()},
            domain=loaded.domain(app),
            web=app.web,
        )
        return access.with_logins(plain, app)
    assert app.recipe is not None  # noqa: S101 - the model has one of the two
    try:
        found = alerting.with_authority(catalog.find(app.recipe), loaded)
        return access.with_logins(found, app)
    except SiteError:
        raise
    except OperatorError as error:
        file = f"apps/{app.name}.yml"
        raise SiteError([Problem(file, "recipe", error.message, error.remedy)]) from None


def rendered(
    app: App, recipe: Recipe, site: Site, secrets: Secrets | None, link_mtu: int
) -> tuple[Stack, tuple[str, ...]]:
    """The app's stack, and the names of the secrets that are still to be made."""
    known = secrets.values if secrets else {}
    names = {
        name: secrets.digest_name(app.name, name)
        if secrets and name in known
        else f"{app.name}_{name}_{NEW}"
        for name, rule in recipe.extension.secrets.items()
        if name in known or not rule.optional
    }
    missing = tuple(
        name for name in names if name not in known and not mail.is_relays(recipe, name)
    )
    hashes = access.hashes(app, secrets)
    return render(app, recipe, site, names, link_mtu, hashes), missing


def read_secrets(app: App, recipe: Recipe, vault: Vault, deployed: bool) -> Secrets | None:
    """The app's secrets, None where none are made yet.

    Raises OperatorError when an app that runs has lost its file: new secrets would lock it out of
    its own database.
    """
    if not recipe.extension.secrets:
        return None
    if vault.exists(app.name):
        return vault.read(app.name)
    if deployed:
        raise OperatorError(
            f"vault/{app.name}.age: is missing, and {app.name} runs with the secrets in it",
            remedy=f"take it from git: git log -- vault/{app.name}.age",
        )
    return None


def with_mail(
    secrets: Secrets | None, app: App, recipe: Recipe, site: Site, vault: Vault
) -> Secrets | None:
    """The app's secrets, with the password of the account that it sends mail by.

    The site's where the account is the site's. Raises OperatorError when it is not in the vault: it
    cannot be made up.
    """
    if not mail.has_account(app, recipe, site):
        return secrets
    if not mail.has_sites_account(app, recipe, site):
        if secrets is None or mail.PASSWORD not in secrets.values:
            raise OperatorError(
                f"apps/{app.name}.yml: parameters.{mail.USER}: its password is not in the vault",
                remedy=f"ronron secrets set {app.name} {mail.PASSWORD}",
            )
        return secrets
    known = vault.read(SITE).values if vault.exists(SITE) else {}
    if mail.PASSWORD not in known:
        raise OperatorError(
            "ronron.yml: mail.user: its password is not in the vault",
            remedy=f"ronron secrets set {SITE} {mail.PASSWORD}",
        )
    return (secrets or Secrets()).set(mail.PASSWORD, known[mail.PASSWORD])


def _app(
    app: App,
    loaded: LoadedSite,
    reality: Reality,
    catalog: Catalog,
    vault: Vault,
    notes: list[str],
) -> AppChange | None:
    recipe = recipe_of(app, loaded, catalog)
    deployed = reality.swarm.newest(app.name)
    secrets = read_secrets(app, recipe, vault, deployed is not None)
    secrets = with_mail(secrets, app, recipe, loaded.site, vault)
    stack, missing = rendered(app, recipe, loaded.site, secrets, reality.link_mtu)
    notes += limiting.impossible(stack, reality)
    moves = tuple(relocating.relocations(stack, reality))
    limits = tuple(limiting.differing(stack, reality))
    moving = {move.volume for move in moves}
    moved.check(stack, deployed, reality, moving)
    volumes = tuple(
        item for item in stack.volumes if item.path not in reality.folders and item not in moving
    )
    actual = reality.swarm.services.get(app.name, {})
    if deployed is None:
        found = [*_created(stack), *_closed_ports(app, stack, loaded.site)]
        return AppChange(app.name, "create", tuple(found), stack, stack.volumes, missing)
    _same_encryption(app, stack, reality.swarm)
    same = deployed.stack_digest == stack.digest
    held = deployed.specs_digest == spec.digest(actual)
    if same and held and not (volumes or moves or limits):
        return None
    found = [] if same else list(_declared(app, deployed, stack))
    found += [] if held else list(_drifted(app, deployed, actual))
    found += [relocating.change(move) for move in moves]
    found += [limiting.change(server, volume, reality) for server, volume in limits]
    found += [
        Change(f"app {app.name}", f"volumes.{item.name}", None, item.path, "the folder is missing")
        for item in volumes
    ]
    if not found:
        # Fields that people do not tell apart, such as the order of the variables.
        found = [Change(f"app {app.name}", "stack", "written otherwise", "as declared")]
    action: Literal["update", "repair"] = "repair" if same else "update"
    return AppChange(app.name, action, tuple(found), stack, volumes, missing, moves, limits)


def _same_encryption(app: App, stack: Stack, swarm: state.SwarmState) -> None:
    """Docker leaves a network as it was made: refuse what would not be done."""
    for name, body in stack.compose["networks"].items():
        options = swarm.networks.get(f"{app.name}_{name}")
        if options is None or body.get("external"):
            continue
        there, wanted = ("encrypted" in one for one in (options, body["driver_opts"]))
        if there != wanted:
            text = f"the network {name} is {'' if there else 'not '}encrypted while the app runs"
            remedy = f"ronron remove {app.name}, and apply with its file again: its data is kept"
            raise SiteError([Problem(f"apps/{app.name}.yml", "encrypted", text, remedy)])


def _created(stack: Stack) -> Iterator[Change]:
    where = f"app {stack.app}"
    if stack.domain:
        yield Change(where, "domain", None, stack.domain)
    for image in stack.images:
        field = f"services.{image.service}.image" if image.service else "image of its dumps"
        yield Change(where, field, None, image.upstream)
    for volume in stack.volumes:
        yield Change(where, f"volumes.{volume.name}", None, volume.path, volume.kind)
    for name in stack.secrets:
        yield Change(where, f"secrets.{name}", None, "***", "generated")


def _closed_ports(app: App, stack: Stack, site: Site) -> Iterator[Change]:
    """The ports that a new app publishes and its file does not declare."""
    if app.name in PLATFORM or not site.firewall.enabled:
        return
    declared = declared_ports(site, {app.name: app})[site.manager.name]
    for service in stack.compose["services"].values():
        for port in service.get("ports") or ():
            protocol, number = str(port.get("protocol", "tcp")), int(port["published"])
            if not any(one.covers(protocol, number) for one in declared):
                why = f"the firewall opens what apps/{app.name}.yml has in published_ports"
                yield Change(f"app {app.name}", f"port {protocol}/{number}", None, "closed", why)


def _declared(app: App, deployed: Record, stack: Stack) -> Iterator[Change]:
    before = spec.flatten_stack(json.loads(deployed.content["stack"]))
    after = spec.flatten_stack(json.loads(stack.text))
    source = f"recipe {app.recipe}" if app.recipe else str(app.stack)
    why = source if app.name in PLATFORM else f"apps/{app.name}.yml or {source}"
    for field, old, new in spec.differences(before, after):
        yield Change(f"app {app.name}", field, old, new, why)


def _drifted(app: App, deployed: Record, actual: Mapping[str, str]) -> Iterator[Change]:
    """What someone changed in the swarm; `before` is what is there, `after` what apply restores."""
    expected: Mapping[str, str] = deployed.content["specs"]
    for service in sorted({*expected, *actual}):
        if expected.get(service) == actual.get(service):
            continue
        where = f"app {app.name}"
        if service not in actual or service not in expected:
            here, there = ("running" if service in side else None for side in (actual, expected))
            yield Change(where, f"services.{service}", here, there, DRIFT)
            continue
        sides = (state.fields(actual[service]), state.fields(expected[service]))
        for field, old, new in spec.differences(*sides):
            yield Change(where, f"services.{service}.{field}", old, new, DRIFT)


def _removed(loaded: LoadedSite, swarm: state.SwarmState) -> Iterator[AppChange]:
    for app in sorted(swarm.apps - set(loaded.apps) - set(PLATFORM)):
        why = "no longer declared; its data is kept"
        change = Change(f"app {app}", "app", "deployed", None, why)
        yield AppChange(app, "remove", (change,))


def _network(site: Site, reality: Reality) -> Iterator[Change]:
    options = overlay_options(site, reality.link_mtu)
    wanted = {"subnet": site.network.subnet, **options}
    present = reality.swarm.networks.get(PROXY_NETWORK)
    where = f"network {PROXY_NETWORK}"
    if present is None:
        yield Change(where, "network", None, ", ".join(f"{k} {v}" for k, v in wanted.items()))
        return
    kept = {key: present[key] for key in present if key in wanted or key == "encrypted"}
    differences = [
        f"{'mtu' if field == MTU_OPTION else field} is {old or 'false'} in the swarm and "
        f"{new or 'false'} here"
        for field, old, new in spec.differences(kept, wanted)
    ]
    if differences:
        raise OperatorError(
            f"ronron.yml: network: {', '.join(differences)}; "
            "the proxy's network cannot be changed while it is used",
            remedy="change it back, or remove all apps and the proxy first",
        )

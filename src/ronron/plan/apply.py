"""Carrying a plan out: servers, swarm, network, then apps. Each phase looks again at what is.

Every step can be repeated, so that an apply that was interrupted is finished by the next.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ronron.catalog import mail
from ronron.catalog.recipe import Recipe
from ronron.catalog.routing import PROXY_NETWORK, overlay_options
from ronron.catalog.stack import PLATFORM, Stack
from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan import carry, defending, fencing, gluster, pending, platform, relocating, unlocking
from ronron.plan.clearing import clear_app
from ronron.plan.make import read_secrets, recipe_of, rendered, with_mail
from ronron.plan.model import AppChange, Plan
from ronron.plan.observe import Reality, observe
from ronron.plan.session import Session
from ronron.servers.copying.aside import Kept
from ronron.servers.names import lookup
from ronron.servers.provision.model import LogAccess, StorageAccess
from ronron.servers.provision.run import apply_provisioning
from ronron.site.logs import STORES, store_of
from ronron.site.models import App
from ronron.site.vault import Secrets, generate
from ronron.swarm import (
    aside,
    certificates,
    images,
    nodes,
    probe,
    quotas,
    stacks,
    state,
    volumes,
)
from ronron.swarm.engines import engine_of
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

APPS_AT_ONCE = 4
MEMBER_ROUNDS = 3
"""How often the swarm's members are changed and looked at: the swarm, its members, what is left."""

SWARM_SECONDS = 120.0
"""How long the first manager may take to manage its swarm again after Docker has started."""

APP_SECONDS = 300.0
"""How long an app may take to run and to answer."""


@dataclass(frozen=True)
class Done:
    """What was done to one app; `answer` is what it said over HTTPS, if it has a domain.

    `kept` are the old copies of data that moved.
    """

    app: str
    action: str
    answer: probe.Answer | None = None
    kept: tuple[Kept, ...] = ()


def apply(
    session: Session, plan: Plan, reality: Reality, *, seconds: float = APP_SECONDS
) -> tuple[Done, ...]:
    """Carry out `plan`, made from `reality`. The caller holds the site's lock.

    `seconds` is how long each app may take. Apps that fail do not stop the others. Raises
    RonronError with every failure.
    """
    return apps(session, plan, servers(session, plan, reality), seconds=seconds)


def apps(
    session: Session, plan: Plan, reality: Reality, *, seconds: float = APP_SECONDS
) -> tuple[Done, ...]:
    """The part of `apply` that comes after the servers; raises as it does."""
    done: list[Done] = []
    removals = [change for change in plan.apps if change.action == "remove"]
    others = [change for change in plan.apps if change.action != "remove"]

    def carry_out(change: AppChange) -> None:
        done.append(deploy(session, change, reality, seconds=seconds))

    failures = _each(removals, lambda change: done.append(remove(session, change.app)))
    own = [change for change in others if change.app in PLATFORM]
    for change in sorted(own, key=lambda item: PLATFORM.index(item.app)):
        # The rest stands on these: the first that fails ends the apply.
        failed = _each([change], carry_out)
        _raise([*failures, *failed] if failed else [])
    rest = [change for change in others if change.app not in PLATFORM]
    failures = [*failures, *_each(rest, carry_out)]
    # Last: apps run without it, and that it fails is one failure among others.
    try:
        if plan.carry:
            carry.carry_out(session, reality)
        else:
            carry.follow(session, reality)
    except RonronError as error:
        failures.append(error)
    _raise(failures)
    return tuple(done)


def check(plan: Plan, reality: Reality) -> None:
    """Raise what keeps `plan` from being carried out: every server that cannot be used as it is."""
    _raise([*reality.failures.values(), *plan.provisioning.failures])


def servers(session: Session, plan: Plan, reality: Reality) -> Reality:
    """Provision the servers, and bring the swarm and its network to what is declared.

    A swarm that could not be seen is afterwards: what is to be done in it takes another plan.
    """
    site, report = session.loaded.site, session.report
    check(plan, reality)
    if plan.provisioning.changes:
        result = apply_provisioning(
            session.loaded,
            session.servers,
            access(session),
            report,
            storage=storage_access(session),
            logs=log_access(session),
        )
        _raise(list(result.failures))
        if site.docker.autolock:  # Docker may have restarted
            unlocking.unlock(session, [server.name for server in site.managers])
        reality = observe(session.loaded, session.servers, session.report)
    if plan.defence:
        _raise(defending.carry_out(session, reality))
    if plan.provisioning.changes or plan.storage:
        gluster.bring(session, reality)
    if plan.provisioning.changes or plan.nodes or plan.storage or plan.unseen:
        reality = members(session)
    if site.docker.autolock:
        unlocking.keep(session)
    if fences := list(fencing.changes(reality)):
        with engine_of(session.manager) as engine:
            fencing.carry_out(session, engine, fences)
    if not reality.swarm.networks.get(PROXY_NETWORK):
        options = plan_options(session, reality)
        with step(report, f"network {PROXY_NETWORK}"), engine_of(session.manager) as engine:
            stacks.create_proxy_network(engine, site.network.subnet, options)
    return reality


def plan_options(session: Session, reality: Reality) -> dict[str, str]:
    """The driver options of the proxy's network."""
    return overlay_options(session.loaded.site, reality.link_mtu)


def access(session: Session) -> Any:  # noqa: ANN401
    """What lets the servers use the registry; its certificates are made the first time."""
    if not session.vault.exists(certificates.VAULT_NAME):
        session.vault.write(certificates.VAULT_NAME, certificates.registry_certificates())
    return certificates.registry_access(session.vault)


def storage_access(session: Session) -> StorageAccess:
    """What lets the servers share storage; the certificate is made the first time it is needed."""
    name = certificates.STORAGE_VAULT
    if session.loaded.site.storage.shared == "glusterfs" and not session.vault.exists(name):
        session.vault.write(name, certificates.storage_certificate())
    return certificates.storage_access(session.vault)


def log_access(session: Session) -> LogAccess:
    """What lets the servers write to the log store; its certificates are made with the store."""
    store = store_of(session.loaded.apps.values())
    if store is None:
        return LogAccess()
    known = session.vault.read(store.name) if session.vault.exists(store.name) else Secrets()
    if not set(certificates.LOG_SECRETS) <= set(known.values):
        made = certificates.log_certificates().values
        session.vault.write(store.name, replace(known, values={**known.values, **made}))
    return certificates.log_access(session.vault, store.name)


def members(session: Session) -> Reality:
    """Change the swarm's membership until nothing is left to change, and look again.

    Raises RonronError that names what is still to change after three rounds.
    """
    site = session.loaded.site
    for _ in range(MEMBER_ROUNDS):
        reality = _with_swarm(session)
        changes = list(nodes.changes(site, reality.swarm, reality.facts))
        if not changes:
            return reality
        initial = [change for change in changes if change.action == "init"]
        for change in initial or changes:
            nodes.carry_out(change, site, session.servers, reality.facts, session.report)
    reality = _with_swarm(session)
    left = [
        f"{c.server}: {c.item}: {c.why}" for c in nodes.changes(site, reality.swarm, reality.facts)
    ]
    if left:
        raise RonronError(
            "the swarm's servers are still not as declared",
            remedy="run ronron apply again; ronron status shows the servers",
            details=left,
        )
    return reality


def _with_swarm(session: Session) -> Reality:
    """What the servers are, once the first manager tells of the swarm that it has a place in: it
    takes its time after Docker has started. Raises why a server did not answer."""
    site = session.loaded.site

    def look() -> Reality | None:
        reality = observe(session.loaded, session.servers, session.report)
        _raise(list(reality.failures.values()))
        return None if nodes.is_unseen(site, reality.swarm, reality.facts) else reality

    return until(
        look, SWARM_SECONDS, f"{site.manager.name} to manage the swarm that it belongs to", pause=1
    )


def deploy(session: Session, change: AppChange, reality: Reality, *, seconds: float) -> Done:
    """Bring one app to what is declared, and wait until it answers over HTTPS.

    Raises RonronError with the reason when it does not run or does not answer.
    """
    loaded = session.loaded
    declared = loaded.apps | platform.apps(loaded)
    app = declared[change.app]
    recipe = recipe_of(app, loaded, session.catalog)
    secrets = make_secrets(session, app, recipe, change.new_secrets)
    stack, _ = rendered(app, recipe, loaded.site, secrets, reality.link_mtu)
    with engine_of(session.manager) as engine:
        supply(session, engine, stack)
        if change.volumes:
            swarm = state.observe(engine)
            volumes.create(engine, session.servers, stack.volumes, swarm, session.report)
        for server, volume in change.quotas:
            with step(session.report, f"quota of {volume.name}", f"{app.name} on {server}"):
                quotas.set_limit(session.servers[server], volume)
        about = _about(app, stack)

        def launch() -> None:
            stacks.deploy(
                engine, session.manager, stack, secrets, about=about, seconds=seconds,
                report=session.report,
            )  # fmt: skip

        kept: list[Kept] = []
        if change.moves:
            kept = relocating.carry_out(session, engine, stack, change.moves, launch, seconds)
        else:
            launch()
        answer = wait_for_answer(session, engine, stack, seconds)
    return Done(app.name, change.action, answer, tuple(kept))


def make_secrets(session: Session, app: App, recipe: Recipe, missing: Iterable[str]) -> Secrets:
    """The app's secrets; those that are missing are made and kept in the vault first."""
    if app.name == certificates.VAULT_NAME:
        access(session)
    if app.recipe in STORES:
        log_access(session)
    secrets = read_secrets(app, recipe, session.vault, deployed=False) or Secrets()
    made = {
        name: generate(rule.length, rule.alphabet)
        for name, rule in recipe.extension.secrets.items()
        if name not in secrets.values
        and not (rule.provided or rule.optional or mail.is_relays(recipe, name))
    }
    # Also without any: the names of Docker secrets are made with the file's salt.
    if made or (recipe.extension.secrets and not session.vault.exists(app.name)):
        secrets = replace(secrets, values={**secrets.values, **made})
        session.vault.write(app.name, secrets)
    return with_mail(secrets, app, recipe, session.loaded.site, session.vault) or secrets


def supply(session: Session, engine: DockerClient, stack: Stack) -> None:
    """Bring the stack's images into the site's registry; the platform's own stay on the manager,
    the only server that runs them."""
    source = session.loaded.site.images.source
    push = stack.app not in PLATFORM
    wanted: Iterable[Any] = stack.images
    if push:
        wanted = images.missing(engine, stack.images)
    images.supply(engine, session.manager, wanted, source=source, push=push, report=session.report)


def wait_for_answer(
    session: Session, engine: DockerClient, stack: Stack, seconds: float
) -> probe.Answer | None:
    """Wait until the app answers on its domain; None for an app without one."""
    if stack.domain is None:
        return None
    loaded = session.loaded
    trust = loaded.site.acme.trust
    return probe.wait(
        engine,
        stack.app,
        stack.domain,
        stack.health,
        address=proxy_address(session),
        trust=loaded.path(trust) if trust else None,
        seconds=seconds,
        report=session.report,
        refusals=stack.refusals,
    )


def proxy_address(session: Session) -> str:
    """The address of the server on which the proxy runs."""
    site = session.loaded.site
    return lookup(site.manager.address, site.resolver)


def remove(session: Session, app: str, *, delete_data: bool = False) -> Done:
    """Remove an app from the swarm; with `delete_data` its volumes' folders too."""
    with engine_of(session.manager) as engine:
        if app in aside.left(engine):
            clear_app(session, engine, app)
        stacks.remove(engine, session.manager, app, session.report)
        # A server that cannot be reached keeps its entries; they do no harm.
        session.servers.on_each(lambda runner: volumes.forget(runner, app))
        if delete_data:
            swarm = state.observe(engine)
            volumes.delete(engine, session.servers, app, swarm, session.report)
    pending.done(session.manager, app)
    return Done(app, "remove")


def _about(app: App, stack: Stack) -> dict[str, Any]:
    return {
        "app": app.model_dump(mode="json", exclude_defaults=True),
        "recipe": stack.recipe,
        "recipe_digest": stack.recipe_digest,
        "domain": stack.domain,
        "health": stack.health,
        "refusals": list(stack.refusals),
        "images": {image.service: image.upstream for image in stack.images if image.service},
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _each(changes: list[AppChange], work: Callable[[AppChange], None]) -> list[RonronError]:
    """Do `work` for several apps at once; returns what failed."""

    def one(change: AppChange) -> RonronError | None:
        try:
            work(change)
        except RonronError as error:
            return error
        return None

    with ThreadPoolExecutor(APPS_AT_ONCE) as threads:
        return [error for error in threads.map(one, changes) if error is not None]


def _raise(failures: Sequence[RonronError]) -> None:
    """Raise what failed; several failures together, as the operator's if all of them are."""
    told = {str(error): error for error in failures}
    if len(told) == 1:
        raise failures[0]
    if told:
        lines = [line for text, error in told.items() for line in (text, *error.details)]
        mistakes = all(error.exit_code == OperatorError.exit_code for error in failures)
        kind = OperatorError if mistakes else RonronError
        raise kind(f"{len(told)} things failed", details=lines)

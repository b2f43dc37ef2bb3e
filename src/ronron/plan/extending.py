"""One more disk for the pool: the site's file with it, what would change, and doing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ronron.events import Report
from ronron.plan import remapping
from ronron.plan.lock import lock
from ronron.plan.observe import Reality
from ronron.plan.session import Session, log_access, open_session
from ronron.servers.provision.run import apply_provisioning, plan_provisioning
from ronron.site import edit
from ronron.swarm import facts
from ronron.swarm.certificates import VAULT_NAME, registry_access, storage_access

if TYPE_CHECKING:
    from ronron.servers.provision.model import ProvisioningPlan, RegistryAccess
    from ronron.site.load import LoadedSite


def with_disk(loaded: LoadedSite, disk: str, *, erase: bool) -> LoadedSite:
    """The site with `disk` in its pool, and to be erased if asked; no file is written.

    Raises OperatorError when there is no pool, SiteError when the disk cannot be named so.
    """
    site, _ = edit.pool_with(loaded.folder, disk, erase=erase)
    return replace(loaded, site=site)


def plan(loaded: LoadedSite, report: Report) -> ProvisioningPlan:
    """What would change on the storage server alone. Raises what keeps it from being done."""
    with open_session(loaded, report) as session:
        return _on_the_storage_server(session, plan_provisioning)


def extend(loaded: LoadedSite, disk: str, report: Report, *, erase: bool) -> ProvisioningPlan:
    """Write the disk into ronron.yml, and bring the storage server to what it says now.

    Once the disk is in the pool, the file no longer says that it may be erased. Raises
    RonronError when it failed; the next apply goes on then.
    """
    with open_session(loaded, report) as session, lock(session.manager, "ronron storage extend"):
        edit.extend_pool(loaded.folder, disk, erase=erase)
        made = _on_the_storage_server(session, apply_provisioning)
    if erase:
        edit.forget_erased(loaded.folder, disk)
    return made


def _on_the_storage_server(
    session: Session, provision: Callable[..., ProvisioningPlan]
) -> ProvisioningPlan:
    """What `provision`, which plans or applies, does there. Raises what keeps it from it."""
    site = session.loaded.site
    name = site.storage_server.name
    seen = facts.read(session.servers[name], userns_remap=site.docker.userns_remap)
    remapping.check(site, Reality({name: seen}))
    made = provision(
        session.loaded,
        session.servers,
        _access(session),
        session.report,
        storage=storage_access(session.vault),
        logs=log_access(session),
        names=[name],
    )
    for failure in made.failures:
        raise failure
    return made


def _access(session: Session) -> RegistryAccess | None:
    """The servers' access to the registry; before the first apply there is none."""
    return registry_access(session.vault) if session.vault.exists(VAULT_NAME) else None

"""What planning and applying work with: the site, its servers, its recipes and its vault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ronron.catalog.recipe import Catalog
from ronron.events import Report, step
from ronron.plan.make import make, recipe_of
from ronron.plan.model import Plan
from ronron.plan.observe import Reality, observe, observe_swarm
from ronron.servers.connections import Connections, connections
from ronron.servers.provision.model import LogAccess, ProvisioningPlan
from ronron.servers.provision.run import plan_provisioning
from ronron.servers.runner import Runner
from ronron.site.load import LoadedSite
from ronron.site.logs import store_of
from ronron.site.vault import Vault, identity_path
from ronron.swarm import certificates
from ronron.swarm.certificates import registry_access, storage_access


@dataclass(frozen=True)
class Session:
    """Open connections to a site's servers, and everything that is known without them."""

    loaded: LoadedSite
    servers: Connections
    catalog: Catalog
    vault: Vault
    report: Report

    @property
    def manager(self) -> Runner:
        """The runner of the site's first manager. Raises OperatorError when there is none."""
        return self.servers[self.loaded.site.manager.name]

    def reporting(self, report: Report) -> Session:
        """This session, with what it does told to `report`."""
        return replace(self, report=report)


@contextmanager
def open_session(loaded: LoadedSite, report: Report) -> Iterator[Session]:
    """Open a session; connections are made when they are first used."""
    with connections(loaded) as servers:
        yield session_over(servers, loaded, report)


def session_over(servers: Connections, loaded: LoadedSite, report: Report) -> Session:
    """A session over connections that the caller opened, and closes."""
    vault = Vault(loaded.folder, identity_path(loaded.site.name))
    return Session(loaded, servers, Catalog(loaded.recipes), vault, report)


def plan(session: Session, only: Iterable[str] | None = None) -> tuple[Plan, Reality]:
    """Look at servers and swarm, and plan for the site, or for the apps named in `only` alone.

    Raises SiteError, OperatorError for what the operator must correct; servers that cannot be
    reached are in the plan.
    """
    loaded, servers, report = session.loaded, session.servers, session.report
    loaded.site.manager  # noqa: B018 - raises where no server is declared
    if only is not None:
        only = list(only)
        # Volumes may be on any server; the swarm knows all else of an app.
        look = observe if _have_volumes(session, only) else observe_swarm
        reality = look(loaded, servers, report)
        return make(
            loaded, reality, ProvisioningPlan(), session.catalog, session.vault, only
        ), reality
    with ThreadPoolExecutor(1) as threads, step(report, "compare with the servers"):
        registry = registry_access(session.vault)
        storage = storage_access(session.vault)
        logs = log_access(session)
        looking = threads.submit(
            plan_provisioning, loaded, servers, registry, report, storage=storage, logs=logs
        )
        reality = observe(loaded, servers, report)
        provisioning = looking.result()
    return make(loaded, reality, provisioning, session.catalog, session.vault), reality


def log_access(session: Session) -> LogAccess:
    """What lets the servers write to the log store; empty without one, or before it is made."""
    store = store_of(session.loaded.apps.values())
    return certificates.log_access(session.vault, store.name) if store else LogAccess()


def _have_volumes(session: Session, names: Iterable[str]) -> bool:
    """Whether any of the apps `names` has volumes. Raises SiteError as `recipe_of`."""
    loaded = session.loaded
    apps = [loaded.apps[name] for name in names if name in loaded.apps]
    return any(recipe_of(app, loaded, session.catalog).stack.get("volumes") for app in apps)

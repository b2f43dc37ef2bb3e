"""Users of containers apart from the servers' own: only ever from a server's first apply on.

Docker has all that is its own in another folder then, its place in the swarm with it, and the
owners of what is in volumes mean other users.
"""

from __future__ import annotations

from collections.abc import Iterator

from ronron.errors import OperatorError
from ronron.plan.observe import Reality
from ronron.site.models import Site
from ronron.site.userns import FIRST_ID, IDS
from ronron.swarm.facts import ServerFacts
from ronron.swarm.state import SwarmState


def check(site: Site, reality: Reality) -> None:
    """Refuse a site whose `docker.userns_remap` is not what its servers run with.

    Raises OperatorError with each server that is in a swarm or has volumes, or whose kernel does
    not let containers have users of their own.
    """
    wanted = site.docker.userns_remap
    found = [f"{name} {why}" for name, one in reality.facts.items() for why in _why(one, wanted)]
    if found:
        raise OperatorError(
            f"ronron.yml: docker.userns_remap: {found[0]}",
            remedy=_back(site),
            details=found[1:],
        )
    same(site, reality.swarm)


def same(site: Site, swarm: SwarmState) -> None:
    """Refuse to work on data whose owners the site's file counts otherwise than the swarm does.

    Raises OperatorError.
    """
    if swarm.present and swarm.remapped is not site.docker.userns_remap:
        how = "without" if site.docker.userns_remap else "with"
        raise OperatorError(
            f"ronron.yml: docker.userns_remap: the swarm runs {how} it", remedy=_back(site)
        )


def _back(site: Site) -> str:
    value = str(not site.docker.userns_remap).lower()
    return f"set it back to {value}; docs/hardening.md: how a site gets it"


def _why(facts: ServerFacts, wanted: bool) -> Iterator[str]:
    how = "without" if wanted else "with"
    if facts.swarm_state not in ("absent", "inactive"):
        if facts.remapped is not wanted:
            yield f"is in the swarm {how} it, and would lose its place, its images and its data"
        return
    if any((FIRST_ID <= owner < FIRST_ID + IDS) is not wanted for owner in facts.owners):
        yield f"has volumes that were made {how} it, whose files would be somebody else's"
    if wanted and not facts.namespaces:
        yield "has a kernel that does not let containers have users of their own"

"""Volumes whose data is elsewhere than where the app would look: never started on nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace

from ronron.catalog.stack import SHARED, Stack, Volume
from ronron.errors import OperatorError, Problem, RonronError, SiteError
from ronron.plan.observe import Reality
from ronron.site.models import Site
from ronron.swarm.record import Record


def check(
    stack: Stack, deployed: Record | None, reality: Reality, moving: Collection[Volume] = ()
) -> None:
    """Refuse to plan an app whose files are still where they were before `storage.shared` changed,
    but for those whose data is `moving` to where it shall be.

    Raises SiteError for that, and RonronError when the shared storage does not tell what it has.
    """
    silent = sorted(name for name, facts in reality.facts.items() if facts.shared == "silent")
    if silent and any(v.shared and v.path not in reality.folders for v in stack.volumes):
        raise RonronError(
            f"{silent[0]}: the shared storage does not answer",
            remedy="ronron status shows the servers that it needs",
        )
    left = [one for one in _left(stack, deployed, reality) if one[0] not in moving]
    if left:
        remedy = "change storage.shared back, or move the folder there and apply again"
        raise SiteError(
            [
                Problem(
                    f"apps/{stack.app}.yml",
                    f"volumes.{volume.name}",
                    f"its data is in {at}, and would be looked for in {volume.path}",
                    remedy,
                )
                for volume, at in left
            ]
        )


def other_storage(site: Site, reality: Reality) -> None:
    """Refuse to put one shared storage over another: the files of the first would be hidden.

    Raises OperatorError that names a server which has the other one mounted.
    """
    wanted = site.storage.shared
    for name, facts in reality.facts.items():
        if site.storage.is_shared and facts.shared_by not in ("", wanted):
            raise OperatorError(
                f"ronron.yml: storage.shared: {wanted} would hide the files of {facts.shared_by}, "
                f"which {name} has at {SHARED}",
                remedy="storage.shared: local first, which moves them; then see docs/storage.md",
            )


def _left(stack: Stack, deployed: Record | None, reality: Reality) -> Iterator[tuple[Volume, str]]:
    before = json.loads(deployed.content["stack"]).get("volumes") or {} if deployed else {}
    for volume in stack.volumes:
        other = replace(volume, shared=not volume.shared).path
        if other not in reality.folders:
            continue
        used = (before.get(volume.name) or {}).get("driver_opts", {}).get("device")
        if used == other or volume.path not in reality.folders:
            yield volume, other

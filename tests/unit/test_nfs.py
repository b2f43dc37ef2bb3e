"""NFS as pure values: what each server gets, who may mount, and what is run when that changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ronron.servers.check import nfs_modules
from ronron.servers.facts import Entry
from ronron.servers.provision.model import Declared, Part, Run
from ronron.servers.provision.steps import query, steps
from ronron.servers.storage import nfs, units
from ronron.site.models import Site
from unit.test_servers_steps import BARE, DECLARED, carried_out

SITE = Site.model_validate(
    {
        "name": "cloud",
        "domain": "example.org",
        "contact": "a@example.org",
        "servers": {
            "master": {"roles": ["manager", "storage"]},
            "worker-1": {},
            "worker-2": {},
        },
        "storage": {"shared": "nfs"},
    }
)
ADDRESSES = {"master": "192.0.2.1", "worker-1": "192.0.2.2"}


def texts(part: Part) -> dict[str, str]:
    return {file.path: file.content for file in part.files}


def test_the_storage_server_exports_to_the_sites_servers_alone() -> None:
    part = nfs.part(SITE, "master", ADDRESSES)
    options = "(rw,sync,no_subtree_check,sec=sys,no_root_squash)"
    # The address of worker-2 is not known now: /etc/hosts still has the one that it had.
    assert texts(part)[nfs.EXPORTS].splitlines()[1:] == [
        f"/srv/ronron/exported 192.0.2.2{options} worker-2{options}"
    ]
    assert "*" not in texts(part)[nfs.EXPORTS]
    assert "vers3=n" in texts(part)["/etc/nfs.conf.d/ronron.conf"]
    assert "Options=bind" in texts(part)[f"{units.UNITS}/{nfs.MOUNT}"]
    assert part.services == (nfs.MOUNT, "nfs-server")
    alone = SITE.model_copy(update={"servers": {"master": SITE.servers["master"]}})
    assert nfs.EXPORTED not in texts(nfs.part(alone, "master", {}))[nfs.EXPORTS]


def test_the_others_mount_it_hard_and_docker_waits_for_it() -> None:
    part = nfs.part(SITE, "worker-1", ADDRESSES)
    written = texts(part)
    assert "What=master:/srv/ronron/exported\n" in written[f"{units.UNITS}/{nfs.MOUNT}"]
    assert (
        "Options=vers=4.2,hard,sec=sys,nodev,nosuid,_netdev\n"
        in written[f"{units.UNITS}/{nfs.MOUNT}"]
    )
    assert part.services == (nfs.AUTOMOUNT,)
    drop_in = written[f"{units.UNITS}/docker.service.d/ronron-shared.conf"]
    assert f"Requires={nfs.AUTOMOUNT}\nAfter={nfs.AUTOMOUNT}\n" in drop_in


def test_without_nfs_there_is_none_of_it() -> None:
    local = SITE.model_copy(update={"storage": SITE.storage.model_copy(update={"shared": "local"})})
    assert nfs.part(local, "master", ADDRESSES) == Part()
    assert nfs_modules(local, "master") == ()
    assert (nfs_modules(SITE, "master"), nfs_modules(SITE, "worker-1")) == (("nfsd",), ("nfsv4",))


@pytest.mark.parametrize("server", ["master", "worker-1"])
def test_afterwards_nothing_is_left_to_do(server: str) -> None:
    declared = replace(DECLARED, part=nfs.part(SITE, server, ADDRESSES))
    found = steps(declared, BARE)
    seen = carried_out(found, BARE)
    if server == "master":
        seen = replace(seen, entries={**seen.entries, nfs.EXPORTED_NOW: Entry(0o644, changed=600)})
    assert steps(declared, seen) == []


def exported(declared: Declared, changed: float) -> list[tuple[str, ...]]:
    """What is run on a server that was told of its exports at the time `changed`."""
    before = carried_out(steps(DECLARED_MASTER, BARE), BARE)
    entries = {**before.entries, nfs.EXPORTED_NOW: Entry(0o644, changed=changed)}
    found = steps(declared, replace(before, entries=entries))
    return [argv for one in found if isinstance(one.action, Run) for argv in one.action.commands]


DECLARED_MASTER = replace(DECLARED, part=nfs.part(SITE, "master", ADDRESSES))


EXPORT = ("sh", "-ec", "exportfs -ra; touch /var/lib/nfs/etab")


def test_exports_are_told_to_the_kernel_when_a_server_came_and_after_an_interruption() -> None:
    more = nfs.part(SITE, "master", {**ADDRESSES, "worker-2": "192.0.2.3"})
    assert exported(replace(DECLARED, part=more), 600) == [EXPORT]
    assert exported(DECLARED_MASTER, 400) == [EXPORT]
    assert exported(DECLARED_MASTER, 600) == []


def test_all_that_is_compared_is_asked_for() -> None:
    asked = query(DECLARED_MASTER)
    assert nfs.EXPORTED_NOW in asked.secrets
    assert "nfsd" in asked.modules

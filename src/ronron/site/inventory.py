"""The site as an Ansible dynamic inventory, so that operators' own playbooks reach its servers.

The format is that of Ansible's inventory scripts: `--list` prints groups and, under `_meta`, the
variables of every host; `--host NAME` prints those of one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ronron.site.load import LoadedSite
from ronron.site.models import Role, Server

GROUPS: dict[str, Role] = {"managers": "manager", "workers": "worker", "storage": "storage"}
"""Ansible's groups, and the role that puts a server in each."""


def inventory(
    loaded: LoadedSite, *, key: Path | None, address: Callable[[Server], str]
) -> dict[str, Any]:
    """Groups by role, and each server's variables.

    `key` is the SSH private key's file, None for ssh's own choice; `address` says where a server
    is reached now.
    """
    site = loaded.site
    return {
        "_meta": {
            "hostvars": {
                server.name: hostvars(loaded, server, key=key, address=address(server))
                for server in site.servers.values()
            }
        },
        "all": {"children": [*GROUPS, "ungrouped"]},
        **{
            group: {"hosts": [server.name for server in site.with_role(role)]}
            for group, role in GROUPS.items()
        },
    }


def hostvars(
    loaded: LoadedSite, server: Server, *, key: Path | None, address: str
) -> dict[str, Any]:
    """The variables with which Ansible reaches `server` as ronron does: host keys pinned."""
    options = {
        "HostKeyAlias": server.name,
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _quoted(loaded.known_hosts.absolute()),
        "GlobalKnownHostsFile": "none",
        "CheckHostIP": "no",
    }
    if key:
        options |= {"IdentityFile": _quoted(key.absolute()), "IdentitiesOnly": "yes"}
    arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return {
        "ansible_host": address,
        "ansible_user": server.user,
        "ansible_port": server.port,
        "ansible_become": server.user != "root",
        "ansible_ssh_common_args": shlex.join(arguments),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ronron_site": loaded.site.name,
        "ronron_roles": list(server.roles),
        "ronron_labels": dict(server.labels),
    }


def _quoted(path: Path) -> str:
    """A path as ssh's options want it: quoted, percent signs doubled."""
    return '"' + str(path).replace("%", "%%") + '"'

"""Users of containers apart from the server's own: `docker.userns_remap` in `ronron.yml`.

A container's user N is the user FIRST_ID + N of its server, the same number on all servers and of
all sites: what is on shared storage or in a backup means the same everywhere.
"""

from __future__ import annotations

FIRST_ID = 1_000_000
"""The user of a server that containers know as 0. `useradd` gives ranges from 100,000 on to
accounts, one after the other, and leaves out those that it finds taken; numbers up to 2,097,151
fit every archive."""

IDS = 65_536
"""How many users containers have."""

ACCOUNT = "dockremap"
"""Whose ranges Docker takes where daemon.json has `default`; it makes the account itself."""

SOCKET = "/run/ronron-engine/docker.sock"
"""Docker's socket for those containers that may have it: it belongs to their root. It lies in a
folder that only the server's root can enter, so that who breaks out of a container does not reach
it."""


def data_folder(first_id: int) -> str:
    """Where Docker keeps its data on a server whose containers know the user `first_id` as 0."""
    return f"/var/lib/docker/{first_id}.{first_id}" if first_id else "/var/lib/docker"

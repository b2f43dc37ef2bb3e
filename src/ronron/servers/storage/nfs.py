"""NFS: the storage server's folder of shared files, exported to the site's servers alone; pure.

NFSv4.2 and nothing older, so that one TCP port is all there is. On the storage server the folder is
bound to the place where the others mount it, so that every server has it under the same path.
"""

from __future__ import annotations

from collections.abc import Mapping

from ronron.servers.check import nfs_modules
from ronron.servers.provision.model import File, Part
from ronron.servers.storage.units import UNITS
from ronron.site.models import Site

EXPORTED = "/srv/ronron/exported"
SHARED = "/srv/ronron/shared"
EXPORTS = "/etc/exports.d/ronron.exports"
EXPORTED_NOW = "/var/lib/nfs/etab"
"""What the kernel was told to export: written by exportfs."""

MOUNT = "srv-ronron-shared.mount"
AUTOMOUNT = "srv-ronron-shared.automount"
OLDER = ("rpcbind.service", "rpcbind.socket", "rpc-statd.service")
"""What only versions before the fourth need: an empty unit is never started."""

VERSIONS = """\
# Written by ronron apply: NFSv4.2 over TCP alone.
[nfsd]
udp=n
vers3=n
vers4=y
vers4.0=n
vers4.1=n
vers4.2=y
"""


def part(site: Site, server: str, addresses: Mapping[str, str]) -> Part:
    """What provisioning puts on a server of a site that shares files by NFS; nothing on others."""
    if site.storage.shared != "nfs":
        return Part()
    holder = site.storage_server.name
    why = "the shared storage"
    older = tuple(File(f"{UNITS}/{unit}", "", why="NFSv4.2 needs none") for unit in OLDER)
    reload = ("systemctl", "daemon-reload")
    folders: tuple[tuple[str, int], ...] = ((f"{UNITS}/docker.service.d", 0o755),)
    drop_in = f"{UNITS}/docker.service.d/ronron-shared.conf"
    if server != holder:
        return Part(
            packages=("nfs-common",),
            folders=folders,
            files=(
                *older,
                File(f"{UNITS}/{MOUNT}", mount(holder), why=why, then=reload),
                File(f"{UNITS}/{AUTOMOUNT}", AUTOMOUNTED, why=why, then=reload),
                File(drop_in, docker(AUTOMOUNT), why="containers start after it", then=reload),
            ),
            services=(AUTOMOUNT,),
            modules=nfs_modules(site, server),
        )
    others = [addresses.get(name, "") or name for name in site.servers if name != holder]
    # Told what it knows already, exportfs leaves its file, and the file's time, as they are.
    load = ("sh", "-ec", f"exportfs -ra; touch {EXPORTED_NOW}")
    return Part(
        packages=("nfs-kernel-server",),
        folders=(
            *folders,
            ("/etc/exports.d", 0o755),
            ("/etc/nfs.conf.d", 0o755),
            (EXPORTED, 0o711),
        ),
        files=(
            *older,
            File("/etc/nfs.conf.d/ronron.conf", VERSIONS, why=why),
            File(EXPORTS, exports(others), why=why, then=load, mark=EXPORTED_NOW),
            File(f"{UNITS}/{MOUNT}", BOUND, why=why, then=reload),
            File(drop_in, docker(MOUNT), why="containers start after it", then=reload),
        ),
        services=(MOUNT, "nfs-server"),
        modules=nfs_modules(site, server),
    )


def exports(others: list[str]) -> str:
    """The line of `exports`: to these addresses, and to nobody else.

    Root stays root: containers give files their owners. The servers' roots are each other's anyway.
    """
    options = "rw,sync,no_subtree_check,sec=sys,no_root_squash"
    hosts = " ".join(f"{other}({options})" for other in others)
    line = f"{EXPORTED} {hosts}\n" if others else ""
    return f"# Written by ronron apply: the site's servers.\n{line}"


def mount(holder: str) -> str:
    """The unit that mounts the folder of the server `holder`: hard, so that a writer waits while
    that is away, and never is told that a write failed."""
    return f"""\
# Written by ronron apply.
[Unit]
Description=The site's shared storage

[Mount]
What={holder}:{EXPORTED}
Where={SHARED}
Type=nfs4
Options=vers=4.2,hard,sec=sys,nodev,nosuid,_netdev
"""


AUTOMOUNTED = f"""\
# Written by ronron apply: mounted when it is first used, and again when that failed.
[Unit]
Description=The site's shared storage, when it is used

[Automount]
Where={SHARED}
DirectoryMode=0000

[Install]
WantedBy=multi-user.target
"""

BOUND = f"""\
# Written by ronron apply: the storage server has the shared files where the others mount them.
[Unit]
Description=The site's shared storage
RequiresMountsFor={EXPORTED}

[Mount]
What={EXPORTED}
Where={SHARED}
Type=none
Options=bind
DirectoryMode=0000

[Install]
WantedBy=multi-user.target
"""


def docker(unit: str) -> str:
    """What keeps Docker from starting while a volume's path is a bare folder."""
    return f"""\
# Written by ronron apply: containers find their volumes, or do not start.
[Unit]
Requires={unit}
After={unit}
"""

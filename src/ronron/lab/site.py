"""A site for a lab's servers, so that ronron treats them like any other."""

from __future__ import annotations

from pathlib import Path

import yaml

from ronron.errors import OperatorError
from ronron.lab.model import Lab
from ronron.servers.hostkeys import pin
from ronron.site import yamltext
from ronron.site.create import init_site
from ronron.site.files import write_atomically
from ronron.site.load import SITE_FILE
from ronron.site.vault import identity_path
from ronron.site.yamltext import Change

CA_FILE = "acme-ca.pem"
ROOT_FILE = "acme-root.pem"


def write_site(lab: Lab, folder: Path) -> None:
    """Make a site of the lab's servers in `folder`, or bring one that is there up to date.

    Host keys, certificate authorities and the name server's address change with the lab, so they
    are written again; what the operator added to `ronron.yml` is kept. Raises OperatorError and
    SiteError as `init_site`.
    """
    if not lab.running:
        raise OperatorError(f"lab {lab.name} is stopped", remedy="ronron lab up starts it again")
    site_file = folder / SITE_FILE
    if not site_file.exists():
        key = identity_path(lab.name)
        contact = f"admin@{lab.domain}"
        init_site(folder, name=lab.name, domain=lab.domain, contact=contact, key=key)
        text = site_text(lab)
    else:
        resolver = Change(("resolver",), lab.resolver)
        text = yamltext.apply(site_file.read_text(encoding="utf-8"), [resolver], SITE_FILE)
    write_atomically(site_file, text.encode())
    write_atomically(folder / CA_FILE, lab.acme_ca_pem.encode())
    write_atomically(folder / ROOT_FILE, lab.acme_root_pem.encode())
    for server in lab.servers:
        if server.host_key is not None:
            pin(folder / "known_hosts", server.name, [server.host_key])


def site_text(lab: Lab) -> str:
    """The `ronron.yml` of a lab's site: the first server is the manager and has the storage."""
    first, *others = lab.servers
    servers = {first.name: {"address": first.address, "roles": ["manager", "storage"]}}
    servers |= {server.name: {"address": server.address} for server in others}
    content = {
        "name": lab.name,
        "domain": lab.domain,
        "contact": f"admin@{lab.domain}",
        "servers": servers,
        "ssh": {"key": str(lab.ssh_key)},
        "resolver": lab.resolver,
        "acme": {"directory": lab.acme_directory, "ca": CA_FILE, "trust": ROOT_FILE},
        "network": {"encrypted": lab.encrypted_networks},
    }
    head = "# yaml-language-server: $schema=.schema/ronron.json\n"
    text: str = yaml.safe_dump(content, sort_keys=False)
    return head + text

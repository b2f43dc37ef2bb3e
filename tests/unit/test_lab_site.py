"""The site of a lab's servers: a site like any other, kept up to date with the lab."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ronron.errors import OperatorError
from ronron.lab.model import Lab, LabServer
from ronron.lab.site import write_site
from ronron.servers.hostkeys import HostKey, pinned
from ronron.site.load import load_site

KEYS = [HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAI" + letter * 43) for letter in "AB"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("RONRON_KEY_FILE", str(tmp_path / "site.key"))
    servers = tuple(
        LabServer(name, f"{name}.cats.localhost", f"c-{name}", "192.0.2.1", True, KEYS[0])
        for name in ("manager", "worker-1", "worker-2")
    )
    key = tmp_path / "ssh.key"
    return Lab("cats", servers, True, "192.0.2.250", "the CA", "the root", 20000, 20001, key, False)


def test_to_ronron_they_are_servers_like_any_other(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(lab, folder)
    loaded = load_site(folder)
    site = loaded.site
    assert (site.name, site.domain, site.resolver) == ("cats", "cats.localhost", "192.0.2.250")
    assert {name: server.roles for name, server in site.servers.items()} == {
        "manager": ("manager", "storage"),
        "worker-1": ("worker",),
        "worker-2": ("worker",),
    }
    assert site.servers["worker-1"].address == "worker-1.cats.localhost"
    assert (site.acme.url, site.network.encrypted) == (lab.acme_directory, False)
    assert site.acme.ca is not None
    assert site.acme.trust is not None
    assert loaded.path(site.acme.ca).read_text() == "the CA"
    assert loaded.path(site.acme.trust).read_text() == "the root"
    assert pinned(loaded.known_hosts, "worker-2") == [KEYS[0]]


def test_what_changed_with_the_lab_is_written_again_and_what_was_added_kept(
    lab: Lab, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    write_site(lab, folder)
    path = folder / "ronron.yml"
    path.write_text(path.read_text() + "images: {source: build}  # as tried\n")
    before = path.read_text()
    write_site(lab, folder)
    assert path.read_text() == before
    servers = tuple(dataclasses.replace(server, host_key=KEYS[1]) for server in lab.servers)
    other = dataclasses.replace(
        lab, servers=servers, resolver="198.51.100.250", acme_root_pem="another"
    )
    write_site(other, folder)
    assert path.read_text() == before.replace("192.0.2.250", "198.51.100.250")
    loaded = load_site(folder)
    assert (folder / "acme-root.pem").read_text() == "another"
    assert pinned(loaded.known_hosts, "manager") == [KEYS[1]]


def test_a_lab_that_is_stopped_overwrites_nothing(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(lab, folder)
    stopped = dataclasses.replace(lab, running=False, resolver="", acme_ca_pem="", acme_root_pem="")
    with pytest.raises(OperatorError, match=r"lab cats is stopped \(ronron lab up"):
        write_site(stopped, folder)
    assert (folder / "acme-root.pem").read_text() == "the root"

"""The declaration of ports: what is open on which server, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ronron.errors import SiteError
from ronron.site.load import LoadedSite, load_site
from ronron.site.security import DeclaredPort, declared_ports

SITE = """\
name: my-cloud
domain: example.org
contact: admin@example.org
servers:
  master: {roles: [manager, storage], port: 2200}
  worker-1: {}
"""


def load(folder: Path, more: str = "", **apps: str) -> LoadedSite:
    (folder / "apps").mkdir()
    (folder / "ronron.yml").write_text(SITE + more)
    for name, text in apps.items():
        (folder / "apps" / f"{name}.yml").write_text(f"recipe: hello\n{text}")
    return load_site(folder)


def ports(loaded: LoadedSite) -> dict[str, tuple[DeclaredPort, ...]]:
    return declared_ports(loaded.site, loaded.apps)


def open_to(loaded: LoadedSite, server: str, source: str) -> set[str]:
    return {port.text for port in ports(loaded)[server] if source in port.sources}


def faults(folder: Path, more: str = "", **apps: str) -> list[str]:
    with pytest.raises(SiteError) as raised:
        load(folder, more, **apps)
    return [str(problem) for problem in raised.value.problems]


def test_a_site_without_a_word_about_ports_has_the_web_and_ssh_open(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert open_to(loaded, "master", "any") == {"tcp/2200", "tcp/80", "tcp/443"}
    assert open_to(loaded, "worker-1", "any") == {"tcp/22"}
    between = {"tcp/7946", "udp/7946", "udp/4789", "esp"}
    assert open_to(loaded, "master", "servers") == between | {"tcp/5000", "tcp/2377"}
    assert open_to(loaded, "worker-1", "servers") == between


def test_ssh_for_some_is_for_the_site_s_servers_too(tmp_path: Path) -> None:
    loaded = load(tmp_path, "firewall: {ssh_from: [192.0.2.7/32, '2001:db8::/32']}\n")
    assert ports(loaded)["worker-1"][0].sources == ("servers", "192.0.2.7", "2001:db8::/32")


def test_an_app_s_ports_are_open_on_all_servers_and_a_program_s_where_it_says(
    tmp_path: Path,
) -> None:
    loaded = load(
        tmp_path,
        "firewall:\n  ports: [{port: 9100, from: [192.0.2.0/24], servers: [worker-1], why: x}]\n",
        git="published_ports: [{port: 2222, why: git over SSH}, "
        "{port: 9000-9010, protocol: udp, why: calls}]\n",
    )
    assert {"tcp/2222", "udp/9000-9010"} <= open_to(loaded, "master", "any")
    assert {"tcp/2222", "udp/9000-9010"} <= open_to(loaded, "worker-1", "any")
    assert open_to(loaded, "worker-1", "192.0.2.0/24") == {"tcp/9100"}
    assert open_to(loaded, "master", "192.0.2.0/24") == set()
    found = next(port for port in ports(loaded)["master"] if port.text == "udp/9000-9010")
    assert found.why == "app git: calls"
    assert found.covers("udp", 9005)
    assert not found.covers("tcp", 9005)


def test_a_port_declared_twice_is_refused(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "firewall: {ports: [{port: 2222, why: x}]}\n",
        game="published_ports: [{port: 443, why: x}, {port: 2220-2230, why: x}]\n",
    )
    assert found == [
        "apps/game.yml: published_ports.0: tcp/443 is declared already "
        "(tcp/443: the proxy: HTTPS) (declare each port once)",
        "apps/game.yml: published_ports.1: tcp/2220-2230 is declared already "
        "(tcp/2222: ronron.yml: firewall.ports.0) (declare each port once)",
    ]


@pytest.mark.parametrize(
    ("block", "fault"),
    {
        "firewall: {ssh_from: []}": "firewall.ssh_from: is empty: nobody could connect "
        "(write [any], or addresses)",
        "firewall: {ssh_from: [any, 192.0.2.7]}": "firewall.ssh_from: any and 192.0.2.7 "
        "contradict each other (keep any, or the addresses alone)",
        "firewall: {ssh_from: [10.0.0.0/8, 10.1.0.0/16]}": "firewall.ssh_from: 10.0.0.0/8 and "
        "10.1.0.0/16 overlap (keep the larger one)",
        "firewall: {ssh_from: [192.0.2.7/24]}": "firewall.ssh_from.0: '192.0.2.7/24' is not an IP "
        "address or network (did you mean 192.0.2.0/24?)",
        "firewall: {trusted: [any]}": "firewall.trusted: any would trust everybody "
        "(give addresses or networks)",
        "firewall: {ports: [{port: 70000, why: x}]}": "firewall.ports.0.port: '70000' is not a "
        "port (such as 2222, or a range: 9000-9010)",
        "firewall: {ports: [{port: 99}]}": "firewall.ports.0.why: missing (add it: What it is "
        "for: shown in the plan.)",
        "firewall: {ports: [{port: 99, why: x, servers: [worker-2]}]}": "firewall.ports.0.servers: "
        "there is no server worker-2 (did you mean worker-1?)",
        "hardening: {reboot: '24:00'}": "hardening.reboot: '24:00' is not a time of day "
        "(hours and minutes in quotes: '03:30')",
    }.items(),
)
def test_a_fault_is_told_with_its_remedy(tmp_path: Path, block: str, fault: str) -> None:
    assert faults(tmp_path, block + "\n") == [f"ronron.yml: {fault}"]

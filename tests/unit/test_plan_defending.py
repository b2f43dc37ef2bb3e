"""Firewall and SSH in a plan: compared with a server as it is, and refused where they lock out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ronron.errors import OperatorError, ServerError
from ronron.plan import defending
from ronron.plan.observe import Reality
from ronron.servers import hostkeys
from ronron.servers.defend import rules, sshd
from ronron.servers.defend.facts import Defence
from ronron.servers.hostkeys import HostKey
from ronron.site.load import LoadedSite, load_site
from ronron.swarm.facts import ServerFacts

SITE = """\
name: my-cloud
domain: example.org
contact: admin@example.org
servers:
  master: {roles: [manager]}
  worker-1: {}
"""
BARE = Defence(client="203.0.113.7", addresses=("10.0.0.1",), algorithms=frozenset(sshd.KEX))
FACTS = ServerFacts("absent", "", False, "eth0", 1500, frozenset())


def load(folder: Path, more: str = "") -> LoadedSite:
    (folder / "ronron.yml").write_text(SITE + more)
    return load_site(folder)


def reality(defence: Defence = BARE, **more: Defence) -> Reality:
    facts = {"master": replace(FACTS, defence=defence)}
    facts |= {"worker-1": replace(FACTS, defence=more.get("worker", defence))}
    return Reality(facts, addresses={"master": ("10.0.0.1", "198.51.100.1"), "worker-1": ()})


def closed(loaded: LoadedSite, now: Reality) -> Reality:
    """The servers after what is wanted has been carried out."""
    facts = {}
    for name, seen in now.facts.items():
        files = defending.wanted(loaded, now, name)
        defence = replace(
            seen.defence,
            rules=files.get(rules.FILE, seen.defence.rules) or "",
            sshd=files.get(sshd.FILE, seen.defence.sshd) or "",
            listing="as the kernel lists it",
            loaded="as the kernel lists it",
        )
        facts[name] = replace(seen, defence=defence)
    return replace(now, facts=facts)


def told(loaded: LoadedSite, now: Reality, server: str = "worker-1") -> list[str]:
    return [
        f"{change.field}: {change.before} → {change.after}"
        for change in defending.changes(loaded, now)
        if change.where == f"server {server}"
    ]


def test_a_bare_server_is_closed_and_then_nothing_changes(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert told(loaded, reality()) == [
        "firewall: None → closed but for what is declared",
        "port esp: None → from servers: encrypted networks between the servers",
        "port tcp/22: None → from any: SSH",
        "port tcp/7946: None → from servers: the swarm's members",
        "port udp/4789: None → from servers: networks between the servers",
        "port udp/7946: None → from servers: the swarm's members",
        "SSH: None → keys alone, users root, current ciphers",
    ]
    assert list(defending.changes(loaded, closed(loaded, reality()))) == []


def test_a_new_port_and_another_user_are_told_by_name(tmp_path: Path) -> None:
    now = closed(load(tmp_path), reality())
    loaded = load(
        tmp_path,
        "firewall: {ports: [{port: 9100, from: [192.0.2.0/24], servers: [worker-1], why: x}]}\n"
        "hardening: {ssh_users: [helper]}\n",
    )
    assert told(loaded, now) == [
        "port tcp/9100: None → from 192.0.2.0/24: x",
        "SSH AllowUsers: root → root helper",
    ]
    assert told(loaded, now, "master") == [
        "firewall rules: differ → as declared",
        "SSH AllowUsers: root → root helper",
    ]
    text = defending.wanted(loaded, now, "master")[rules.FILE]
    assert text is not None
    assert "\t\tmeta l4proto tcp ct original proto-dst 9100 drop\n" in text


def test_rules_that_somebody_changed_are_told(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    now = closed(loaded, reality())
    worker = replace(now.facts["worker-1"].defence, listing="policy accept")
    now = replace(now, facts={**now.facts, "worker-1": replace(FACTS, defence=worker)})
    (change,) = defending.changes(loaded, now)
    assert (change.where, change.field, change.why) == (
        "server worker-1",
        "firewall rules",
        "changed by hand",
    )


def test_a_new_address_of_a_server_is_told(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    now = closed(loaded, reality())
    now = replace(now, addresses={**now.addresses, "worker-1": ("10.0.0.9",)})
    found = told(loaded, now)
    assert found[0] == "firewall rules: differ → as declared"
    assert "SSH PerSourcePenaltyExemptList" in found[1]
    assert "10.0.0.9" in found[1]
    assert len(found) == 2


def test_a_server_shows_its_rsa_key_where_it_is_known_by_no_other(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    now = reality(replace(BARE, algorithms=frozenset({*sshd.HOST_KEYS, *sshd.RSA_KEYS})))

    def shown(server: str) -> str:
        text = defending.wanted(loaded, now, server)[sshd.FILE]
        assert text is not None
        (line,) = [one for one in text.splitlines() if one.startswith("HostKeyAlgorithms")]
        return line

    rsa, ed25519 = HostKey("ssh-rsa", "AAAA"), HostKey("ssh-ed25519", "AAAA")
    hostkeys.pin(loaded.known_hosts, "master", [rsa, HostKey("ecdsa-sha2-nistp256", "AAAA")])
    hostkeys.pin(loaded.known_hosts, "worker-1", [rsa, ed25519])
    assert "rsa-sha2-512" in shown("master")
    assert "rsa" not in shown("worker-1")


def test_a_firewall_and_ssh_that_are_taken_back(tmp_path: Path) -> None:
    now = closed(load(tmp_path), reality())
    loaded = load(tmp_path, "firewall: {enabled: false}\nhardening: {ssh: false, bans: false}\n")
    found = told(loaded, now)
    assert found[0] == "firewall: closed but for what is declared → None"
    assert found[-1] == "SSH: keys alone, users root, current ciphers → None"
    assert defending.wanted(loaded, now, "worker-1") == {
        rules.FILE: rules.without(bans=False),
        sshd.FILE: None,
    }


@pytest.mark.parametrize("client", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1%eth0"])
def test_rules_that_shut_the_operator_out_are_refused(tmp_path: Path, client: str) -> None:
    now = reality(replace(BARE, client=client))
    loaded = load(tmp_path, "firewall: {ssh_from: [192.0.2.0/24]}\n")
    with pytest.raises(OperatorError, match=r"firewall\.ssh_from: .* lock yourself out") as error:
        list(defending.changes(loaded, now))
    assert error.value.exit_code == 2
    shown = client.removeprefix("::ffff:").partition("%")[0]
    assert error.value.remedy == f"add {shown} or its network"


@pytest.mark.parametrize("client", ["192.0.2.9", "198.51.100.1", ""])
def test_the_operator_in_the_list_and_the_manager_s_jobs_are_let_in(
    tmp_path: Path, client: str
) -> None:
    loaded = load(tmp_path, "firewall: {ssh_from: [192.0.2.0/24]}\n")
    assert told(loaded, reality(replace(BARE, client=client)))


def test_nothing_is_told_while_a_server_s_addresses_are_unknown(tmp_path: Path) -> None:
    now = reality()
    now = replace(now, failures={"worker-1": ServerError("worker-1", "is off")})
    assert list(defending.changes(load(tmp_path), now)) == []

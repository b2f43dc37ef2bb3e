"""Security groups at a pretended Scaleway, through Scaleway's own library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretended_scaleway import ACCESS, KEY, PROJECT, ZONE, Scaleway, scaleway
from ronron.cli.main import run
from ronron.provider.rules import EVERYBODY, Group, Rule, changes, wanted
from ronron.site.security import DeclaredPort

ADDRESSES = {"manager": "192.0.2.1", "worker-1": "2001:db8::1"}

SITE = """\
name: cats
domain: example.org
contact: cat@example.org
servers:
  manager: {address: 192.0.2.1, roles: [manager]}
  worker-1: {address: 192.0.2.2}
firewall:
  ssh_from: [198.51.100.7]
"""


def test_rules_say_who_may_come_in() -> None:
    ports = [
        DeclaredPort("tcp", 443, 443, ("any",), "HTTPS"),
        DeclaredPort("tcp", 22, 22, ("servers", "198.51.100.7", "203.0.113.0/24"), "SSH"),
        DeclaredPort("udp", 9000, 9010, ("any",), "calls"),
        DeclaredPort("esp", 0, 0, ("servers",), "encryption"),
    ]
    texts = sorted(rule.text for rule in wanted(ports, ADDRESSES))
    assert texts == [
        "any from 192.0.2.1/32",
        "any from 2001:db8::1/128",
        "icmp from 0.0.0.0/0",
        "icmp from ::/0",
        "tcp/22 from 192.0.2.1/32",
        "tcp/22 from 198.51.100.7/32",
        "tcp/22 from 2001:db8::1/128",
        "tcp/22 from 203.0.113.0/24",
        "tcp/443 from 0.0.0.0/0",
        "tcp/443 from ::/0",
        "udp/9000-9010 from 0.0.0.0/0",
        "udp/9000-9010 from ::/0",
    ]


def test_what_is_as_wanted_does_not_change() -> None:
    rules = wanted([DeclaredPort("tcp", 443, 443, ("any",), "HTTPS")], ADDRESSES)
    assert not list(changes("a", Group(frozenset(rules), True, True, "x"), rules))


def test_each_difference_is_told() -> None:
    rules = {Rule("tcp", 443, 443, EVERYBODY[0]): "HTTPS"}
    there = Group(frozenset({Rule("tcp", 3306, 3306, EVERYBODY[0])}), False, False, "x")
    assert [(one.field, one.before, one.after) for one in changes("a", there, rules)] == [
        ("other traffic", "accepted", "dropped"),
        ("rule", None, "tcp/443 from 0.0.0.0/0"),
        ("rule", "tcp/3306 from 0.0.0.0/0", None),
        ("attached", "another group", "this group"),
    ]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scaleway]:
    with scaleway() as found:
        for name, value in {
            "SCW_ACCESS_KEY": ACCESS,
            "SCW_SECRET_KEY": KEY,
            "SCW_DEFAULT_PROJECT_ID": PROJECT,
            "SCW_DEFAULT_ZONE": ZONE,
            "SCW_API_URL": found.url,
            "SCW_CONFIG_PATH": "/nonexistent/scaleway.yaml",
        }.items():
            monkeypatch.setenv(name, value)
        # By its name, and by its address.
        found.instance("manager", "192.0.2.99")
        found.instance("scw-happy-cat", "192.0.2.2")
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ronron.yml").write_text(SITE)
    return tmp_path


def ronron(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = run(["--site", str(folder), "provider", "scaleway", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_apply_makes_the_groups_and_the_second_changes_nothing(
    provider: Scaleway, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = ronron(folder, capsys, "plan", "--json")
    assert status == 0
    planned = json.loads(out)["changes"]
    assert {"server": "manager", "field": "security group", "before": None, "after": "created",
            "why": ""} in planned  # fmt: skip
    assert provider.calls == []
    assert ronron(folder, capsys, "apply", "--yes")[0] == 0
    assert {one["security_group"]["name"] for one in provider.servers.values()} == {
        "ronron-cats-manager",
        "ronron-cats-worker-1",
    }
    for group in provider.groups.values():
        assert group["inbound_default_policy"] == "drop"
        assert group["stateful"] is True
        written = {
            (rule["protocol"], rule["dest_port_from"], rule["ip_range"])
            for rule in provider.rules[group["id"]]
            if rule["editable"]
        }
        public = ("TCP", 443, "0.0.0.0/0") in written
        assert public is group["name"].endswith("manager")
        assert ("TCP", 22, "198.51.100.7/32") in written
        assert ("TCP", 22, "0.0.0.0/0") not in written
        assert ("TCP", 7946, "192.0.2.1/32") in written
    before = list(provider.calls)
    status, out, _ = ronron(folder, capsys, "apply", "--yes")
    assert (status, out) == (0, "nothing to change\n")
    assert provider.calls == before


def test_a_rule_that_somebody_added_goes(
    provider: Scaleway, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ronron(folder, capsys, "apply", "--yes")
    rules = next(iter(provider.rules.values()))
    rules.append({**rules[-1], "id": "x", "protocol": "TCP", "dest_port_from": 3306,
                  "dest_port_to": None, "ip_range": "0.0.0.0/0"})  # fmt: skip
    _, out, _ = ronron(folder, capsys, "plan")
    assert "- rule: tcp/3306 from 0.0.0.0/0  (not declared)" in out
    ronron(folder, capsys, "apply", "--yes")
    assert not any(
        rule["dest_port_from"] == 3306 for rules in provider.rules.values() for rule in rules
    )


def test_what_is_wrong_is_one_line(
    provider: Scaleway,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ronron(folder, capsys, "apply")[0] == 2  # nobody can be asked
    monkeypatch.setenv("SCW_SECRET_KEY", KEY.replace("1", "3"))
    status, _, err = ronron(folder, capsys, "plan")
    assert (status, err) == (
        1, "error: Scaleway: insufficient permissions (check the key and its permissions)\n",
    )  # fmt: skip
    monkeypatch.delenv("SCW_SECRET_KEY")
    status, _, err = ronron(folder, capsys, "plan")
    assert status == 2
    assert err.startswith("error: Scaleway's configuration: ")
    assert caplog.text == ""  # nor does the library say that it has no file
    assert "SCW_SECRET_KEY" in err
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    provider.servers.clear()
    status, _, err = ronron(folder, capsys, "plan")
    assert status == 2
    assert "manager, worker-1: no instance of that name or address in fr-par-1" in err
    assert provider.calls == []

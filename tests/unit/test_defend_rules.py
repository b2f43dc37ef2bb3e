"""The firewall's rules, SSH's settings and fail2ban's filters, as texts."""

from __future__ import annotations

import re

import pytest
from ssh_audit.builtin_policies import BUILTIN_POLICIES

from ronron.servers.defend import fail2ban, kernel, rules, sshd
from ronron.servers.defend.bans import Ban, parse
from ronron.site.security import DeclaredPort

SSH = DeclaredPort("tcp", 22, 22, ("any",), "SSH", limited=True)
WEB = DeclaredPort("tcp", 443, 443, ("any",), "the proxy")
SWARM = DeclaredPort("udp", 4789, 4789, ("servers",), "networks")
GAME = DeclaredPort("udp", 9000, 9010, ("192.0.2.0/24", "2001:db8::7"), "app game: calls")
ESP = DeclaredPort("esp", 0, 0, ("servers",), "encrypted networks")
JAIL = "/etc/fail2ban/jail.d/ronron.conf"
SERVERS = ("10.0.0.2", "10.0.0.1", "fd00::1")


def chain(text: str, name: str) -> list[str]:
    found = re.search(rf"^\tchain {name} {{\n(.*?)^\t}}$", text, re.M | re.S)
    assert found
    return [line.strip() for line in found[1].splitlines()]


def test_each_port_is_open_to_whom_it_is_declared_for_and_no_other() -> None:
    text = rules.ruleset([SSH, WEB, SWARM, GAME, ESP], SERVERS, ["198.51.100.0/24"], bans=True)
    assert chain(text, "servers") == [
        'iifname "docker*" return',
        "ip saddr { 10.0.0.1, 10.0.0.2 } accept",
        "ip6 saddr { fd00::1 } accept",
    ]
    assert chain(text, "trusted") == ["ip saddr { 198.51.100.0/24 } accept"]
    limited = "meta l4proto tcp ct original proto-dst 22"
    game = "meta l4proto udp ct original proto-dst 9000-9010"
    assert chain(text, "declared") == [
        f"{limited} jump servers",
        f"{limited} jump trusted",
        f"{limited} update @ssh4 {{ ip saddr limit rate over {rules.SSH_RATE} }} drop",
        f"{limited} update @ssh6 {{ ip6 saddr limit rate over {rules.SSH_RATE} }} drop",
        f"{limited} accept",
        "meta l4proto tcp ct original proto-dst 443 accept",
        "meta l4proto udp ct original proto-dst 4789 jump servers",
        f"{game} ip saddr {{ 192.0.2.0/24 }} accept",
        f"{game} ip6 saddr {{ 2001:db8::7 }} accept",
        "meta l4proto esp jump servers",
    ]


def test_each_server_s_address_is_written_out_and_networks_do_not_overlap() -> None:
    text = rules.ruleset((), ["10.0.0.3", "10.0.0.2"], ["10.0.0.0/8", "10.0.0.9"], bans=True)
    assert chain(text, "servers")[1:] == ["ip saddr { 10.0.0.2, 10.0.0.3 } accept"]
    assert chain(text, "trusted") == ["ip saddr { 10.0.0.0/8 } accept"]


def test_what_is_not_declared_is_dropped_in_front_of_docker() -> None:
    text = rules.ruleset([WEB], SERVERS, (), bans=False)
    for name in ("input", "forward"):
        hook = f"type filter hook {name} priority filter - 10; policy drop;"
        assert chain(text, name)[0] == hook
    assert chain(text, "declared_or_drop") == ["jump declared", "drop"]
    told = chain(text, "forward")
    (metadata,) = [one for one in told if one.startswith("ip daddr {") and "169.254.0.0/16" in one]
    assert metadata.endswith("th dport != 53 drop")
    assert told.index(metadata) < told.index('iifname "docker_gwbridge" accept')
    assert "flush ruleset" not in text
    assert f"delete table {rules.BANS}" in text


def test_what_is_between_the_servers_is_closed_to_their_containers() -> None:
    """There they have their server's address: what they send is dropped before it is accepted."""
    nfs = DeclaredPort("tcp", 2049, 2049, ("servers",), "NFS")
    everywhere = [SSH, WEB, SWARM, GAME, ESP, SSH, nfs]
    text = rules.ruleset([SSH, WEB], SERVERS, (), bans=False, everywhere=everywhere)
    assert chain(text, "to_servers") == [
        "ip daddr { 10.0.0.1, 10.0.0.2 } jump between",
        "ip6 daddr { fd00::1 } jump between",
    ]
    assert chain(text, "between") == [
        "ct state invalid drop",
        "meta l4proto esp drop",
        "meta l4proto tcp ct original proto-dst 2049 drop",
        "meta l4proto tcp ct original proto-dst 22 drop",
        "meta l4proto udp ct original proto-dst 4789 drop",
        "meta l4proto udp ct original proto-dst 9000-9010 drop",
    ]
    told = chain(text, "forward")
    accepted = [told.index(one) for one in told if one.startswith("iifname")]
    assert told.index("jump to_servers") < min(accepted)


def test_loading_the_rules_anew_keeps_who_is_banned() -> None:
    text = rules.ruleset([WEB], SERVERS, (), bans=True)
    assert f"delete table {rules.TABLE}\n" in text
    assert f"delete table {rules.BANS}" not in text
    assert rules.without(bans=False) == rules.HEAD + rules.NO_BANS


def test_what_one_rule_lifts_another_still_bans() -> None:
    text = rules.ruleset([WEB], SERVERS, (), bans=True)
    jails = re.findall(r"^\[((?:sshd|ronron).*)\]$", fail2ban.files(())[JAIL][0], re.M)
    assert jails == list(rules.JAILS)
    for jail in jails:
        for version, family in ((4, "ip"), (6, "ip6")):
            assert f"\tset {jail}{version} {{ type ipv{version}_addr; flags timeout; }}\n" in text
            assert f"\t\t{family} saddr @{jail}{version} drop\n" in text
            assert f"\nset = <name>{version}\n" in fail2ban.ACTION


def test_the_file_tells_its_ports() -> None:
    text = rules.ruleset([SSH, GAME], SERVERS, (), bans=True)
    assert rules.summaries(text) == {
        "tcp/22": "from any: SSH",
        "udp/9000-9010": "from 192.0.2.0/24, 2001:db8::7: app game: calls",
    }
    assert rules.summaries(rules.without(bans=True)) == {}


def settings(text: str) -> dict[str, str]:
    lines = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return dict(row for row in lines if len(row) == 2)


def test_ssh_is_for_keys_and_the_site_s_user_alone() -> None:
    known = {*sshd.KEX, *sshd.OLDER_KEX, *sshd.CIPHERS, *sshd.MACS, *sshd.HOST_KEYS, *sshd.RSA_KEYS}
    found = settings(sshd.settings(["admin", "helper"], known))
    assert found["PermitRootLogin"] == "no"
    assert found["AllowUsers"] == "admin helper"
    assert found["PasswordAuthentication"] == found["KbdInteractiveAuthentication"] == "no"
    assert found["KexAlgorithms"] == ",".join(sshd.KEX)
    assert settings(sshd.settings(["root"], known))["PermitRootLogin"] == "prohibit-password"


LATER = ("mlkem768x25519-sha256", "sntrup761x25519-sha512")
"""Key exchanges that came with OpenSSH 9.9; Debian 12 has had the second since an update."""


@pytest.mark.parametrize(
    ("policy", "unknown"),
    [
        ("Debian 12 (version 2)", LATER),
        ("Debian 12 (version 3)", LATER[:1]),
        ("Debian 13 (version 1)", ()),
        ("Ubuntu Server 22.04 LTS (version 6)", LATER),
        ("Ubuntu Server 24.04 LTS (version 2)", LATER),
        ("Ubuntu Server 26.04 LTS (version 1)", ()),
    ],
)
def test_ssh_audit_s_policy_for_the_release_finds_its_algorithms(
    policy: str, unknown: tuple[str, ...]
) -> None:
    wanted = BUILTIN_POLICIES[f"Hardened {policy}"]
    all_known = {*sshd.KEX, *sshd.OLDER_KEX, *sshd.CIPHERS, *sshd.MACS, *sshd.HOST_KEYS}
    release = re.sub(r" (Server|LTS|\(.*)", "", policy).lower()
    found = settings(sshd.settings(["root"], all_known - {*unknown}, release=release))
    # OpenSSH adds these by itself: they are no key exchanges.
    kex = [
        one for one in wanted["kex"] if one not in ("ext-info-s", "kex-strict-s-v00@openssh.com")
    ]
    assert found["KexAlgorithms"].split(",") == kex
    assert found["Ciphers"].split(",") == wanted["ciphers"]
    assert found["MACs"].split(",") == wanted["macs"]
    allowed = {*wanted["host_keys"], *wanted["optional_host_keys"]}
    assert {*found["HostKeyAlgorithms"].split(",")} <= allowed


def test_an_older_openssh_gets_no_algorithm_that_it_does_not_know() -> None:
    known = {"sntrup761x25519-sha512@openssh.com", "curve25519-sha256", "aes256-ctr"}
    found = settings(sshd.settings(["root"], known))
    assert found["KexAlgorithms"] == "sntrup761x25519-sha512@openssh.com,curve25519-sha256"
    assert found["Ciphers"] == "aes256-ctr"
    assert "MACs" not in found  # an empty list would be no setting at all


def line(status: int, path: str = "/", user: str = "-", method: str = "GET") -> str:
    """A line of the proxy's access log."""
    return (
        '{"ClientHost":"203.0.113.9",'
        f'"ClientUsername":"{user}","DownstreamContentSize":17,'
        f'"DownstreamStatus":{status},"Duration":1,"RequestHost":"blog.example.org",'
        f'"RequestMethod":"{method}","RequestPath":"{path}","RouterName":"-","level":"info"}}'
    )


def matches(text: str, line: str) -> bool:
    found = re.search(r"^failregex = (.*)", text, re.M | re.S)
    assert found
    return any(
        re.search(one.strip().replace("<ADDR>", r"203\.0\.113\.9"), line)
        for one in found[1].strip().splitlines()
    )


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        (line(401, user="admin"), True),
        (line(401, method="POST", path="/login"), True),
        (line(401), False),  # a browser that is asked for a password
        (line(200, user="admin"), False),
        (line(404, user="admin"), False),
        (line(200, path=r"/\",\"DownstreamStatus\":401,\"RequestMethod\":\"POST\","), False),
    ],
)
def test_a_tried_password_counts_and_nothing_else(text: str, banned: bool) -> None:
    assert matches(fail2ban.PROXY, text) is banned


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        (line(404, path="/.env"), True),
        (line(404, path="/shop/.git/config"), True),
        (line(403, path="/wp-config.php.bak"), True),
        (line(404, path="/missing.png"), False),
        (line(200, path="/.env"), False),
        (line(404, path="/blog/environment"), False),
    ],
)
def test_a_scanner_is_known_by_what_it_asks_for(text: str, banned: bool) -> None:
    assert matches(fail2ban.SCAN, text) is banned


def test_who_is_trusted_is_never_banned() -> None:
    text, _ = fail2ban.files(["10.0.0.1", "192.0.2.0/24"])[JAIL]
    assert "ignoreip = 127.0.0.0/8 ::1 10.0.0.1 192.0.2.0/24\n" in text
    assert f"ignorecommand = {fail2ban.KNOWN} <ip>\n" in text


def test_bans_are_read_as_fail2ban_tells_them() -> None:
    text = "203.0.113.9 \t2026-11-27 08:00:00 + 600 = 2026-11-27 08:10:00"
    assert parse("master", "sshd", [text, ""]) == [
        Ban("master", "sshd", "203.0.113.9", "2026-11-27 08:00:00", "2026-11-27 08:10:00")
    ]


def test_kernel_settings_leave_containers_what_they_need() -> None:
    text = kernel.FILES["/etc/sysctl.d/60-ronron.conf"][0]
    assert "forward" not in text
    assert "user.max_user_namespaces" not in text
    # What a kernel does not have, such as a lab's, is passed over instead of failing.
    assert all(row.startswith(("-", "#")) for row in text.splitlines())


def test_only_a_current_sshd_is_told_whom_it_shall_not_punish() -> None:
    told = settings(sshd.settings(["root"], sshd.KEX, ["192.0.2.1", "2001:db8::/64"]))
    assert told["PerSourcePenaltyExemptList"] == "192.0.2.1,2001:db8::/64"
    older = settings(sshd.settings(["root"], sshd.OLDER_KEX, ["192.0.2.1"]))
    assert "PerSourcePenaltyExemptList" not in older

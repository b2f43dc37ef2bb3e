"""The servers' firewall as nftables rules: declared ports in, one file's text out.

The rules live in tables of our own, hooked in before Docker's, whichever iptables variant Docker
uses: its chains are never touched, and a restart of Docker changes nothing here. A packet that
one table drops is gone; one that ours accepts still meets Docker's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from ronron.site.security import ANY, SERVERS, DeclaredPort

TABLE = "inet ronron"
BANS = "inet ronron_bans"
FILE = "/etc/ronron/firewall.nft"
UNIT = "server-firewall"
"""Not `ronron-…`: the manager's jobs are called so, and others of that name are removed."""


SSH_RATE = "60/minute burst 100 packets"
"""New SSH connections that one address may make; the site's servers and trusted ones more."""

HEAD = f"""\
# Written by ronron apply. Loading it replaces the table as a whole, and in one step.
table {TABLE}
delete table {TABLE}
"""

BANNED = f"""\
table {BANS} {{
	set banned4 {{ type ipv4_addr; flags timeout; }}
	set banned6 {{ type ipv6_addr; flags timeout; }}
	chain prerouting {{ type filter hook prerouting priority raw; policy accept; }}
}}
flush chain {BANS} prerouting
table {BANS} {{
	chain prerouting {{
		ip saddr @banned4 drop
		ip6 saddr @banned6 drop
	}}
}}
"""
"""The banned, who reach neither the server nor a container; kept when the rules are loaded anew."""

NO_BANS = f"table {BANS}\ndelete table {BANS}\n"

METADATA = "169.254.0.0/16, 100.100.100.200, 168.63.129.16"
METADATA6 = "fd00:ec2::254, fd00:42::42, fd20:ce::254"
"""Where a provider tells a server about itself, passwords and keys at times among it: most have
169.254.169.254, Scaleway 169.254.42.42; the others are Alibaba's and Azure's, of IPv6 Amazon's,
Scaleway's and Google's (each provider's documentation). Some answer DNS there too."""

ICMP = "echo-request, destination-unreachable, time-exceeded, parameter-problem"

_CHAINS = f"""\
	set ssh4 {{ type ipv4_addr; size 65535; flags dynamic,timeout; timeout 2m; }}
	set ssh6 {{ type ipv6_addr; size 65535; flags dynamic,timeout; timeout 2m; }}
	chain input {{
		type filter hook input priority filter - 10; policy drop;
		iif lo accept
		ct state established,related accept
		ct state invalid drop
		icmp type {{ {ICMP} }} accept
		meta l4proto ipv6-icmp accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		jump declared
	}}
	chain forward {{
		type filter hook forward priority filter - 10; policy drop;
		ct state established,related accept
		ip daddr {{ {METADATA} }} meta l4proto {{ tcp, udp }} th dport != 53 drop
		ip6 daddr {{ {METADATA6} }} meta l4proto {{ tcp, udp }} th dport != 53 drop
		ct status dnat goto declared_or_drop
		iifname "docker0" accept
		iifname "docker_gwbridge" accept
		iifname "br-*" accept
	}}
	chain declared_or_drop {{
		jump declared
		drop
	}}
"""


def ruleset(
    ports: Sequence[DeclaredPort], servers: Iterable[str], trusted: Iterable[str], *, bans: bool
) -> str:
    """The file for one server: `ports` open, all else closed, IPv4 and IPv6 alike.

    `servers` are the addresses of the site's servers, `trusted` addresses and networks that SSH's
    rate does not slow. With `bans` the sets of the banned are there too.
    """
    told = "".join(f"# port {line}\n" for line in map(summary, ports))
    chains = [
        _chain("servers", _accept_from(servers)),
        _chain("trusted", _accept_from(trusted)),
        _chain("declared", (rule for port in ports for rule in _rules(port))),
    ]
    table = f"table {TABLE} {{\n{''.join(chains)}{_CHAINS}}}\n"
    return told + HEAD + (BANNED if bans else NO_BANS) + table


def without(*, bans: bool) -> str:
    """The file of a server without firewall: the banned alone, or nothing."""
    return HEAD + (BANNED if bans else NO_BANS)


def summary(port: DeclaredPort) -> str:
    """A port in one line, as the file's head tells it: `tcp/443 from any: HTTPS`."""
    return f"{port.text} from {', '.join(port.sources)}: {' '.join(port.why.split())}"


def summaries(text: str) -> dict[str, str]:
    """The ports that a file's head tells: port to the rest of its line."""
    lines = [line.split(" ", 3) for line in text.splitlines() if line.startswith("# port ")]
    return {words[2]: words[3] for words in lines if len(words) == 4}


def _chain(name: str, rules: Iterable[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n"


def _rules(port: DeclaredPort) -> Iterator[str]:
    """A port's rules. A published port is told by the packet's first destination, which is the
    same where Docker has sent it on to a container and where it has not."""
    match = "meta l4proto esp"
    if port.protocol != "esp":
        ports = str(port.first) if port.first == port.last else f"{port.first}-{port.last}"
        match = f"meta l4proto {port.protocol} ct original proto-dst {ports}"
    if port.limited and ANY in port.sources:
        yield f"{match} jump servers"
        yield f"{match} jump trusted"
        for family, name in (("ip", "ssh4"), ("ip6", "ssh6")):
            yield f"{match} update @{name} {{ {family} saddr limit rate over {SSH_RATE} }} drop"
    if ANY in port.sources:
        yield f"{match} accept"
    if SERVERS in port.sources:
        yield f"{match} jump servers"
    given = [source for source in port.sources if source not in (ANY, SERVERS)]
    yield from (f"{match} {rule}" for rule in _accept_from(given))


def _accept_from(sources: Iterable[str]) -> Iterator[str]:
    """Rules that accept what comes from these addresses and networks."""
    networks = [ipaddress.ip_network(source) for source in sources]
    for family, version in (("ip", 4), ("ip6", 6)):
        own = [network for network in networks if network.version == version]
        if own:
            kept = ipaddress.collapse_addresses(own)  # type: ignore[type-var]
            shown = ", ".join(
                str(network.network_address if network.num_addresses == 1 else network)
                for network in kept
            )
            yield f"{family} saddr {{ {shown} }} accept"


SERVICE = f"""\
# Written by ronron apply.
[Unit]
Description=ronron: the server's firewall
Documentation=man:nft(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target docker.service ssh.service shutdown.target
After=local-fs.target systemd-modules-load.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=-/usr/bin/python3 /usr/local/lib/ronron/guard.py undo
ExecStart=/bin/sh -c 'test ! -e {FILE} || exec /usr/sbin/nft -f {FILE}'

[Install]
WantedBy=sysinit.target
"""
"""The unit that loads the rules at start, before the network and Docker; what was being tried when
the server went down is undone first. Before the first apply is done there are no rules: it counts
as started then too."""

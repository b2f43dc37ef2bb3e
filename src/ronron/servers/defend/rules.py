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

JAILS = ("sshd", "ronron-proxy", "ronron-scan")
"""Who bans. Each has sets of its own, `sshd4` and `sshd6`: what one lifts another may still ban."""

_SETS = "".join(
    f"\tset {jail}{version} {{ type ipv{version}_addr; flags timeout; }}\n"
    for jail in JAILS
    for version in (4, 6)
)
_DROPS = "".join(f"\t\tip saddr @{jail}4 drop\n\t\tip6 saddr @{jail}6 drop\n" for jail in JAILS)
BANNED = f"""\
table {BANS} {{
{_SETS}\
	chain prerouting {{ type filter hook prerouting priority raw; policy accept; }}
}}
flush chain {BANS} prerouting
table {BANS} {{
	chain prerouting {{
{_DROPS}\
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

_NOT_CONTAINERS = ('iifname "docker*" return',)
"""A container may write any sender on its packets, such as a server's."""

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
		jump to_servers
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
    ports: Sequence[DeclaredPort],
    servers: Sequence[str],
    trusted: Iterable[str],
    *,
    bans: bool,
    everywhere: Iterable[DeclaredPort] = (),
) -> str:
    """The file for one server: `ports` open, all else closed, IPv4 and IPv6 alike.

    `servers` are the addresses of the site's servers, `trusted` addresses and networks that SSH's
    rate does not slow. With `bans` the sets of the banned are there too. `everywhere` are the ports
    of all servers: what a container sends to another server comes from this one's address there,
    and goes only to ports that anybody may reach.
    """
    closed = sorted({f"{_match(one)} drop" for one in everywhere if not _public(one)})
    told = "".join(f"# port {line}\n" for line in map(summary, ports))
    chains = [
        _chain("servers", (*_NOT_CONTAINERS, *_each("saddr", servers, "accept"))),
        _chain("trusted", _each("saddr", trusted, "accept")),
        _chain("between", ("ct state invalid drop", *closed)),
        _chain("to_servers", _each("daddr", servers, "jump between")),
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


def _public(port: DeclaredPort) -> bool:
    """Whether containers of other servers may reach it. SSH they may not: it knows a server by its
    address, and neither slows nor bans it."""
    return ANY in port.sources and not port.limited


def _match(port: DeclaredPort) -> str:
    """A port's packets. A published port is told by the packet's first destination, which is the
    same where Docker has sent it on to a container and where it has not."""
    if port.protocol == "esp":
        return "meta l4proto esp"
    ports = str(port.first) if port.first == port.last else f"{port.first}-{port.last}"
    return f"meta l4proto {port.protocol} ct original proto-dst {ports}"


def _rules(port: DeclaredPort) -> Iterator[str]:
    match = _match(port)
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
    yield from (f"{match} {rule}" for rule in _each("saddr", given, "accept"))


def _each(field: str, addresses: Iterable[str], verdict: str) -> Iterator[str]:
    """A rule for each family that has some of these addresses and networks in this field."""
    networks = [ipaddress.ip_network(one) for one in addresses]
    for family, version in (("ip", 4), ("ip6", 6)):
        own = {network for network in networks if network.version == version}
        if own:
            # Not collapsed: a server's address is looked for in the listing.
            shown = ", ".join(
                str(network.network_address if network.num_addresses == 1 else network)
                for network in sorted(own, key=lambda network: network.network_address)
                if not own.intersection(
                    network.supernet(one) for one in range(1, network.prefixlen + 1)
                )
            )
            yield f"{family} {field} {{ {shown} }} {verdict}"


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

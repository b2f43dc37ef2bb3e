"""Names looked up when they are needed, never remembered: addresses change at reboot."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ronron.errors import OperatorError, RonronError

SECONDS = 5.0
"""How long one look-up may take."""


def is_address(name: str) -> bool:
    """Whether `name` is an IP address already."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def lookup(name: str, resolver: str | None = None) -> str:
    """The IP address that `name` has now, IPv4 before IPv6; an address is returned as it is.

    `resolver` (IP or IP:port) is the name server to ask; without it this computer's own way is
    taken. Raises OperatorError when there is no such name or nobody to ask.
    """
    if is_address(name):
        return name
    return _ask(name, resolver) if resolver else _ask_this_computer(name)


def lookup_all(addresses: Mapping[str, str], resolver: str | None = None) -> dict[str, str]:
    """The IP addresses that servers have now, by server. Who is not found is missing."""

    def find(address: str) -> str:
        try:
            return lookup(address, resolver)
        except RonronError:
            return ""

    with ThreadPoolExecutor(max(1, len(addresses))) as threads:
        found = dict(zip(addresses, threads.map(find, addresses.values()), strict=True))
    return {name: address for name, address in found.items() if address}


def _ask_this_computer(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _missing(name, "", error.strerror or str(error)) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _ask(name: str, resolver: str) -> str:
    import dns.exception
    import dns.resolver

    from ronron.site.values import host_port

    host, port = host_port(resolver, 53)
    server = dns.resolver.Resolver(configure=False)
    server.nameservers = [host]
    server.port = port
    server.lifetime = SECONDS
    reason = "no such name"
    for kind in ("A", "AAAA"):
        try:
            return str(server.resolve(name, kind, search=False)[0])
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except dns.exception.Timeout:
            reason = f"no answer in {SECONDS:.0f} s"
        except dns.exception.DNSException as error:
            reason = str(error)
        break
    raise _missing(name, f" at the name server {resolver}", reason)


def _missing(name: str, where: str, reason: str) -> OperatorError:
    return OperatorError(
        f"{name}: not found{where}: {reason}",
        remedy="check the name, or set `resolver:` in ronron.yml",
    )

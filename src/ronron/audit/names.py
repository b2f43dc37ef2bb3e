"""What name servers say: CAA records, and all addresses of a server."""

from __future__ import annotations

from collections.abc import Callable

from ronron.servers.names import is_address, lookup

SECONDS = 10.0


def asker(resolver: str | None) -> Callable[[str, str], tuple[str, ...] | None]:
    """A function from a name and a kind of record to the records there are; None when nobody knows.

    `resolver` (IP or IP:port) is the name server to ask instead of this computer's.
    """
    import dns.exception
    import dns.resolver

    from ronron.site.values import host_port

    asked = dns.resolver.Resolver(configure=resolver is None)
    asked.lifetime = SECONDS
    if resolver:
        host, asked.port = host_port(resolver, 53)
        asked.nameservers = [host]

    def ask(name: str, kind: str) -> tuple[str, ...] | None:
        try:
            return tuple(str(record) for record in asked.resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.DNSException:
            return None

    return ask


def addresses(name: str, resolver: str | None) -> tuple[str, ...]:
    """The address that a server is reached at, and its IPv6 ones. Raises OperatorError."""
    first = lookup(name, resolver)
    more = () if is_address(name) else asker(resolver)(name, "AAAA") or ()
    return tuple(dict.fromkeys((first, *more)))

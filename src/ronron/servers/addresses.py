"""Runs on a server beside rsyslog: a request's client, shortened before it is stored.

Stands alone: Python 3.9 and its standard library. rsyslog (mmexternal) writes one line of the
proxy's access log at a time, and waits for one line with the field to set. The one argument is
`truncated` (IPv4 to /24, IPv6 to /48) or `hashed`: with a key that is random, in memory alone, and
another one every day, so that nobody can tell later whose address it was.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import sys
import time

HOW = ("truncated", "hashed")
BITS = {4: 24, 6: 48}
DIGITS = 16


def address_of(line: str) -> str:
    """The client's address in a line of the access log; empty where there is none."""
    try:
        return str(ipaddress.ip_address(str(json.loads(line)["ClientHost"]).partition("%")[0]))
    except (ValueError, KeyError, TypeError):
        return ""


def truncated(address: str) -> str:
    """The network that the address is in."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None) or found
    network = ipaddress.ip_network(f"{mapped}/{BITS[mapped.version]}", strict=False)
    return str(network.network_address)


class Hashed:
    """Addresses as digests, with a key for each day."""

    def __init__(self) -> None:
        self._day = ""
        self._key = b""

    def __call__(self, address: str, day: str) -> str:
        """The digest of `address` on `day`: the same one for the same address until it is over."""
        if day != self._day:
            self._day, self._key = day, secrets.token_bytes(32)
        return hmac.new(self._key, address.encode(), hashlib.sha256).hexdigest()[:DIGITS]


def main() -> None:
    """Answer each line with one, until there are no more."""
    how = sys.argv[1]
    if how not in HOW:
        raise SystemExit(f"one of {', '.join(HOW)}")
    hashed = Hashed()
    for line in sys.stdin:
        client = address_of(line)
        if client and how == "truncated":
            client = truncated(client)
        elif client:
            client = hashed(client, time.strftime("%Y-%m-%d", time.gmtime()))
        sys.stdout.write(json.dumps({"$!": {"client": client}}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

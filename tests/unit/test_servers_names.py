"""Names looked up at a name server of our own."""

import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.rcode
import dns.rrset
import pytest

from ronron.errors import RonronError
from ronron.servers.names import lookup

ZONE = {("here.test.", "A"): "192.0.2.7", ("six.test.", "AAAA"): "2001:db8::7"}


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    """A name server on this computer; its address and port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            wire, client = server.recvfrom(4096)
            if not wire:
                return
            asked = dns.message.from_wire(wire)
            answer = dns.message.make_response(asked)
            question = asked.question[0]
            name, kind = question.name.to_text(), question.rdtype.name
            if value := ZONE.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, value))
            elif name not in {known for known, _ in ZONE}:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            server.sendto(answer.to_wire(), client)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", server.getsockname())
    thread.join()
    server.close()


def test_names_are_asked_for_at_the_resolver(resolver: str) -> None:
    assert lookup("here.test", resolver) == "192.0.2.7"
    assert lookup("six.test", resolver) == "2001:db8::7"


def test_addresses_are_asked_for_nowhere() -> None:
    assert lookup("192.0.2.1", "127.0.0.1:1") == "192.0.2.1"
    assert lookup("2001:db8::1") == "2001:db8::1"
    assert lookup("localhost") in ("127.0.0.1", "::1")


def test_a_missing_name_is_told_with_who_was_asked(resolver: str) -> None:
    with pytest.raises(RonronError, match=f"gone.test: not found at the name server {resolver}"):
        lookup("gone.test", resolver)


def test_a_missing_name_server_is_told() -> None:
    with pytest.raises(RonronError, match=r"at the name server 127\.0\.0\.1:1: no answer in 5 s"):
        lookup("here.test", "127.0.0.1:1")

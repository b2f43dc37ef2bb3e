"""Which ports of a server answer whoever runs this: TCP by connecting, UDP by asking."""

from __future__ import annotations

import errno
import ipaddress
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress

ALL_TCP = range(1, 65536)
COMMON_TCP = (
    *range(1, 1025), 1194, 1433, 1521, 1883, 2049, 2181, 2222, 2375, 2376, 2377, 2379, 2380, 3000,
    3100, 3128, 3260, 3306, 3389, 4222, 4443, 4789, 5000, 5001, 5432, 5601, 5672, 5900, 5984, 6379,
    6443, 7000, 7946, 8000, 8008, 8080, 8081, 8086, 8088, 8333, 8443, 8500, 8888, 9000, 9001, 9042,
    9090, 9091, 9092, 9093, 9094, 9100, 9115, 9200, 9300, 9323, 9428, 9443, 9999, 10250, 11211,
    15672, 24007, 24008, 27017, 28017, 49152, 50000,
)  # fmt: skip
"""All well-known ports, and those of programs that were found open to the Internet too often."""

UDP: Mapping[int, bytes] = {
    # The question for the root's name servers; a client's request; the list of programs; a read
    # of the system's description for the community public. Others get a byte.
    53: bytes.fromhex("1234010000010000000000000000020001"),
    123: b"\x23" + bytes(47),
    111: bytes.fromhex("72fe1d1300000000000000020001 86a0 0002 0004".replace(" ", "")) + bytes(16),
    161: bytes.fromhex(
        "302902010104067075626c6963a01c02047fffffff020100020100300e300c06082b060102010101000500"
    ),
    69: b"\0\1a\0netascii\0",
    137: bytes.fromhex("80f00010000100000000000020434b") + b"A" * 30 + bytes.fromhex("0000210001"),
    389: bytes.fromhex("30250201016320040003"),
    500: bytes(28),
    514: b"\0",
    520: bytes(24),
    1194: b"\x38" + bytes(13),
    1900: b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n\r\n",
    2049: b"\0",
    4789: b"\0",
    5353: bytes(5) + b"\1" + bytes(6) + b"\t_services\7_dns-sd\4_udp\5local\0\0\x0c\0\1",
    7946: b"\0",
    11211: b"\0\1\0\0\0\1\0\0stats\r\n",
    51820: b"\1" + bytes(147),
}  # fmt: skip
"""What is sent to each UDP port that is asked."""

SECONDS = 1.5
"""How long a port may take to answer: the kernel sends its first packet twice in that time."""

UDP_SECONDS = 2.0
_SPARE = 128
"""Files that the process keeps for others."""


def connections_at_once(scans: int) -> int:
    """How many sockets each of `scans` may have open; raises the process's own limit first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1000 * scans + _SPARE
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(16, min(1000, (soft - _SPARE) // max(1, scans)))


def own_address(address: str) -> str:
    """The address that this computer sends from to `address`; empty where it cannot send there:
    many have no IPv6."""
    with suppress(OSError), _socket(address, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])
    return ""


def tcp(address: str, ports: Iterable[int], *, at_once: int = 256) -> frozenset[int]:
    """The TCP `ports` of `address` that accept a connection."""
    waiting: deque[tuple[float, socket.socket, int]] = deque()
    found: set[int] = set()
    done: set[int] = set()
    todo = iter(ports)
    with selectors.DefaultSelector() as selector:
        while True:
            while len(selector.get_map()) < at_once and (port := next(todo, None)) is not None:
                probe = _socket(address, socket.SOCK_STREAM)
                status = probe.connect_ex((address, port))
                if status in (0, errno.EINPROGRESS):
                    selector.register(probe, selectors.EVENT_WRITE, port)
                    waiting.append((time.monotonic() + SECONDS, probe, port))
                else:
                    probe.close()
            if not selector.get_map():
                return frozenset(found)
            while waiting and waiting[0][2] in done:
                waiting.popleft()
            left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.0
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - registered above
                if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.add(key.data)
                selector.unregister(key.fileobj)
                key.fileobj.close()
                done.add(key.data)
            now = time.monotonic()
            while waiting and (waiting[0][2] in done or waiting[0][0] <= now):
                _, probe, port = waiting.popleft()
                if port not in done:
                    selector.unregister(probe)
                    probe.close()
                    done.add(port)


def udp(address: str, questions: Mapping[int, bytes] = UDP) -> frozenset[int]:
    """The UDP ports of `address` that answer; most programs stay silent to a wrong question."""
    found: set[int] = set()
    with selectors.DefaultSelector() as selector:
        for port, question in questions.items():
            probe = _socket(address, socket.SOCK_DGRAM)
            with suppress(OSError):
                probe.connect((address, port))
                probe.send(question)
            selector.register(probe, selectors.EVENT_READ, port)
        deadline = time.monotonic() + UDP_SECONDS
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - registered above
                # A port that is closed says so: the kernel turns that into an error.
                with suppress(OSError):
                    key.fileobj.recv(1)
                    found.add(key.data)
                selector.unregister(key.fileobj)
                key.fileobj.close()
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - registered above
            key.fileobj.close()
    return frozenset(found)


def _socket(address: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    probe = socket.socket(family, kind)
    probe.setblocking(False)
    return probe

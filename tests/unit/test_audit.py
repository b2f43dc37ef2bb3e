"""The audit: what is judged of ports, domains and SSH, and what is accepted."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from authority import Authority
from findings import ids
from ronron.audit import ports, scan, sshd, web
from ronron.audit.model import Finding, settle
from ronron.catalog.guards import HEADERS
from ronron.errors import Problem, RonronError
from ronron.site.audit import Accepted
from ronron.site.load import parse_site
from serving import serving

DATA = Path(__file__).parent / "audit"
DOMAIN = "blog.example.org"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


class Port:
    """A declared port, as `site.security` has it."""

    def __init__(self, protocol: str, port: int, *sources: str) -> None:
        self.protocol, self.port, self.sources, self.why = protocol, port, sources, "a test"

    def covers(self, protocol: str, port: int) -> bool:
        return (self.protocol, self.port) == (protocol, port)


DECLARED = (
    Port("tcp", 22, "servers", "192.0.2.7"),
    Port("tcp", 443, "any"),
    Port("tcp", 5000, "servers"),
    Port("udp", 7946, "servers"),
)


def test_ports_that_are_declared_for_strangers_are_no_finding() -> None:
    assert not list(ports.findings("a", [("tcp", 22), ("tcp", 443)], DECLARED, "192.0.2.7"))


@pytest.mark.parametrize("auditor", ["203.0.113.9", "2001:db8::9", "::ffff:203.0.113.9", ""])
def test_a_port_for_some_addresses_must_not_answer_others(auditor: str) -> None:
    declared = (*DECLARED, Port("tcp", 5432, "192.0.2.0/24"))
    found = list(ports.findings("a", [("tcp", 22), ("tcp", 5432)], declared, auditor))
    assert ids(found) == {"port-for-others-open": "high", "database-open": "critical"}
    assert "declared for the site's servers, 192.0.2.7 alone (a test)" in found[0].evidence
    assert "declared for 192.0.2.0/24 alone (a test)" in found[1].evidence
    for inside_of in ("192.0.2.7", "::ffff:192.0.2.7"):
        assert not list(ports.findings("a", [("tcp", 22), ("tcp", 5432)], declared, inside_of))


def test_a_port_for_the_servers_alone_must_not_answer_strangers() -> None:
    found = list(ports.findings("a", [("tcp", 5000), ("udp", 7946)], DECLARED, "192.0.2.7"))
    assert ids(found) == {"registry-open": "high", "swarm-open": "high"}
    assert "declared for the site's servers alone (a test)" in found[0].evidence


@pytest.mark.parametrize(
    ("protocol", "port", "name", "severity"),
    [
        ("tcp", 2375, "docker-api-open", "critical"),
        ("tcp", 5432, "database-open", "critical"),
        ("tcp", 9100, "metrics-open", "high"),
        ("tcp", 4444, "port-undeclared", "high"),
        # The same number of the other protocol is another port.
        ("udp", 443, "port-undeclared", "high"),
    ],
)
def test_what_was_not_declared_is_named(protocol: Any, port: int, name: str, severity: str) -> None:
    found = list(ports.findings("a", [(protocol, port)], DECLARED, "192.0.2.7"))
    assert ids(found) == {name: severity}
    assert found[0].where == "server a"
    assert f"{protocol}/{port}" in found[0].evidence


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_the_scan_finds_the_ports_that_listen_and_no_other(at_once: int) -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    closed = socket.create_server(("127.0.0.1", 0))
    asked = {one.getsockname()[1] for one in (*listening, closed)}
    closed.close()
    try:
        expected = {one.getsockname()[1] for one in listening}
        assert scan.tcp("127.0.0.1", asked, at_once=at_once) == expected
    finally:
        for one in listening:
            one.close()


def test_a_udp_port_is_open_when_it_answers() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed,
    ):
        answering.bind(("127.0.0.1", 0))
        closed.bind(("127.0.0.1", 0))
        asked = {one.getsockname()[1]: b"?" for one in (answering, closed)}
        closed.close()

        def answer() -> None:
            _, who = answering.recvfrom(100)
            answering.sendto(b"!", who)

        thread = threading.Thread(target=answer)
        thread.start()
        assert scan.udp("127.0.0.1", asked) == {answering.getsockname()[1]}
        thread.join()


def test_an_address_that_cannot_be_reached_is_known() -> None:
    assert scan.own_address("127.0.0.1") == "127.0.0.1"
    # A broadcast is not allowed to an ordinary socket: the kernel refuses at once.
    assert not scan.own_address("255.255.255.255")


def test_a_computer_without_ipv6_has_no_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refused)
    assert not scan.own_address("2001:db8::1")


class Handler(BaseHTTPRequestHandler):
    sent: ClassVar = {name: value for name, value in HEADERS.items() if value}

    def answer(self, body: bytes) -> None:
        self.send_response_only(200)
        for name, value in self.sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(b"hi")

    def log_message(self, format: str, *args: object) -> None: ...


class Careless(Handler):
    sent: ClassVar = {"Server": "Apache/2.4.1", "Strict-Transport-Security": "max-age=60"}

    def do_TRACE(self) -> None:
        self.answer(str(self.headers).encode())

    def do_CONNECT(self) -> None:
        """As if it carried the connection: what comes next is answered by the other end."""
        self.send_response_only(200)
        self.end_headers()
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.0 301 Moved Permanently\r\n\r\n")


class Polite(Handler):
    """Shows its page whatever it is asked for."""

    do_CONNECT = Handler.do_GET


class Closing(Polite):
    def answer(self, body: bytes) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        self.close_connection = True


@contextmanager
def site(tmp_path: Path, handler: type[Handler], *, old: bool = False) -> Iterator[web.Place]:
    """A domain over HTTPS, on this computer; nothing listens for plain HTTP."""
    certificate = Authority(tmp_path).certificate(DOMAIN, NOW + timedelta(days=3650))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if old:
        with pytest.warns(DeprecationWarning, match="TLS"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    else:
        context.set_ciphers(web.GOOD_CIPHERS)
    server = HTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    with serving(server):
        yield web.Place("127.0.0.1", server.server_port, 9)


def judged(seen: web.Seen, left: str | None = None, **wanted: str) -> dict[str, str]:
    return ids(web.findings(seen, {**HEADERS, **wanted}, left, NOW))


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_caa", lambda domain, resolver: None)


@pytest.mark.usefixtures("no_names")
def test_a_domain_as_it_should_be(tmp_path: Path) -> None:
    with site(tmp_path, Handler) as place:
        root = tmp_path / "Test authority.pem"
        seen = web.look(DOMAIN, "/", at=place, trust=root, resolver=None)
    assert (seen.status, seen.tls, seen.old, seen.weak) == (200, "TLSv1.3", (), "")
    assert seen.refused == ""
    assert judged(replace(seen, redirect=f"https://{DOMAIN}/")) == {}


@pytest.mark.usefixtures("no_names")
def test_a_domain_with_every_fault(tmp_path: Path) -> None:
    with site(tmp_path, Careless, old=True) as place:
        seen = web.look(DOMAIN, "/", at=place, trust=None, resolver=None)
    assert seen.old == ("TLSv1", "TLSv1.1")
    assert seen.weak
    assert seen.methods == ("TRACE",)
    assert seen.carries
    assert judged(seen) == {
        "certificate-untrusted": "high",
        "tls-old": "high",
        "tls-weak-cipher": "high",
        "method-allowed": "medium",
        "open-proxy": "critical",
        "no-redirect": "medium",
        "header-missing": "medium",
        "header-tells": "low",
        "hsts-short": "low",
    }


@pytest.mark.usefixtures("no_names")
@pytest.mark.parametrize("handler", [Polite, Closing])
def test_a_page_for_any_method_carries_no_connection(
    tmp_path: Path, handler: type[Handler]
) -> None:
    with site(tmp_path, handler) as place:
        seen = web.look(DOMAIN, "/", at=place, trust=None, resolver=None)
    assert (seen.status, seen.carries) == (200, False)


GOOD = web.Seen(
    DOMAIN,
    200,
    "TLSv1.3",
    expires=NOW + timedelta(days=60),
    headers={name.lower(): value for name, value in HEADERS.items() if value},
    redirect=f"https://{DOMAIN}/",
    caa=('0 issue "letsencrypt.org"',),
)


def test_a_domain_that_is_judged() -> None:
    assert judged(GOOD) == {}
    assert judged(replace(GOOD, problem="no answer")) == {"domain-silent": "high"}
    assert judged(replace(GOOD, caa=())) == {"caa-missing": "low"}
    assert judged(replace(GOOD, caa=None)) == {}
    soon = NOW + timedelta(days=3)
    assert judged(replace(GOOD, expires=soon)) == {"certificate-expires": "high"}
    assert judged(replace(GOOD, redirect="https://blog.example.net/")) == {"no-redirect": "medium"}
    assert judged(replace(GOOD, redirect=f"https://{DOMAIN}.example.net/")) == {
        "no-redirect": "medium"
    }
    assert judged(GOOD, **{"Content-Security-Policy": "x"}) == {"header-missing": "medium"}


def test_a_domain_for_some_clients_alone_is_not_judged_by_what_the_proxy_says() -> None:
    seen = replace(GOOD, status=404, headers={}, old=("TLSv1",))
    found = ids(web.findings(seen, HEADERS, None, NOW, narrow=True))
    assert found == {"tls-old": "high"}
    assert "header-missing" in ids(web.findings(seen, HEADERS, None, NOW))
    answered = replace(seen, status=200)
    assert "header-missing" in ids(web.findings(answered, HEADERS, None, NOW, narrow=True))


def test_a_header_that_is_left_to_the_app_with_a_reason_is_told_and_no_more() -> None:
    headers = {name: it for name, it in GOOD.headers.items() if name != "x-frame-options"}
    wanted = {name: it for name, it in HEADERS.items() if name != "X-Frame-Options"}
    found = list(web.findings(replace(GOOD, headers=headers), wanted, "shown in frames", NOW))
    assert ids(found) == {"header-left": "info"}
    assert found[0].evidence == "X-Frame-Options: shown in frames"


def test_ssh_audits_opinion_is_read() -> None:
    said = json.loads((DATA / "ssh-audit.json").read_text())
    found = {one.id: one for one in sshd.findings("manager", said)}
    assert {name: one.severity for name, one in found.items()} == {
        "ssh-fail": "medium",
        "ssh-warn": "low",
    }
    assert "ecdh-sha2-nistp256 (" in found["ssh-fail"].evidence
    assert "umac-128@openssh.com (using encrypt-and-MAC mode)" in found["ssh-warn"].evidence
    assert not any("chacha20" in one.evidence for one in found.values())
    assert sshd.command("192.0.2.7", 2222)[-2:] == ["--port=2222", "192.0.2.7"]


def test_a_port_where_nobody_answers_is_not_taken_for_a_missing_ssh_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sshd.look("192.0.2.7", 22) is None
    program = tmp_path / "ssh-audit"
    program.write_text("#!/bin/sh\necho '[exception] did not receive banner'\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RonronError, match=r"nothing from 192\.0\.2\.7, port 22"):
        sshd.look("192.0.2.7", 22)


FINDING = Finding("caa-missing", "low", DOMAIN, "no CAA", "none", "add one")


def accepted(**fields: Any) -> Accepted:
    common = {"id": "caa-missing", "reason": "the zone's keeper has none", "until": "2026-12-31"}
    return Accepted.model_validate({**common, **fields})


def test_what_is_accepted_is_not_open_until_its_last_day() -> None:
    last = date(2026, 12, 31)
    done = settle([FINDING], [accepted()], last)
    assert done.open == ()
    assert done.accepted == ((FINDING, accepted()),)
    done = settle([FINDING], [accepted()], last + timedelta(days=1))
    assert ids(done.open) == {"acceptance-expired": "medium", "caa-missing": "low"}


def test_an_acceptance_is_of_one_place_and_told_when_it_is_of_nothing() -> None:
    done = settle([FINDING], [accepted(where="shop.example.org")], NOW.date())
    assert ids(done.open) == {"caa-missing": "low", "acceptance-unused": "info"}
    assert settle([FINDING], [accepted(where=DOMAIN)], NOW.date()).open == ()


def test_the_worst_comes_first_and_fails() -> None:
    worse = replace(FINDING, id="tls-old", severity="high")
    done = settle([FINDING, worse], [], NOW.date())
    assert [one.id for one in done.open] == ["tls-old", "caa-missing"]
    assert done.failed("high")
    assert not done.failed("critical")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"id": "x", "reason": "y"}, "audit.accept.0.until: missing"),
        ({"id": "x", "reason": "y", "until": "soon"}, "'soon' is not a date"),
        ({"id": "x", "reason": " ", "until": "2027-01-31"}, "audit.accept.0.reason: is empty"),
        ({"id": "x", "reason": "y", "until": date(2027, 1, 31)}, ""),
    ],
)
def test_an_acceptance_has_a_reason_and_a_day(written: dict[str, Any], said: str) -> None:
    problems: list[Problem] = []
    data = {"name": "a", "domain": "example.org", "contact": "a@example.org"}
    parse_site({**data, "audit": {"accept": [written]}}, problems)
    assert (said in "\n".join(map(str, problems))) if said else not problems

"""A domain as strangers meet it: TLS, certificate, headers, methods. Looking and judging apart."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from ronron.audit.model import Finding
from ronron.audit.names import asker

SECONDS = 10.0
METHODS = ("TRACE", "TRACK")
"""Methods that send a request back, cookies and all."""

GOOD_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325, 4.2), in OpenSSL's words."""

EXPIRES_SOON = timedelta(days=7)
"""Certificates of 45 days are renewed 15 days before their end: after that something is wrong."""

SHORTEST_HSTS = 365 * 86400
PROTECTING = (
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Permissions-Policy",
)


@dataclass(frozen=True)
class Seen:
    """What a domain showed.

    `old` are versions of TLS that are out of use and were accepted, `weak` the cipher suite that
    was taken when no good one was offered. `refused` says why the certificate is not trusted.
    `headers` have names in lower case. `methods` are those of METHODS that were carried out,
    `carries` is whether connections to elsewhere were. `redirect` is where plain HTTP leads. `caa`
    are the domain's CAA records; None where nobody could be asked. `problem` says why there is no
    answer at all.
    """

    domain: str
    status: int = 0
    tls: str = ""
    old: tuple[str, ...] = ()
    weak: str = ""
    refused: str = ""
    expires: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    carries: bool = False
    redirect: str = ""
    caa: tuple[str, ...] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Place:
    """Where a domain is asked: an IP address, and its ports for HTTPS and HTTP."""

    address: str
    https: int = 443
    http: int = 80


def look(domain: str, path: str, *, at: Place, trust: Path | None, resolver: str | None) -> Seen:
    """Ask `domain` at a place; `trust` is a file of authorities instead of the system's."""
    context = ssl.create_default_context(cafile=str(trust) if trust else None)
    refused = ""
    try:
        version, certificate = _handshake(domain, at, context)
    except ssl.SSLCertVerificationError as error:
        refused, certificate = error.verify_message, {}
        context = _unverified()
        try:
            version, _ = _handshake(domain, at, context)
        except OSError as second:
            return Seen(domain, problem=str(second))
    except OSError as error:
        return Seen(domain, problem=str(error))
    try:
        status, headers = _ask(domain, at, context, "GET", path)
    except (OSError, http.client.HTTPException) as error:
        return Seen(domain, problem=str(error), tls=version, refused=refused)
    expires = None
    if "notAfter" in certificate:
        seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        expires = datetime.fromtimestamp(seconds, UTC)
    return Seen(
        domain,
        status,
        version,
        old=tuple(_old(domain, at)),
        weak=_weak(domain, at),
        refused=refused,
        expires=expires,
        headers=headers,
        methods=tuple(_echoed(domain, at, context, path)),
        carries=_carries(domain, at, context),
        redirect=_redirect(domain, at),
        caa=_caa(domain, resolver),
    )


def findings(
    seen: Seen,
    wanted: Mapping[str, str],
    left: str | None,
    now: datetime,
    *,
    narrow: bool = False,
) -> Iterator[Finding]:
    """What is wrong with a domain. `wanted` are the headers that its app's answers should have (an
    empty value: should not have), `left` why others are left to the app. The app of a `narrow` one
    answers some paths or clients alone, and the proxy itself the others."""
    where = seen.domain
    if seen.problem:
        remedy = "ronron status and ronron logs proxy say more"
        yield Finding("domain-silent", "high", where, "it does not answer", seen.problem, remedy)
        return
    if seen.refused:
        what, remedy = (
            "its certificate is not trusted",
            "ronron logs proxy has the ACME server's words",
        )
        yield Finding("certificate-untrusted", "high", where, what, seen.refused, remedy)
    elif seen.expires and seen.expires - now < EXPIRES_SOON:
        what = "its certificate ends soon and was not renewed"
        remedy = "ronron logs proxy has the ACME server's words"
        yield Finding(
            "certificate-expires", "high", where, what, f"{seen.expires:%Y-%m-%d}", remedy
        )
    own = "ronron apply: the proxy is not as it is declared"
    if seen.old:
        yield Finding(
            "tls-old", "high", where, "old versions of TLS are accepted", ", ".join(seen.old), own
        )
    if seen.weak:
        what = "a cipher suite without forward secrecy or authentication is accepted"
        yield Finding("tls-weak-cipher", "high", where, what, seen.weak, own)
    for method in seen.methods:
        what = f"{method} sends requests back, with their cookies"
        yield Finding("method-allowed", "medium", where, what, method, "forbid it in the app")
    if seen.carries:
        what = "it carries strangers' connections to elsewhere, and into the servers' own networks"
        remedy = "forbid CONNECT in the app"
        yield Finding("open-proxy", "critical", where, what, f"CONNECT {where}:80", remedy)
    leads = urlsplit(seen.redirect)
    if (leads.scheme, leads.hostname) != ("https", where):
        what = "plain HTTP does not lead to HTTPS"
        yield Finding("no-redirect", "medium", where, what, seen.redirect or "no answer", own)
    if seen.caa == ():
        what = "any certificate authority may make certificates for it: it has no CAA record"
        remedy = 'add one where its zone is kept: CAA 0 issue "letsencrypt.org"'
        yield Finding("caa-missing", "low", where, what, "no record up to the root", remedy)
    if not (narrow and seen.status == HTTPStatus.NOT_FOUND):
        yield from _headers(seen, wanted, left)


def _headers(seen: Seen, wanted: Mapping[str, str], left: str | None) -> Iterator[Finding]:
    expected = {name.lower() for name in wanted}
    missing = [name for name, it in wanted.items() if it and name.lower() not in seen.headers]
    if missing:
        what = "its answers lack headers that are declared"
        remedy = "ronron plan shows what was changed by hand; ronron apply mends it"
        names = ", ".join(missing)
        yield Finding("header-missing", "medium", seen.domain, what, names, remedy)
    telling = [
        f"{name}: {seen.headers[name.lower()]}"
        for name, value in wanted.items()
        if not value and name.lower() in seen.headers
    ]
    if telling:
        what = "its answers say what runs there"
        evidence, remedy = ", ".join(telling), "ronron apply takes these headers away"
        yield Finding("header-tells", "low", seen.domain, what, evidence, remedy)
    absent = [
        name
        for name in PROTECTING
        if name.lower() not in expected and name.lower() not in seen.headers
    ]
    if absent:
        what = "headers are left to the app, which does not send them on this page"
        evidence = ", ".join(absent) + (f": {left}" if left else "")
        remedy = "set them under headers: in the app's file"
        yield Finding("header-left", "info", seen.domain, what, evidence, remedy)
    said = seen.headers.get("strict-transport-security")
    if said is not None and _max_age(said) < SHORTEST_HSTS:
        what = "browsers keep to HTTPS for less than a year"
        remedy = "headers: {set: {Strict-Transport-Security: max-age=63072000}, reason: …}"
        yield Finding("hsts-short", "low", seen.domain, what, said, remedy)


def _max_age(value: str) -> int:
    found = re.search(r"max-age=\"?([0-9]+)", value, re.IGNORECASE)
    return int(found[1]) if found else 0


def _unverified() -> ssl.SSLContext:
    """For questions about TLS itself: nothing is said or believed over such a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _connected(domain: str, at: Place, context: ssl.SSLContext) -> ssl.SSLSocket:
    raw = socket.create_connection((at.address, at.https), SECONDS)
    try:
        return context.wrap_socket(raw, server_hostname=domain)
    except BaseException:
        raw.close()
        raise


def _handshake(domain: str, at: Place, context: ssl.SSLContext) -> tuple[str, Mapping[str, object]]:
    with _connected(domain, at, context) as connection:
        return connection.version() or "", connection.getpeercert() or {}


def _old(domain: str, at: Place) -> Iterator[str]:
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = _unverified()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with suppress(OSError):
            yield _handshake(domain, at, context)[0]


def _weak(domain: str, at: Place) -> str:
    context = _unverified()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    without = ":".join(f"!{suites}" for suites in GOOD_CIPHERS.split(":"))
    context.set_ciphers(f"ALL:COMPLEMENTOFALL:{without}:@SECLEVEL=0")
    with suppress(OSError), _connected(domain, at, context) as connection:
        chosen = connection.cipher()
        return chosen[0] if chosen else ""
    return ""


def _ask(
    domain: str, at: Place, context: ssl.SSLContext, method: str, path: str, **headers: str
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(domain, timeout=SECONDS)
    connection.sock = _connected(domain, at, context)
    try:
        connection.request(method, path, headers={"User-Agent": "ronron audit", **headers})
        response = connection.getresponse()
        body = response.read(65536).decode("latin-1")
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, {**found, "": body} if method in METHODS else found
    finally:
        connection.close()


def _echoed(domain: str, at: Place, context: ssl.SSLContext, path: str) -> Iterator[str]:
    mark = "ronron-audit-marks-this"
    for method in METHODS:
        with suppress(OSError, http.client.HTTPException):
            status, answer = _ask(domain, at, context, method, path, X_Mark=mark)
            if status < 300 and mark in answer[""]:
                yield method


def _carries(domain: str, at: Place, context: ssl.SSLContext) -> bool:
    """Whether CONNECT leads to another end: an answer of 2xx that has no body of its own (RFC 9110,
    9.3.6), after which that end answers a request. An app that shows its page for any method does
    not."""
    with (
        suppress(OSError, http.client.HTTPException),
        _connected(domain, at, context) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(f"CONNECT {domain}:80 HTTP/1.1\r\nHost: {domain}:80\r\n\r\n".encode())
        status, headers = answer.readline(), http.client.parse_headers(answer)
        its_own = "Content-Length" in headers or "Transfer-Encoding" in headers
        if its_own or not status.startswith((b"HTTP/1.0 2", b"HTTP/1.1 2")):
            return False
        connection.sendall(f"HEAD / HTTP/1.0\r\nHost: {domain}\r\n\r\n".encode())
        return answer.readline().startswith(b"HTTP/")
    return False


def _redirect(domain: str, at: Place) -> str:
    connection = http.client.HTTPConnection(at.address, at.http, timeout=SECONDS)
    try:
        connection.request("GET", "/", headers={"Host": domain, "User-Agent": "ronron audit"})
        response = connection.getresponse()
        return response.getheader("Location") or f"status {response.status}"
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _caa(domain: str, resolver: str | None) -> tuple[str, ...] | None:
    """The CAA records of the nearest name upwards that has any (RFC 8659)."""
    labels = domain.split(".")
    ask = asker(resolver)
    for start in range(len(labels)):
        found = ask(".".join(labels[start:]), "CAA")
        if found is None:
            return None
        if found:
            return found
    return ()

"""Asking an app over HTTPS, as its users do, and finding out why it does not answer."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ronron.errors import RonronError
from ronron.events import Report, step
from ronron.swarm import converge
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

ATTEMPT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What an app answered over verified TLS: HTTP status, protocol version, and certificate.

    `url` is where people find it; the request may have been for another path there.
    """

    url: str
    status: int
    tls: str
    issuer: str
    expires: datetime


class _Connection(http.client.HTTPSConnection):
    """HTTPS to an address, with the certificate checked against the domain's name."""

    def __init__(self, domain: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(domain, port, timeout=ATTEMPT_SECONDS, context=context)
        self._address = address
        self._tls = context

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def ask(
    domain: str, path: str, *, address: str, port: int = 443, trust: Path | None = None
) -> Answer:
    """Make one request to `https://DOMAIN/PATH` at `address`, redirects not followed.

    `trust` is a file of authorities to check the certificate with, instead of the system's. Raises
    OSError (ssl.SSLError among them) or http.client.HTTPException when there is no answer.
    """
    context = ssl.create_default_context(cafile=str(trust) if trust else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    connection = _Connection(domain, address, port, context)
    try:
        # The socket is asked first: an answer that ends the connection takes it away.
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)  # noqa: S101 - connect made it
        certificate = connection.sock.getpeercert() or {}
        version = connection.sock.version() or ""
        connection.request("GET", path, headers={"User-Agent": "ronron"})
        status = connection.getresponse().status
    finally:
        connection.close()
    issuer = _name(certificate.get("issuer", ()))
    return Answer(
        f"https://{domain}/",
        status,
        version,
        issuer.get("commonName", ""),
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC),
    )


def _name(parts: Any) -> dict[str, str]:  # noqa: ANN401 - as the ssl module nests names
    return {key: value for part in parts for key, value in part}


def wait(
    engine: DockerClient,
    app: str,
    domain: str,
    path: str,
    *,
    address: str,
    port: int = 443,
    trust: Path | None,
    seconds: float,
    report: Report,
    refusals: Collection[int] = (),
) -> Answer:
    """Ask until the app answers with a status below 400, or one of the `refusals` by which the
    proxy keeps strangers out of it, for at most `seconds`.

    Raises RonronError with the reason that a person needs: what the ACME server said, the status,
    or the connection's error.
    """
    last: list[str] = ["nothing was tried"]

    def look() -> Answer | None:
        try:
            answer = ask(domain, path, address=address, port=port, trust=trust)
        except (OSError, http.client.HTTPException, ValueError) as error:
            last[0] = _reason(error)
            return None
        last[0] = f"HTTP status {answer.status}"
        return answer if answer.status < 400 or answer.status in refusals else None

    with step(report, f"https://{domain}{path}", app):
        try:
            return until(look, seconds, domain)
        except RonronError:
            said = acme_errors(proxy_log(engine), domain)
            raise RonronError(
                f"{app}: https://{domain}{path} does not answer after {seconds:.0f} s: "
                + (f"no certificate: {said[-1]}" if said else last[0]),
                remedy=_remedy(domain, address, said),
                details=[] if said else converge.last_lines(engine, "proxy", "proxy"),
            ) from None


def _remedy(domain: str, address: str, said: Iterable[str]) -> str:
    if said:
        return f"{domain} must resolve to {address}, and ports 80 and 443 be open there"
    return f"check that {domain} resolves to {address}; ronron logs shows what the app says"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid yet: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer within 10 s"
    return str(error)


def proxy_log(engine: DockerClient, lines: int = 400) -> list[str]:
    """The newest lines of the proxy's own log."""
    return converge.last_lines(engine, "proxy", "proxy", lines)


def acme_errors(log: Iterable[str], domain: str) -> list[str]:
    """What the ACME server said of `domain`, from the proxy's log in JSON, oldest first."""
    named = re.compile(rf"(?<![\w.-]){re.escape(domain)}(?![\w-]|\.\w)")
    found = []
    for line in log:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        said = str(entry.get("error", "")) if isinstance(entry, dict) else ""
        if said and "acme" in line.lower() and named.search(line):
            found.append(" ".join(said.split()))
    return found

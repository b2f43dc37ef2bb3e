"""The watch's look at certificates: real servers that speak TLS on this computer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ronron.catalog.recipes.monitoring.image.watch import certificates
from ronron.catalog.recipes.monitoring.image.watch.certificates import Certificates

DOMAINS = {"localhost": "blog"}
BEGINS = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return tmp_path / "authority.pem"


@contextmanager
def server(folder: Path, ends: datetime) -> Iterator[int]:
    """A server on localhost whose certificate is its own authority; its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, BEGINS, ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "authority.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(pem + own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with socket.create_server(("localhost", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(one, server_side=True) as connection:
                        connection.recv(1)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def told(watch: Certificates) -> dict[str, float]:
    """The figures of the page, once its server has been asked."""
    deadline = time.monotonic() + 20
    while not (found := {one.name: one.value for one in watch.samples(DOMAINS)}):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    return found


def test_a_certificate_is_told_with_its_dates(tmp_path: Path, authority: Path) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    with server(tmp_path, ends) as port:
        assert told(Certificates(authority, port)) == {
            "ronron_certificate_verifies": 1,
            "ronron_certificate_not_before_seconds": BEGINS.timestamp(),
            "ronron_certificate_not_after_seconds": ends.timestamp(),
        }


def test_one_that_is_over_does_not_verify_and_its_dates_stay(
    tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "EVERY", 0.1)
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    with server(tmp_path, ends) as port:
        watch = Certificates(authority, port)
        assert told(watch)["ronron_certificate_verifies"] == 1
        deadline = time.monotonic() + 20
        while (found := told(watch))["ronron_certificate_verifies"] == 1:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
    assert found["ronron_certificate_not_after_seconds"] == ends.timestamp()


def test_a_server_that_does_not_answer_keeps_nobody_waiting(authority: Path) -> None:
    with socket.create_server(("localhost", 0)) as silent:  # it accepts, and says nothing
        watch = Certificates(authority, silent.getsockname()[1])
        before = time.monotonic()
        for _ in range(20):
            assert list(watch.samples(DOMAINS)) == []
        assert time.monotonic() - before < certificates.SECONDS

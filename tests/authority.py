"""A certificate authority for tests, and an HTTPS server that shows one of its certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


class Authority:
    """Signs certificates; `root` is the file that trusts them."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = _certificate(name, self._key, self._key, None, START + timedelta(days=30))
        self.root = folder / f"{name}.pem"
        self.root.write_bytes(self._root.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str, expires: datetime) -> Path:
        """A file with a certificate for `name`, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(name, key, self._key, self._root, expires)
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    expires: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    else:
        uses = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            False,
        )
        uses |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
        usage = x509.KeyUsage(**uses, key_cert_sign=True, crl_sign=True)
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(signer, hashes.SHA256())


class Https:
    """An HTTPS server on 127.0.0.1; `requests` has what was asked, `status` is what it answers."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.status = 200
        self.requests: list[str] = []
        self.context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            raw.settimeout(5)
            with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as s:
                self.requests.append(s.recv(65536).decode())
                s.sendall(self.answer())

    def answer(self) -> bytes:
        """The whole answer to a request."""
        head = f"HTTP/1.1 {self.status} X\r\nLocation: https://elsewhere.example.org/\r\n"
        return (head + "Content-Length: 0\r\nConnection: close\r\n\r\n").encode()

    def close(self) -> None:
        """Make `serve` end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def https(certificate: Path) -> Iterator[Https]:
    """Serve with the certificate (and key) in this file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Https(context)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()

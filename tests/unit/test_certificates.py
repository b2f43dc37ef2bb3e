"""The registry's certificates: a real TLS server asks for them, as the registry does."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ronron.servers.provision.model import RegistryAccess
from ronron.site.vault import Secrets, Vault, create_key
from ronron.swarm.certificates import VAULT_NAME, registry_access, registry_certificates

HOST = "registry.ronron.internal"


@pytest.fixture(scope="module")
def made() -> Secrets:
    return registry_certificates()


def context(made: Secrets, who: str | None, *, server: bool = False) -> ssl.SSLContext:
    """A side of the connection that trusts the site's authority and shows the certificate `who`."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    found.verify_mode = ssl.CERT_REQUIRED
    # What Python 3.13 checks by itself.
    found.verify_flags |= ssl.VERIFY_X509_STRICT
    found.load_verify_locations(cadata=made.values["registry_ca"].reveal())
    if who is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "both.pem"
            names = (f"{who}_cert", f"{who}_key")
            path.write_text("".join(made.values[name].reveal() for name in names))
            found.load_cert_chain(path)
    return found


def talk(server: ssl.SSLContext, client: ssl.SSLContext, host: str = HOST) -> str:
    """What the server says over TLS to the client."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        raw, _ = listening.accept()
        raw.settimeout(10)
        try:
            with server.wrap_socket(raw, server_side=True) as connection:
                connection.sendall(b"welcome")
        except OSError:
            raw.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with (
            socket.create_connection(listening.getsockname(), 10) as raw,
            client.wrap_socket(raw, server_hostname=host) as connection,
        ):
            return connection.recv(100).decode()
    finally:
        thread.join()
        listening.close()


def test_the_sites_servers_are_let_in(made: Secrets) -> None:
    server = context(made, "registry", server=True)
    assert talk(server, context(made, "registry_client")) == "welcome"


def test_nobody_else_is_let_in(made: Secrets) -> None:
    server = context(made, "registry", server=True)
    other = registry_certificates()
    stranger = context(made, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        names = ("registry_client_cert", "registry_client_key")
        path.write_text("".join(other.values[name].reveal() for name in names))
        stranger.load_cert_chain(path)
    for client in (context(made, None), stranger):
        with pytest.raises(OSError):  # noqa: PT011 - an alert, or the connection's end
            talk(server, client)


def test_the_registrys_own_certificate_opens_nothing(made: Secrets) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - an alert, or the connection's end
        talk(context(made, "registry", server=True), context(made, "registry"))


def test_a_client_cannot_pretend_to_be_the_registry(made: Secrets) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(context(made, "registry_client", server=True), context(made, "registry_client"))


def test_the_registry_has_one_name(made: Secrets) -> None:
    server = context(made, "registry", server=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(server, context(made, "registry_client"), "localhost")


def test_they_last_and_are_valid_where_a_clock_is_behind(made: Secrets) -> None:
    now = datetime.now(UTC)
    for name in ("registry_ca", "registry_cert", "registry_client_cert"):
        found = x509.load_pem_x509_certificate(made.values[name].reveal().encode())
        assert found.not_valid_before_utc < now - timedelta(hours=23)
        assert found.not_valid_after_utc > now + timedelta(days=365 * 19)


def test_servers_are_given_no_key_but_the_clients(tmp_path: Path, made: Secrets) -> None:
    recipient = create_key(tmp_path / "key")
    (tmp_path / "recipients.txt").write_text(recipient)
    vault = Vault(tmp_path, tmp_path / "key")
    empty = registry_access(vault)
    assert (empty.ca, empty.certificate, empty.key) == ("", "", ""), "they are not made yet"
    vault.write(VAULT_NAME, made)
    given = registry_access(vault)
    values = {name: value.reveal() for name, value in made.values.items()}
    assert given == RegistryAccess(
        registry=f"{HOST}:5000",
        ca=values["registry_ca"],
        certificate=values["registry_client_cert"],
        key=values["registry_client_key"],
    )
    assert "PRIVATE KEY" not in repr(given)
    assert "PRIVATE KEY" not in repr(made)

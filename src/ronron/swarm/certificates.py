"""The certificates that open the site's registry to the site's servers alone.

The registry asks for a client certificate of the site's own authority; provisioning puts one on
every server, where Docker finds it beside the authority's own certificate.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ronron.catalog.stack import REGISTRY
from ronron.servers.gluster import CERTIFICATE_NAME
from ronron.servers.provision.model import LogAccess, RegistryAccess, StorageAccess
from ronron.servers.shipping import HOST
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

VAULT_NAME = "registry"
"""The vault file that holds them: that of the registry's own app."""

STORAGE_VAULT = "storage"
"""The vault file of the certificate of the servers' shared storage."""

LOG_SECRETS = ("authority", "gate", "shipper", "shipper_key")
"""What `log_certificates` makes, in the vault file of the log store's app."""

YEARS = 20
"""How long the certificates are valid: they are the site's own, and replaced with the vault."""


def registry_certificates() -> Secrets:
    """Make an authority, a certificate for the registry, and one for its clients (PEM)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("ronron registry authority", authority, authority, None, server=None)
    values = {"registry_ca": _pem(root), "registry_ca_key": _key_pem(authority)}
    for name, server in (("registry", True), ("registry_client", False)):
        key = ec.generate_private_key(ec.SECP256R1())
        host = REGISTRY.partition(":")[0] if server else "ronron registry client"
        certificate = _certificate(host, key, authority, root, server=server)
        values |= {f"{name}_cert": _pem(certificate), f"{name}_key": _key_pem(key)}
    return Secrets({name: Secret(value) for name, value in values.items()})


def log_certificates() -> Secrets:
    """Make an authority, a certificate for the log store's gate, and the servers' one (PEM)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("ronron logs authority", authority, authority, None, server=None)
    values = {"authority": _pem(root)}
    for name, server in (("gate", True), ("shipper", False)):
        key = ec.generate_private_key(ec.SECP256R1())
        host = HOST if server else "ronron log shipper"
        values[name] = _pem(_certificate(host, key, authority, root, server=server))
        values[f"{name}_key"] = _key_pem(key)
    # HAProxy reads both from one file. Nobody needs the authority's key again.
    values["gate"] += values.pop("gate_key")
    return Secrets({name: Secret(value) for name, value in values.items()})


def storage_certificate() -> Secrets:
    """The certificate and key that every server of the site shows to the others' storage.

    It is its own authority: who holds the key is one of the site's servers.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(CERTIFICATE_NAME, key, key, None, server=None)
    values = {"certificate": _pem(certificate), "key": _key_pem(key)}
    return Secrets({name: Secret(value) for name, value in values.items()})


def _certificate(
    name: str,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    *,
    server: bool | None,
) -> x509.Certificate:
    """`server` says what the certificate is for; None for an authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # A clock that is behind must not make a new certificate invalid.
    start = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=server is None, path_length=None), critical=True)
        # Without these, and an authority's key usage, strict readers refuse (RFC 5280, 4.2.1).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(_usage(authority=server is None), critical=True)
    )
    if server is not None:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if server:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def storage_access(vault: Vault) -> StorageAccess:
    """What provisioning puts on every server so that it may take part in the shared storage.

    Before the certificate is made its contents are empty: enough to plan with.
    """
    values = vault.read(STORAGE_VAULT).values if vault.exists(STORAGE_VAULT) else {}
    return StorageAccess(**{name: value.reveal() for name, value in values.items()})


def log_access(vault: Vault, app: str) -> LogAccess:
    """What provisioning puts on every server so that it may write to the log store `app`.

    Before the certificates are made its contents are empty: enough to plan with.
    """
    values = vault.read(app).values if vault.exists(app) else {}
    names = ("authority", "shipper", "shipper_key")
    return LogAccess(*(values[name].reveal() if name in values else "" for name in names))


def registry_access(vault: Vault) -> RegistryAccess:
    """What provisioning puts on every server so that it may use the registry.

    Before the certificates are made its contents are empty: enough to plan with.
    """
    values = vault.read(VAULT_NAME).values if vault.exists(VAULT_NAME) else {}
    ca, certificate, key = (
        values[name].reveal() if values else ""
        for name in ("registry_ca", "registry_client_cert", "registry_client_key")
    )
    return RegistryAccess(registry=REGISTRY, ca=ca, certificate=certificate, key=key)

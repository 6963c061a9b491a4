"""Certificates that a server makes for itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = timedelta(hours=1)
"""How far behind others' clocks may be: certificates are valid from so long before they are made."""


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate chain with its key, both PEM."""

    certificate: bytes
    key: bytes


def common_name(text: str) -> x509.Name:
    """A name of nothing but a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    """A certificate of `key`, yet without extensions and signature."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def for_server(made: x509.CertificateBuilder, hosts: Sequence[str]) -> x509.CertificateBuilder:
    """`made` as the certificate of a server that is called by `hosts` and on loopback."""
    addresses = [x509.IPAddress(ip_address(each)) for each in ("127.0.0.1", "::1")]
    alternatives = [*(x509.DNSName(host) for host in hosts), *addresses]
    return (
        made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def self_signed(name: str, now: datetime, lifetime: timedelta) -> CertificatePair:
    """A certificate that is its own issuer: clients encrypt with it and cannot verify the server's identity."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = common_name(name)
    made = for_server(builder(subject, subject, key.public_key(), now, lifetime), ["localhost"]).sign(key, SHA256())
    return CertificatePair(made.public_bytes(Encoding.PEM), private_pem(key))

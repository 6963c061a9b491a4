"""A certificate authority of the adapter's own, and the serving certificates it signs."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_NAME = "infscale adapter CA"
_CLOCK_SKEW = timedelta(hours=1)
_RENEWED_AFTER = 2 / 3


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate chain with its key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a serving certificate is for: the Service that leads to the adapter."""

    service: str
    namespace: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names API servers and people call it by."""
        host = f"{self.service}.{self.namespace}.svc"
        return ("localhost", host, f"{host}.cluster.local")


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and key. Its key signs serving certificates and nothing else."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, now: datetime, lifetime: timedelta) -> "Authority":
        """A new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(CA_NAME)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _builder(name, name, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signing(), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def parse(cls, certificate: bytes, key: bytes) -> "Authority":
        """The one that was written as PEM. Raises `ValueError` for anything else, also for one of somebody else's."""
        found = x509.load_pem_x509_certificate(certificate)
        try:
            private = load_pem_private_key(key, None)
        except TypeError:
            raise ValueError("its key is encrypted") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or found.subject != _name(CA_NAME):
            raise ValueError(f"it is not of {CA_NAME}")
        public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if found.public_key().public_bytes(*public) != private.public_key().public_bytes(*public):
            raise ValueError("certificate and key do not belong together")
        return cls(found, private)

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Its key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def issue(self, subject: Subject, now: datetime, lifetime: timedelta) -> CertificatePair:
        """A serving certificate for `subject` and for loopback; it ends with its CA at the latest."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name) for name in subject.hosts]
        addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        lifetime = min(lifetime, self.certificate.not_valid_after_utc - now)
        leaf = (
            # A common name holds at most 64 characters; clients read the alternative names.
            _builder(_name(subject.service[:64]), self.certificate.subject, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(self.key, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return CertificatePair(leaf.public_bytes(Encoding.PEM), private)


def renewal(certificate: x509.Certificate) -> datetime:
    """When a certificate should have a successor: after two thirds of its life."""
    begin = certificate.not_valid_before_utc + _CLOCK_SKEW
    return begin + (certificate.not_valid_after_utc - begin) * _RENEWED_AFTER


def begun(certificate: x509.Certificate) -> datetime:
    """When a certificate of ours was made: before, others' clocks may be behind."""
    return certificate.not_valid_before_utc + _CLOCK_SKEW


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signing() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )

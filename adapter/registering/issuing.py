"""A certificate authority of the adapter's own, and the serving certificates it signs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from infscale.process.certificates import CLOCK_SKEW, CertificatePair, builder, common_name, for_server, private_pem

CA_NAME = "infscale adapter CA"
_RENEWED_AFTER = 2 / 3


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a serving certificate: the Service that leads to the adapter."""

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
        name = common_name(CA_NAME)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            builder(name, name, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signing(), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def parse(cls, certificate: bytes, key: bytes) -> "Authority":
        """The one that was written as PEM. Raises `ValueError` for anything else, also for another authority."""
        found = x509.load_pem_x509_certificate(certificate)
        try:
            private = load_pem_private_key(key, None)
        except TypeError:
            raise ValueError("its key is encrypted") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or found.subject != common_name(CA_NAME):
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
        return private_pem(self.key)

    def issue(self, subject: Subject, now: datetime, lifetime: timedelta) -> CertificatePair:
        """A serving certificate for `subject` and for loopback; it ends with its CA at the latest."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        lifetime = min(lifetime, self.certificate.not_valid_after_utc - now)
        # A common name holds at most 64 characters; clients read the alternative names.
        name = common_name(subject.service[:64])
        leaf = (
            for_server(builder(name, self.certificate.subject, key.public_key(), now, lifetime), subject.hosts)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(self.key, SHA256())
        )
        return CertificatePair(leaf.public_bytes(Encoding.PEM), private_pem(key))


def renewal(certificate: x509.Certificate) -> datetime:
    """When a certificate should have a successor: after two thirds of its life."""
    begin = certificate.not_valid_before_utc + CLOCK_SKEW
    return begin + (certificate.not_valid_after_utc - begin) * _RENEWED_AFTER


def begun(certificate: x509.Certificate) -> datetime:
    """When a certificate of ours was made: before, others' clocks may be behind."""
    return certificate.not_valid_before_utc + CLOCK_SKEW


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

"""Certificate authorities and client certificates as clusters have them, and as they should not be."""

import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
A_CA = x509.BasicConstraints(ca=True, path_length=None)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extension = tuple[x509.ExtensionType, bool]


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def subject_of(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*parts, *([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])])


def ca_usage(*, signs: bool = True) -> x509.KeyUsage:
    flags = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, decipher_only=False, **flags)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make `context` present this certificate."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pair.pem")
            file.write_text(key + self.pem)
            context.load_cert_chain(file)


@dataclass(frozen=True)
class Authority(Issued):
    """A certificate that signs others."""

    identifiers: bool = True

    def issue(
        self,
        common_name: str,
        organizations: Sequence[str] = (),
        *,
        usage: Sequence[x509.ObjectIdentifier] = CLIENT,
        days: tuple[float, float] = (-1, 365),
        extensions: Sequence[Extension] = (),
        algorithm: HashAlgorithm | None = None,
    ) -> Issued:
        """A leaf without alternative names, as kubeadm makes them; `days` from now it is valid."""
        key = new_key()
        builder = _builder(subject_of(common_name, organizations), self.certificate.subject, key, days)
        every: list[Extension] = [(x509.BasicConstraints(ca=False, path_length=None), True), *extensions]
        if usage:
            every.append((x509.ExtendedKeyUsage(list(usage)), False))
        if self.identifiers:
            signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key())  # type: ignore[arg-type]
            every.append((signer, False))
        return Issued(_signed(builder, every, self.key, algorithm), key)

    def intermediate(self, name: str) -> "Authority":
        return authority(name, signer=self)


def authority(
    name: str = "kubernetes",
    *,
    signer: Authority | None = None,
    identifiers: bool = True,
    constraints: x509.BasicConstraints | None = A_CA,
    usage: x509.KeyUsage | None = None,
    days: tuple[float, float] = (-1, 3650),
    extensions: Sequence[Extension] = (),
    key: Key | None = None,
) -> Authority:
    """A certificate authority, signed by itself or by `signer`; without `identifiers` as old OpenShift made them."""
    key = key or new_key()
    issuer = subject_of(name) if signer is None else signer.certificate.subject
    every: list[Extension] = [(usage or ca_usage(), True), *extensions]
    if constraints is not None:
        every.append((constraints, True))
    if identifiers:
        every.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if signer is not None:
            above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.certificate.public_key())  # type: ignore[arg-type]
            every.append((above, False))
    signing = key if signer is None else signer.key
    return Authority(_signed(_builder(subject_of(name), issuer, key, days), every, signing, None), key, identifiers)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: tuple[float, float]) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
    )


def _signed(
    builder: x509.CertificateBuilder, extensions: Sequence[Extension], key: Key, algorithm: HashAlgorithm | None
) -> x509.Certificate:
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(key, algorithm or SHA256())  # type: ignore[arg-type]

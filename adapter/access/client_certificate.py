"""What a client certificate proves.

A TLS context trusts the CAs of clients and of front proxies alike, and says only that one of them signed. So the
certificate is verified again, against the one bundle that counts for what it is used for: a client's certificate that
happens to carry a front proxy's name is no front proxy's.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, VerificationError

from adapter.access.cache import ExpiringCache
from adapter.access.identity import User
from adapter.access.trust import CaBundle
from adapter.errors import CertificateRefused

UNREADABLE = "the client certificate cannot be read"
UNPROVEN = "the client certificate is expired, not for clients, or not signed by the CA that counts here"
MAX_INTERMEDIATES = 8
_REMEMBERED = 1_024
_MINIMUM_RSA_BITS = 2_048
_HASHES = (SHA256, SHA384, SHA512)
_HASHLESS = frozenset({SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448})
_UNDERSTOOD = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)


@dataclass(frozen=True, slots=True)
class Peer:
    """The certificate a client proved to own in the handshake, and those it sent along where Python shows them, DER."""

    certificate: bytes
    intermediates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """The subject of a verified certificate, and until when (UTC) all of its chain is valid."""

    common_name: str
    organizations: tuple[str, ...]
    until: datetime

    @property
    def user(self) -> User | None:
        """The user it names: common name, and organizations as groups; None without a common name."""
        return User(self.common_name, groups=self.organizations) if self.common_name else None


class CertificateVerifier:
    """Verifies certificates, and remembers those that are good for as long as their chains are valid."""

    def __init__(self) -> None:
        self._known = ExpiringCache[tuple[Peer, CaBundle], VerifiedCertificate](_REMEMBERED)

    def verify(self, peer: Peer, bundle: CaBundle, now: datetime) -> VerifiedCertificate:
        """As `verified`; a refusal is not remembered, so that bad certificates crowd out no good ones."""
        key = (peer, bundle)
        known = self._known.get(key, now.timestamp())
        if known is None:
            known = verified(peer, bundle, now)
            self._known.put(key, known, known.until.timestamp())
        return known


def verified(peer: Peer, bundle: CaBundle, now: datetime) -> VerifiedCertificate:
    """What the certificate proves if it chains to `bundle` at `now` (UTC) and is for clients.

    Raises `CertificateRefused`. CAs that X.509 profiles of the web refuse (no key identifiers, odd extensions) count
    too when they signed the certificate themselves.
    """
    try:
        leaf = x509.load_der_x509_certificate(peer.certificate)
        chain = _chain(leaf, peer.intermediates, bundle, now) or _issued(leaf, bundle, now)
        if chain is None:
            raise CertificateRefused(UNPROVEN)
        names = _texts(leaf, NameOID.COMMON_NAME)
        return VerifiedCertificate(
            # The last of several, as in Go's reading of subjects.
            names[-1] if names else "",
            _texts(leaf, NameOID.ORGANIZATION_NAME),
            min(each.not_valid_after_utc for each in chain),
        )
    except ValueError:
        raise CertificateRefused(UNREADABLE) from None


def _texts(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (each.value for each in certificate.subject.get_attributes_for_oid(oid))
    return tuple(value if isinstance(value, str) else value.decode() for value in values)


def _for_clients(policy: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    del policy, certificate
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is not for clients")


# A client is named by its subject, so that nothing is asked of alternative names: kubeadm's front proxy has none.
_LEAF = ExtensionPolicy.permit_all().require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_clients)
_CA = ExtensionPolicy.webpki_defaults_ca()


def _chain(
    leaf: x509.Certificate, intermediates: tuple[bytes, ...], bundle: CaBundle, now: datetime
) -> list[x509.Certificate] | None:
    """The chain from `leaf` to the bundle by the library's profile, None if there is none."""
    builder = PolicyBuilder().store(bundle.store).time(now).extension_policies(ca_policy=_CA, ee_policy=_LEAF)
    between = [x509.load_der_x509_certificate(each) for each in intermediates[:MAX_INTERMEDIATES]]
    try:
        return builder.build_client_verifier().verify(leaf, between).chain
    except VerificationError:
        return None


def _issued(leaf: x509.Certificate, bundle: CaBundle, now: datetime) -> list[x509.Certificate] | None:
    """`leaf` and the CA of the bundle that issued it directly, None if there is none.

    Asks less of a CA's form than the library's profile, and nothing less of what it proves: constraints that are not
    checked here, name constraints among them, make a certificate useless.
    """
    if not _is_current(leaf, now) or not _is_understood(leaf) or not _may_act_as_client(leaf, required=True):
        return None
    return next(([leaf, issuer] for issuer in bundle.certificates if _has_issued(leaf, issuer, now)), None)


def _has_issued(leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    return (
        leaf.issuer == issuer.subject and _is_current(issuer, now) and _may_sign(issuer) and _is_signed_by(leaf, issuer)
    )


def _is_signed_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the signature is `issuer`'s, made with a key and a hash that cannot be forged."""
    try:
        key = issuer.public_key()
        if isinstance(key, RSAPublicKey) and key.key_size < _MINIMUM_RSA_BITS:
            return False
        if leaf.signature_algorithm_oid not in _HASHLESS and not isinstance(leaf.signature_hash_algorithm, _HASHES):
            return False
        leaf.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        extensions = issuer.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, ValueError):
        return False
    usages = (each.value for each in extensions if isinstance(each.value, x509.KeyUsage))
    constrained = any(isinstance(each.value, x509.NameConstraints) for each in extensions)
    return (
        not constrained
        and _is_understood(issuer)
        and _may_act_as_client(issuer, required=False)
        and all(usage.key_cert_sign for usage in usages)
    )


def _may_act_as_client(certificate: x509.Certificate, *, required: bool) -> bool:
    """Whether its extended key usage, where there is one, covers clients; `required`: whether there must be one."""
    usages = (each.value for each in certificate.extensions if isinstance(each.value, x509.ExtendedKeyUsage))
    usage = next(usages, None)
    return not required if usage is None else ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _is_understood(certificate: x509.Certificate) -> bool:
    return all(isinstance(each.value, _UNDERSTOOD) for each in certificate.extensions if each.critical)

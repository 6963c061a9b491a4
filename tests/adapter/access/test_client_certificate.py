"""What client certificates prove, against one bundle at a time."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA224

import adapter.access.client_certificate as module
from adapter.access.client_certificate import CertificateVerifier, Peer, verified
from adapter.access.identity import User
from adapter.access.trust import CaBundle
from adapter.errors import CertificateRefused
from tests.fakes.certificates import CLIENT, NOW, SERVER, Authority, Issued, authority, ca_usage

CA = authority()
BUNDLE = CaBundle.parse(CA.pem)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
NAMES = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("example.org")])


def bundle(*authorities: Authority) -> CaBundle:
    return CaBundle.parse("".join(each.pem for each in authorities))


def test_kubeadm_s_front_proxy_certificate_without_alternative_names_is_accepted() -> None:
    leaf = CA.issue("front-proxy-client")
    assert verified(Peer(leaf.der), BUNDLE, NOW).common_name == "front-proxy-client"


def test_common_name_and_organizations_are_user_and_groups() -> None:
    leaf = CA.issue("kubernetes-admin", ["system:masters", "dev"])
    assert verified(Peer(leaf.der), BUNDLE, NOW).user == User("kubernetes-admin", groups=("system:masters", "dev"))


def test_without_a_common_name_there_is_no_user() -> None:
    assert verified(Peer(CA.issue("", ["system:masters"]).der), BUNDLE, NOW).user is None


@pytest.mark.parametrize(
    "issue",
    [
        pytest.param(lambda: CA.issue("a", usage=SERVER), id="for servers"),
        pytest.param(lambda: CA.issue("a", usage=()), id="for nothing in particular"),
        pytest.param(lambda: CA.issue("a", days=(-3, -1)), id="expired"),
        pytest.param(lambda: CA.issue("a", days=(1, 3)), id="not yet valid"),
        pytest.param(lambda: CA.issue("a", extensions=[(UNKNOWN, True)]), id="a critical extension nobody knows"),
        pytest.param(lambda: authority().issue("a"), id="another CA of the same name"),
        pytest.param(lambda: authority("other").issue("a"), id="another CA"),
        pytest.param(lambda: CA.issue("a", algorithm=SHA224()), id="a weak signature"),
        pytest.param(lambda: CA.intermediate("between").issue("a"), id="an intermediate that was not sent"),
    ],
)
def test_what_is_not_proven_is_refused(issue: Callable[[], Issued]) -> None:
    with pytest.raises(CertificateRefused, match="expired, not for clients, or not signed by"):
        verified(Peer(issue().der), BUNDLE, NOW)


def test_nonsense_is_refused() -> None:
    with pytest.raises(CertificateRefused, match="cannot be read"):
        verified(Peer(b"nonsense"), BUNDLE, NOW)


ODD = {
    "no key identifiers": lambda: authority("odd", identifiers=False),
    "basic constraints that are not critical": lambda: authority(
        "odd", constraints=None, extensions=[(x509.BasicConstraints(ca=True, path_length=None), False)]
    ),
    "an extension nobody knows": lambda: authority("odd", extensions=[(UNKNOWN, False)]),
    "an end entity's usage beside a CA's": lambda: authority(
        "odd", extensions=[(x509.ExtendedKeyUsage([*CLIENT, *SERVER]), True)], identifiers=False
    ),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in ODD.items()])
def test_cas_of_an_odd_form_count(make: Callable[[], Authority]) -> None:
    odd = make()
    leaf = odd.issue("a")
    assert verified(Peer(leaf.der), bundle(CA, odd), NOW).common_name == "a"
    for wrong in (odd.issue("a", usage=SERVER), odd.issue("a", days=(-3, -1)), odd.issue("a", usage=())):
        with pytest.raises(CertificateRefused):
            verified(Peer(wrong.der), bundle(CA, odd), NOW)


UNFIT = {
    "no CA": lambda: authority(constraints=x509.BasicConstraints(ca=False, path_length=None)),
    "no basic constraints": lambda: authority(constraints=None),
    "may not sign certificates": lambda: authority(usage=ca_usage(signs=False)),
    "expired": lambda: authority(days=(-9, -1)),
    "for servers only": lambda: authority(extensions=[(x509.ExtendedKeyUsage(list(SERVER)), False)]),
    "a critical extension nobody knows": lambda: authority(extensions=[(UNKNOWN, True)]),
    "a weak key": lambda: authority(key=rsa.generate_private_key(public_exponent=65537, key_size=1024)),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in UNFIT.items()])
def test_cas_that_prove_nothing_do_not_count(make: Callable[[], Authority]) -> None:
    unfit = make()
    with pytest.raises(CertificateRefused):
        verified(Peer(unfit.issue("a").der), bundle(unfit), NOW)


def test_constraints_on_names_are_never_passed_over() -> None:
    """Basic constraints that are not critical make the library refuse; the lenient way then must not forget these."""
    constrained = authority(
        constraints=None, extensions=[(x509.BasicConstraints(ca=True, path_length=None), False), (NAMES, False)]
    )
    with pytest.raises(CertificateRefused):
        verified(Peer(constrained.issue("a").der), bundle(constrained), NOW)


def test_a_bundle_of_several_cas_accepts_the_certificates_of_each() -> None:
    """As during a rotation, when old and new have one name."""
    old, new = authority("front-proxy-ca"), authority("front-proxy-ca")
    for signer in (old, new):
        assert verified(Peer(signer.issue("p").der), bundle(old, new), NOW).common_name == "p"
    with pytest.raises(CertificateRefused):
        verified(Peer(old.issue("p").der), bundle(new), NOW)


def test_an_intermediate_that_came_along_is_used_and_a_forged_one_is_not() -> None:
    between = CA.intermediate("between")
    leaf = between.issue("deep")
    assert verified(Peer(leaf.der, (between.der,)), BUNDLE, NOW).common_name == "deep"
    assert verified(Peer(leaf.der), bundle(between), NOW).common_name == "deep"
    forged = authority("between")
    with pytest.raises(CertificateRefused):
        verified(Peer(forged.issue("deep").der, (forged.der, between.der)), BUNDLE, NOW)
    with pytest.raises(CertificateRefused):
        verified(Peer(CA.issue("no CA").der, (b"nonsense",)), BUNDLE, NOW)


def test_a_certificate_cannot_sign_another() -> None:
    client = CA.issue("client")
    forger = Authority(client.certificate, client.key)
    with pytest.raises(CertificateRefused):
        verified(Peer(forger.issue("front-proxy-client").der, (client.der,)), BUNDLE, NOW)


def test_what_is_remembered_ends_with_the_first_certificate_of_the_chain() -> None:
    soon = authority("soon", days=(-1, 10))
    peer, trusted = Peer(soon.issue("a", days=(-1, 365)).der), bundle(soon)
    verifier = CertificateVerifier()
    assert verifier.verify(peer, trusted, NOW).until == NOW + timedelta(days=10)
    assert verifier.verify(peer, trusted, NOW + timedelta(days=9)).common_name == "a"
    with pytest.raises(CertificateRefused):
        verifier.verify(peer, trusted, NOW + timedelta(days=10, seconds=1))


def test_what_is_remembered_holds_for_one_bundle_and_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Peer] = []

    def counted(peer: Peer, trusted: CaBundle, now: object) -> module.VerifiedCertificate:
        asked.append(peer)
        return verified(peer, trusted, NOW)

    monkeypatch.setattr(module, "verified", counted)
    verifier, peer = CertificateVerifier(), Peer(CA.issue("a").der)
    for _ in range(3):
        verifier.verify(Peer(bytes(bytearray(peer.certificate))), CaBundle.parse(CA.pem), NOW)
    assert len(asked) == 1
    with pytest.raises(CertificateRefused):
        verifier.verify(peer, bundle(authority("other")), NOW)

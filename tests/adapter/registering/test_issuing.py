"""The adapter's own CA: what it signs, what is taken for it, and when it is renewed."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from adapter.registering.issuing import Authority, Subject, begun, renewal
from infscale.process.certificates import self_signed

NOW = datetime(2026, 2, 1, tzinfo=UTC)
LIFE = timedelta(days=30)
SUBJECT = Subject("s" * 63, "llm")


def test_a_certificate_is_of_its_ca_for_every_name_of_the_service_and_ends_with_the_ca() -> None:
    authority = Authority.made(NOW, LIFE)
    leaf = x509.load_pem_x509_certificate(authority.issue(SUBJECT, NOW, 2 * LIFE).certificate)
    leaf.verify_directly_issued_by(authority.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == SUBJECT.hosts
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc
    assert ssl.create_default_context(cadata=authority.pem.decode()).cert_store_stats()["x509_ca"] == 1


def test_what_was_written_is_read_again() -> None:
    authority = Authority.made(NOW, LIFE)
    read = Authority.parse(authority.pem, authority.key_pem)
    assert read.certificate == authority.certificate
    leaf = x509.load_pem_x509_certificate(read.issue(SUBJECT, NOW, LIFE).certificate)
    leaf.verify_directly_issued_by(authority.certificate)


def test_nothing_but_its_own_ca_with_its_key_is_taken() -> None:
    first, second, stranger = Authority.made(NOW, LIFE), Authority.made(NOW, LIFE), self_signed("other", NOW, LIFE)
    with pytest.raises(ValueError, match="do not belong together"):
        Authority.parse(first.pem, second.key_pem)
    with pytest.raises(ValueError, match="it is not of infscale adapter CA"):
        Authority.parse(stranger.certificate, stranger.key)
    with pytest.raises(ValueError):  # noqa: PT011 # the words are the library's
        Authority.parse(b"nonsense", first.key_pem)


def test_two_thirds_of_a_life_from_when_it_was_made_a_successor_is_due() -> None:
    certificate = Authority.made(NOW, LIFE).certificate
    assert begun(certificate) == NOW
    assert renewal(certificate) == NOW + LIFE * 2 / 3

"""Reading the ConfigMap that says whom the cluster trusts."""

import pytest

from adapter.access.request_header import IdentityHeaders
from adapter.access.trust import CaBundle, Trust, parse_trust
from adapter.errors import TrustError
from tests.fakes.certificates import authority

CA, PROXY_CA, OTHER_CA = (authority(name).pem for name in ("kubernetes", "front-proxy-ca", "other"))
FULL = {
    "client-ca-file": CA,
    "requestheader-client-ca-file": PROXY_CA,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-uid-headers": '["X-Remote-Uid"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}


def test_a_config_map_as_the_api_server_writes_it_is_read() -> None:
    trust = parse_trust(FULL)
    assert trust.client_ca == CaBundle.parse(CA)
    assert trust.proxy is not None
    assert trust.proxy.ca == CaBundle.parse(PROXY_CA)
    assert trust.proxy.headers == IdentityHeaders(
        ("X-Remote-User",), ("X-Remote-Group",), ("X-Remote-Uid",), ("X-Remote-Extra-",)
    )
    assert trust.proxy.allows("front-proxy-client")
    assert not trust.proxy.allows("aggregator")


@pytest.mark.parametrize(
    ("names", "allows_any", "allows_empty"),
    [(None, True, True), ("", True, True), ("[]", True, True), ('[""]', False, True), ('["a"]', False, False)],
)
def test_an_empty_list_of_names_allows_any_and_a_list_of_an_empty_name_does_not(
    names: str | None, allows_any: bool, allows_empty: bool
) -> None:
    data = {key: value for key, value in FULL.items() if key != "requestheader-allowed-names"}
    proxy = parse_trust(data if names is None else {**data, "requestheader-allowed-names": names}).proxy
    assert proxy is not None
    assert (proxy.allows("anybody"), proxy.allows("")) == (allows_any, allows_empty)


def test_missing_keys_trust_nobody() -> None:
    """Without its CA there is no front proxy, whatever the other keys say; without header names it can say nothing."""
    assert parse_trust({}) == Trust()
    assert (
        parse_trust({key: value for key, value in FULL.items() if key != "requestheader-client-ca-file"}).proxy is None
    )
    proxy = parse_trust({"requestheader-client-ca-file": PROXY_CA}).proxy
    assert proxy is not None
    assert proxy.headers == IdentityHeaders()


def test_an_empty_prefix_does_not_make_every_header_an_identity() -> None:
    proxy = parse_trust({**FULL, "requestheader-extra-headers-prefix": '[""]'}).proxy
    assert proxy is not None
    assert proxy.headers.extra_prefixes == ()


def test_a_bundle_holds_every_readable_certificate_once() -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = CaBundle.parse(f"# the old one\n{CA}\r\n{broken}{OTHER_CA}{CA}")
    assert len(bundle.certificates) == 2
    assert bundle == CaBundle.parse(CA + OTHER_CA)
    assert bundle != CaBundle.parse(CA)


def test_tls_gets_the_cas_of_both_kinds_of_clients() -> None:
    assert CaBundle.parse(parse_trust(FULL).ca_pem) == CaBundle.parse(CA + PROXY_CA)
    assert parse_trust({"client-ca-file": CA, "requestheader-client-ca-file": CA}).ca_pem == CaBundle.parse(CA).pem
    assert Trust().ca_pem == ""


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("client-ca-file", "nonsense", "client-ca-file: it holds no readable certificate"),
        ("requestheader-client-ca-file", "nonsense", "requestheader-client-ca-file: it holds no readable"),
        ("requestheader-allowed-names", "front-proxy-client", "allowed-names: a JSON array of strings is expected"),
        ("requestheader-allowed-names", '{"a": 1}', "allowed-names: a JSON array of strings is expected"),
        ("requestheader-username-headers", '["a", 1]', "username-headers: a JSON array of strings is expected"),
    ],
)
def test_what_cannot_be_read_is_named(key: str, value: str, problem: str) -> None:
    with pytest.raises(TrustError, match=problem):
        parse_trust({**FULL, key: value})

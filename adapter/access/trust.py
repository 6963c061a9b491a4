"""The authorities that the cluster trusts: its ConfigMap ``kube-system/extension-apiserver-authentication`` as a value.

The API server keeps it up to date. Lists in it are JSON arrays in strings, and any key may be absent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson
from cryptography import x509
from cryptography.x509.verification import Store

from adapter.access.request_header import IdentityHeaders
from adapter.errors import TrustError

CLIENT_CA = "client-ca-file"
PROXY_CA = "requestheader-client-ca-file"
ALLOWED_NAMES = "requestheader-allowed-names"
USER_HEADERS = "requestheader-username-headers"
GROUP_HEADERS = "requestheader-group-headers"
UID_HEADERS = "requestheader-uid-headers"
EXTRA_PREFIXES = "requestheader-extra-headers-prefix"

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class CaBundle:
    """Certificates any of which may vouch for a client; two bundles are the same when their texts are."""

    pem: str = field(repr=False)
    certificates: tuple[x509.Certificate, ...] = field(compare=False, repr=False)
    store: Store = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> "CaBundle":
        """The readable certificates of a PEM text, without what else it says. Raises `TrustError` if there are none."""
        found: dict[str, x509.Certificate] = {}
        for block in _CERTIFICATE.findall(text):
            # One that cannot be read verifies no client, and must not silence the others.
            try:
                found[block] = x509.load_pem_x509_certificate(block.encode())
            except ValueError:
                continue
        if not found:
            raise TrustError("it holds no readable certificate")
        certificates = tuple(found.values())
        return cls("\n".join((*found, "")), certificates, Store(list(certificates)))


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Which front proxies may name users: those with a certificate of `ca` and a listed common name (none: any)."""

    ca: CaBundle
    headers: IdentityHeaders
    allowed_names: tuple[str, ...] = ()

    def allows(self, common_name: str) -> bool:
        """Whether a certificate of that common name may speak for others."""
        return not self.allowed_names or common_name in self.allowed_names


@dataclass(frozen=True, slots=True)
class Trust:
    """Which client certificates mean what at one moment. None: the cluster has no such clients."""

    client_ca: CaBundle | None = None
    proxy: FrontProxy | None = None

    @property
    def ca_pem(self) -> str:
        """Every CA in one PEM text, for a TLS context to ask certificates of; it does not say what they are for."""
        bundles = (self.client_ca, None if self.proxy is None else self.proxy.ca)
        return "".join(dict.fromkeys(each.pem for each in bundles if each is not None))


def parse_trust(data: Mapping[str, str]) -> Trust:
    """The trust that the ConfigMap's `data` describes. Raises `TrustError`, which names the key."""
    client_ca, proxy_ca = _bundle(data, CLIENT_CA), _bundle(data, PROXY_CA)
    if proxy_ca is None:
        return Trust(client_ca)
    # An empty header name matches nothing, and an empty prefix would match every header.
    headers = IdentityHeaders(
        *(tuple(filter(None, _texts(data, key))) for key in (USER_HEADERS, GROUP_HEADERS, UID_HEADERS, EXTRA_PREFIXES))
    )
    return Trust(client_ca, FrontProxy(proxy_ca, headers, _texts(data, ALLOWED_NAMES)))


def _bundle(data: Mapping[str, str], key: str) -> CaBundle | None:
    text = data.get(key, "")
    if not text.strip():
        return None
    try:
        return CaBundle.parse(text)
    except TrustError as error:
        raise TrustError(f"{key}: {error}") from None


def _texts(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    text = data.get(key, "")
    if not text.strip():
        return ()
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise TrustError(f"{key}: a JSON array of strings is expected")
    return tuple(cast("list[str]", found))

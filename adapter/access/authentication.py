"""The caller of a request, and its proof: a front proxy's word, a client certificate, a bearer token, or nothing."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import MultiMapping

from adapter.access.cache import SharedAnswers
from adapter.access.client_certificate import CertificateVerifier, Peer
from adapter.access.identity import ANONYMOUS, User, authenticated
from adapter.access.reviews import Reviews
from adapter.access.trust import FrontProxy, Trust
from adapter.api.documents import Clock
from adapter.errors import CertificateRefused, Unauthorized
from infscale.kube.api.errors import Forbidden, KubeError

TOKEN_REVIEW_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 # a path
TRUST_UNREAD = "the ConfigMap kube-system/extension-apiserver-authentication was not read yet"
HEADERS_WITHOUT_USER = "the identity headers name no user"
UNPRINTABLE_IDENTITY = "the identity headers are not UTF-8"
NAMELESS_CERTIFICATE = "the client certificate names no user"
NO_CLIENT_CA = "the cluster has no CA for clients, and no identity headers came with the certificate"
INVALID_TOKEN = "the bearer token is not valid"  # noqa: S105 # a message
TOKEN_UNCHECKED = "the API server could not be asked about a bearer token"  # noqa: S105 # a message
TOKEN_NOT_OURS = "the adapter may not create TokenReviews: bind it to the ClusterRole system:auth-delegator"  # noqa: S105
_REMEMBERED_TOKENS = 1_024
_LIFETIME_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of its caller: its headers, and the certificate its connection proved."""

    headers: MultiMapping[str]
    peer: Peer | None = None


class Authenticator:
    """Finds the caller. Raises `Unauthorized` for a claim that is not proven; without a claim it is anonymous."""

    def __init__(self, tokens: "TokenReviewer") -> None:
        self._tokens = tokens
        self._certificates = CertificateVerifier()

    async def user(self, caller: Caller, trust: Trust | None, clock: Clock) -> User:
        """The user that asks, by the first proof there is; None as `trust`: not known yet."""
        refused: CertificateRefused | None = None
        if caller.peer is not None:
            try:
                return authenticated(self._certified(caller.headers, caller.peer, trust, clock))
            except CertificateRefused as error:
                refused = error
        token = bearer_token(caller.headers)
        if token:
            return authenticated(await self._tokens.user(token))
        if refused is not None:
            raise Unauthorized(str(refused))
        return ANONYMOUS

    def _certified(self, headers: MultiMapping[str], peer: Peer, trust: Trust | None, clock: Clock) -> User:
        """The user a certificate proves, its own or the one it speaks for.

        Raises `Unauthorized` when identity headers came along and may not be believed, else `CertificateRefused`.
        """
        if trust is None:
            raise CertificateRefused(TRUST_UNREAD)
        proxy = trust.proxy
        if proxy is not None:
            user = proxy.headers.user_of(headers)
            if user is not None:
                self._check_proxy(proxy, peer, clock)
                return _printable(user)
            if proxy.headers.any_in(headers):
                raise Unauthorized(HEADERS_WITHOUT_USER)
        if trust.client_ca is None:
            raise CertificateRefused(NO_CLIENT_CA)
        own = self._certificates.verify(peer, trust.client_ca, clock.utc).user
        if own is None:
            raise CertificateRefused(NAMELESS_CERTIFICATE)
        return own

    def _check_proxy(self, proxy: FrontProxy, peer: Peer, clock: Clock) -> None:
        """Never falls through to the certificate's own name: the sender of these headers claims another user."""
        try:
            name = self._certificates.verify(peer, proxy.ca, clock.utc).common_name
        except CertificateRefused as error:
            raise Unauthorized(f"identity headers came, but {error}") from None
        if not proxy.allows(name):
            allowed = ", ".join(proxy.allowed_names)
            raise Unauthorized(
                f"identity headers came with a certificate whose name is not allowed; allowed: {allowed}"
            )


def bearer_token(headers: MultiMapping[str]) -> str:
    """The bearer token, empty if there is none."""
    scheme, _, rest = headers.get("Authorization", "").strip().partition(" ")
    return rest.partition(" ")[0] if scheme.lower() == "bearer" else ""


class TokenReviewer:
    """Asks the cluster whose token one is; remembers the answer for 10 s by the token's digest, never the token."""

    def __init__(self, reviews: Reviews, clock: Callable[[], float]) -> None:
        self._reviews = reviews
        self._answers = SharedAnswers[bytes, User | str](_REMEMBERED_TOKENS, _LIFETIME_SECONDS, clock)

    async def user(self, token: str) -> User:
        """The user the token proves. Raises `Unauthorized`, also when the cluster cannot be asked."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        try:
            answer = await self._answers.get(digest, lambda: self._review(token))
        except Forbidden:
            raise Unauthorized(TOKEN_NOT_OURS) from None
        except KubeError:
            raise Unauthorized(TOKEN_UNCHECKED) from None
        if isinstance(answer, str):
            raise Unauthorized(answer)
        return answer

    async def _review(self, token: str) -> User | str:
        if not _is_text(token):
            return INVALID_TOKEN
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status = await self._reviews.ask(TOKEN_REVIEW_PATH, body)
        user = status.get("user")
        if status.get("authenticated") is not True or not isinstance(user, dict):
            return INVALID_TOKEN
        return _reviewed_user(user) or INVALID_TOKEN


def _reviewed_user(user: Mapping[str, Any]) -> User | None:
    name = user.get("username")
    if not isinstance(name, str) or not name:
        return None
    extra = user.get("extra") or {}
    return User(
        name,
        str(user.get("uid") or ""),
        tuple(map(str, user.get("groups") or ())),
        tuple((str(key), tuple(map(str, values or ()))) for key, values in extra.items()),
    )


def _printable(user: User) -> User:
    """`user`, if it can be passed on."""
    texts = (user.name, user.uid, *user.groups, *(text for key, values in user.extra for text in (key, *values)))
    if not all(map(_is_text, texts)):
        raise Unauthorized(UNPRINTABLE_IDENTITY)
    return user


def _is_text(text: str) -> bool:
    """Whether `text` is Unicode throughout; header bytes that were none come as surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

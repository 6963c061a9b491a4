"""Access to the adapter: authentication, then authorization, on the same request that is answered."""

import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from adapter.access.authentication import Authenticator, Caller, TokenReviewer
from adapter.access.authorization import Authorizer
from adapter.access.request_attributes import Asked, Attributes, PathAttributes, attributes_of
from adapter.access.reviews import Reviews
from adapter.access.trust import Trust
from adapter.access.trust_watch import TrustFollower
from adapter.api.documents import Clock
from adapter.api.paths import Probe
from adapter.errors import ApiError, Unauthorized
from infscale.kube.api.verbs import Creates, Follows
from infscale.process.tasks import running

ALWAYS_ALLOWED = frozenset(probe.value for probe in Probe)
"""Paths that every client may ask for, answered before anything is proven: probes may not wait for the API server."""

_ANONYMOUS_AT_ONCE = 8
_TOKENS_AT_ONCE = 16
_QUIET_SECONDS = 60.0
_MAX_CAUSES = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """The admitted user and the request's attributes; both None where no identity was asked for."""

    user: str | None = None
    attributes: Attributes | None = None


OPEN = Admission()


class Access(Protocol):
    """Decides whether a request may be answered."""

    async def admit(self, caller: Caller, asked: Asked) -> Admission:
        """Return if it may. Raises `Unauthorized`, `Forbidden`, or `InternalError` when the cluster does not say."""
        ...


class ClusterAccess:
    """Admits what the cluster admits. `trust` gives the authorities it trusts now, None while they are not known."""

    def __init__(
        self, client: Creates, trust: Callable[[], Trust | None], clock: Callable[[], Clock], rng: random.Random
    ) -> None:
        def monotonic() -> float:
            return clock().monotonic

        tokens, anonymous = (Reviews(client, rng, at_once=most) for most in (_TOKENS_AT_ONCE, _ANONYMOUS_AT_ONCE))
        self._authenticator = Authenticator(TokenReviewer(tokens, monotonic))
        self._authorizer = Authorizer(Reviews(client, rng), anonymous, monotonic)
        self.trust = trust
        self._clock = clock
        self._said: dict[str, float] = {}

    async def admit(self, caller: Caller, asked: Asked) -> Admission:
        """As `Access.admit`; health paths cost nothing."""
        attributes = attributes_of(asked)
        if isinstance(attributes, PathAttributes) and attributes.path in ALWAYS_ALLOWED:
            return OPEN
        clock = self._clock()
        name: str | None = None
        try:
            user = await self._authenticator.user(caller, self.trust(), clock)
            name = user.name
            await self._authorizer.check(user, attributes)
        except ApiError as error:
            if isinstance(error, Unauthorized):
                self._say(error.cause, clock.monotonic)
            audit(Admission(name, attributes), asked, error.code)
            raise
        return Admission(name, attributes)

    def _say(self, cause: str, now: float) -> None:
        """Log why callers are refused, each cause once in a while; clients are not told."""
        if now - self._said.get(cause, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        if len(self._said) >= _MAX_CAUSES:
            self._said.clear()
        self._said[cause] = now
        _log.warning("requests are refused as unauthorized: %s", cause)


def audit(admission: Admission, asked: Asked, code: int) -> None:
    """Note user, request and outcome at debug level; a path that is none of ours is not repeated."""
    attributes = admission.attributes
    if attributes is None or not _log.isEnabledFor(logging.DEBUG):
        return
    subject = "other" if asked.request is None else attributes.subject
    fields = {"user": admission.user, "verb": attributes.verb, "resource": subject, "code": code}
    _log.debug("request", extra={"fields": fields})


class AsksCluster(Creates, Follows, Protocol):
    """All of the cluster's API that access needs."""


@asynccontextmanager
async def cluster_access(
    client: AsksCluster, use: Callable[[Trust], None], clock: Callable[[], Clock], rng: random.Random
) -> AsyncGenerator[ClusterAccess]:
    """Access as `client`'s cluster grants it. `use` gets every new trust, for TLS to ask for its certificates.

    It works from the start: until the cluster names its authorities, certificates are refused and the rest goes on.
    """

    follower = TrustFollower(client, use, rng)
    async with running(follower.follow()):
        yield ClusterAccess(client, lambda: follower.trust, clock, rng)

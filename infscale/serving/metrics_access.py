"""Access to ``/metrics`` from other machines: the cluster decides, and is asked as the adapter asks it."""

import asyncio
import random
from datetime import UTC, datetime

from aiohttp import web

from adapter.access.authentication import Authenticator, Caller, TokenReviewer
from adapter.access.authorization import Authorizer
from adapter.access.request_access import ClusterAccess
from adapter.access.request_attributes import Asked
from adapter.access.reviews import Reviews
from adapter.api.documents import Clock
from adapter.errors import ApiError
from infscale.kube.api.verbs import Creates

_TOKENS_AT_ONCE = 16
_ANONYMOUS_AT_ONCE = 8


class MetricsAccess:
    """Admits a request whose bearer token the cluster knows (TokenReview) and to whose user it allows the path
    (SubjectAccessReview).

    Answers hold for 10 s. Client certificates prove nothing here: the page is served in plain text.
    """

    def __init__(self, client: Creates, rng: random.Random) -> None:
        authenticator = Authenticator(TokenReviewer(Reviews(client, rng, at_once=_TOKENS_AT_ONCE), _monotonic))
        authorizer = Authorizer(Reviews(client, rng), Reviews(client, rng, at_once=_ANONYMOUS_AT_ONCE), _monotonic)
        self._access = ClusterAccess(authenticator, authorizer, lambda: None, _clock)

    async def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The refusal of a request; None: the request may be answered."""
        try:
            await self._access.admit(Caller(request.headers), Asked(request.method, request.path, None))
        except ApiError as error:
            return web.Response(status=error.code, text=f"{error}\n")
        return None


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _clock() -> Clock:
    return Clock(_monotonic(), datetime.now(UTC))

"""Access to ``/metrics`` from other machines: the cluster decides, and is asked as the adapter asks it."""

import asyncio
import random
from datetime import UTC, datetime

from aiohttp import web

from adapter.access.authentication import Caller
from adapter.access.request_access import ClusterAccess
from adapter.access.request_attributes import Asked
from adapter.api.documents import Clock
from adapter.errors import ApiError
from infscale.kube.api.verbs import Creates


class MetricsAccess:
    """Admits a request whose bearer token the cluster knows (TokenReview) and to whose user it allows the path
    (SubjectAccessReview).

    Answers hold for 10 s. Client certificates prove nothing here: the page is served in plain text.
    """

    def __init__(self, client: Creates, rng: random.Random) -> None:
        self._access = ClusterAccess(client, lambda: None, _clock, rng)

    async def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The refusal of a request; None: the request may be answered."""
        try:
            await self._access.admit(Caller(request.headers), Asked(request.method, request.path, None))
        except ApiError as error:
            return web.Response(status=error.code, text=f"{error}\n")
        return None


def _clock() -> Clock:
    return Clock(asyncio.get_running_loop().time(), datetime.now(UTC))

"""Questions to the API server: the user of a token, and the rights of a user.

Both are asked by creating a review, which needs the rights of the ClusterRole ``system:auth-delegator``.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from infscale.backoff import Backoff
from infscale.kube.api.errors import Unreachable
from infscale.kube.api.verbs import Creates, JsonObject
from infscale.kube.rights import rights

_BACKOFF = Backoff(base_seconds=0.5, factor=1.5, cap_seconds=3.0)

REVIEW_NEEDS = rights(("create",), "authentication.k8s.io", "tokenreviews") | rights(
    ("create",), "authorization.k8s.io", "subjectaccessreviews"
)
"""What asking takes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one review may take with all its tries, and how long to wait between them."""

    limit_seconds: float = 10.0
    tries: int = 5
    backoff: Backoff = _BACKOFF


class Reviews:
    """Creates reviews, at most `at_once` of them at a time; the others wait within their time."""

    def __init__(self, client: Creates, rng: random.Random, patience: Patience = Patience(), at_once: int = 64) -> None:
        self._client = client
        self._rng = rng
        self._patience = patience
        self._places = asyncio.Semaphore(at_once)

    async def ask(self, path: str, body: JsonObject) -> Mapping[str, Any]:
        """The `status` of the review `body`, tried again while no answer comes.

        Raises `KubeError`, `Unreachable` also when the time is over.
        """
        patience, last = self._patience, Unreachable("the API server did not answer in time")
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.limit_seconds) as limit, self._places:
                for attempt in range(patience.tries):
                    try:
                        return _status(await self._client.create(path, body))
                    except Unreachable as error:
                        last = error
                    wait = max(patience.backoff.delay(attempt, self._rng), last.retry_after_seconds or 0.0)
                    if attempt + 1 == patience.tries or _is_over_after(limit, wait):
                        break
                    await asyncio.sleep(wait)
        raise last


def _is_over_after(limit: asyncio.Timeout, wait: float) -> bool:
    """Whether nothing can be asked any more after `wait` seconds, so that waiting only keeps the caller."""
    end = limit.when()
    return end is not None and asyncio.get_running_loop().time() + wait >= end


def _status(review: JsonObject) -> Mapping[str, Any]:
    status = review.get("status")
    return status if isinstance(status, dict) else {}

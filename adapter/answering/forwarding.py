"""Asks another adapter, through the API server, for the custom metrics that infscale does not know."""

import asyncio
import enum
import logging
from collections import Counter
from collections.abc import Callable

from adapter.answering.refusals import subject
from adapter.api.foreign import LIST_PATH, ForeignMetric, NotAList, converted, question, read_names
from adapter.api.paths import CustomVersion, ObjectRequest
from adapter.errors import ApiError, BadRequest, Unavailable
from infscale.kube.api.errors import Forbidden, KubeError, NotFound, Rejected, Unreachable
from infscale.kube.api.verbs import Gets
from infscale.kube.rights import rights

_MAX_AT_ONCE = 64

_log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """What became of a request that was passed on."""

    ANSWERED = "answered"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    FAILED = "failed"


FORWARDING_NEEDS = rights(("get",), "custom.metrics.k8s.io", "*")
"""What asking another adapter takes."""


class Forwarder:
    """Passes requests on where `is_wanted`, `at_once` at a time; guards how many are under way, and what the other
    adapter lists.

    `client` has limits for patience and size. The user was authorized before; infscale asks with its own rights.
    """

    def __init__(self, client: Gets, is_wanted: Callable[[], bool], at_once: int = _MAX_AT_ONCE) -> None:
        self._client = client
        self._at_once = at_once
        self._is_wanted = is_wanted
        self._under_way = 0
        self._said: str | None = None
        self.names: tuple[ForeignMetric, ...] = ()
        """What the other adapter lists, as it was last read."""
        self.outcomes: Counter[Outcome] = Counter()
        """Requests that were passed on, by what became of them."""

    async def answer(self, request: ObjectRequest) -> bytes | None:
        """The other adapter's `MetricValueList`; None where it does not know the metric, or none is to be asked.

        Raises `Unavailable` with the cause where it does not answer, and `BadRequest` with its words.
        """
        if request.version is not CustomVersion.V1BETA2 or not self._is_wanted():
            return None
        outcome = Outcome.FAILED
        try:
            if self._under_way >= self._at_once:
                raise _unavailable(request, f"{self._under_way} requests wait for it already")
            self._under_way += 1
            try:
                found = await self._asked(request)
            finally:
                self._under_way -= 1
            outcome = Outcome.UNKNOWN if found is None else Outcome.ANSWERED
        except BadRequest:
            outcome = Outcome.REFUSED
            raise
        finally:
            self.outcomes[outcome] += 1
        return found

    async def _asked(self, request: ObjectRequest) -> bytes | None:
        path, params = question(request)
        try:
            return converted(await self._client.get(path, params))
        except NotFound:
            return None
        except Rejected as error:
            raise BadRequest(f"the adapter that serves v1beta1 refuses it: {error}") from None
        except (KubeError, NotAList) as error:
            raise _unavailable(request, cause_of(error)) from None

    async def refresh(self) -> bool:
        """Read what the other adapter lists; says whether that changed. What goes wrong is logged, once per cause."""
        before = self.names
        if not self._is_wanted():
            self.names = ()
            return before != ()
        try:
            self.names = read_names(await self._client.get(LIST_PATH, {}))
        except NotFound:
            self.names = ()
        except (KubeError, NotAList) as error:
            words = cause_of(error)
            if words != self._said:
                _log.warning("what the adapter of %s lists cannot be read: %s", LIST_PATH, words)
            self._said = words
            return False
        self._said = None
        return before != self.names

    def knows(self, metric: str) -> bool:
        """Whether the other adapter lists a metric of this name."""
        return any(each.metric == metric for each in self.names)


def cause_of(error: KubeError | NotAList) -> str:
    """Why another adapter did not answer, for people."""
    if isinstance(error, Forbidden):
        return f"infscale may not ask for it: allow it get on custom.metrics.k8s.io ({error})"
    if isinstance(error, Unreachable):
        return f"it does not answer ({error})"
    return f"its answer is not used: {error}"


def _unavailable(request: ObjectRequest, cause: str) -> ApiError:
    return Unavailable(
        f"the metric {request.metric} for {subject(request)} is unknown to infscale, and the adapter that serves "
        f"v1beta1 was asked: {cause}"
    )


async def following(forwarder: Forwarder, seconds: float, changed: Callable[[tuple[ForeignMetric, ...]], None]) -> None:
    """Read every so many `seconds` what the other adapter lists, and tell of changes, until cancelled."""
    while True:
        if await forwarder.refresh():
            changed(forwarder.names)
        await asyncio.sleep(seconds)

"""What is known ahead of time of a queue: when a request would have its turn, and when it is worth coming back."""

from collections.abc import Iterable
from typing import Final

from infscale.endpoint import Endpoint
from picker.flow.flow_queue import FlowQueue
from picker.flow.forecasting.drain import Drain
from picker.flow.forecasting.readiness import Readiness
from picker.flow.forecasting.throughput import Throughput
from picker.flow.lanes import EVERYWHERE
from picker.flow.waiting import Waiting

LEAST_RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 600.0


class Forecast:
    """Watches one queue, and the endpoints that it is for."""

    def __init__(self, queue: FlowQueue) -> None:
        self._queue = queue
        self._drain = Drain()
        self._throughput = Throughput()
        self._readiness = Readiness()

    def follow(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """The endpoints of the pool have changed."""
        self._readiness.follow(endpoints, now)

    def passed(self, work_seconds: float, now: float) -> None:
        """So much work has gone that did not have to wait."""
        self._drain.left(work_seconds, now)

    def left(self, waiting: Waiting, lane: str | None, work_seconds: float, now: float) -> None:
        """A request has gone that waited in this lane, for `work_seconds` as it turned out."""
        self._drain.left(work_seconds, now)
        if lane == EVERYWHERE:
            self._throughput.left(waiting.cost_seconds)

    def watch(self, ready: int, now: float) -> None:
        """What waits, or how many endpoints are `ready`, has changed."""
        self._throughput.watch(now, self._queue.waits_in(EVERYWHERE), ready)

    def wait_seconds(self, waiting: Waiting, lane: str, soonest_seconds: float, ready: int) -> float:
        """How long a request of this lane that comes now will wait, as far as is known: not less than this.

        None of its endpoints has room before `soonest_seconds`. What certainly goes before it takes as long as such
        work took of late; what may or may not is not counted.
        """
        if lane != EVERYWHERE:
            return soonest_seconds
        queue, priority = self._queue, waiting.priority
        own, above = queue.work.before(waiting, lane), queue.work.above(priority, lane)
        share = queue.shares.share(priority)
        work = min(own + above, own / share) if share else own + above
        return max(soonest_seconds, self._throughput.seconds_for(work, ready) or 0.0)

    def retry_seconds(self, priority: int, ready: int, now: float) -> float:
        """When it is worth coming back for a request of a band that is refused now, with so many endpoints `ready`.

        Without endpoints that is when the next one is ready; else when what waits ahead has left, or an endpoint that
        starts is ready before that.
        """
        starts = self._readiness.seconds(now)
        if not ready:
            return _bounded(starts)
        ahead = sum([self._queue.band(each).seconds for each in self._queue.priorities if each >= priority])
        seconds = self._throughput.seconds_for(ahead, ready) or self._drain.seconds_for(ahead, now)
        if starts is not None and self._readiness.starting:
            seconds = starts if seconds is None else min(seconds, starts)
        return _bounded(seconds)


def _bounded(seconds: float | None) -> float:
    return min(max(seconds or 0.0, LEAST_RETRY_SECONDS), MOST_RETRY_SECONDS)

"""The work that waits in each lane, and how much of it goes before a request that comes."""

from typing import Final

from picker.flow.waiting import Waiting

_BUCKET_SECONDS: Final = 0.5
"""What is due within one such step of time is taken for due at once."""

_Sum = tuple[int, float]
"""Requests, and the GPU seconds that they are to take."""
_NOTHING: Final[_Sum] = 0, 0.0


class LaneWork:
    """GPU seconds that requests which wait are estimated to take: by lane and band, and by flow and when it is due."""

    def __init__(self) -> None:
        self._bands: dict[str, dict[int, _Sum]] = {}
        self._flows: dict[tuple[int, str, str], dict[int, _Sum]] = {}

    def enter(self, waiting: Waiting, lane: str) -> None:
        """A request waits in this lane."""
        _more(self._bands.setdefault(lane, {}), waiting.priority, waiting.cost_seconds)
        flow = waiting.priority, waiting.flow, lane
        _more(self._flows.setdefault(flow, {}), _bucket(waiting), waiting.cost_seconds)

    def leave(self, waiting: Waiting, lane: str) -> None:
        """It does so no longer."""
        bands = self._bands[lane]
        _less(bands, waiting.priority, waiting.cost_seconds)
        if not bands:
            del self._bands[lane]
        flow = waiting.priority, waiting.flow, lane
        buckets = self._flows[flow]
        _less(buckets, _bucket(waiting), waiting.cost_seconds)
        if not buckets:
            del self._flows[flow]

    def above(self, priority: int, lane: str) -> float:
        """What waits in this lane in higher bands."""
        bands = self._bands.get(lane, {})
        return sum([seconds for band, (_, seconds) in bands.items() if band > priority])

    def before(self, waiting: Waiting, lane: str) -> float:
        """What of its own flow waits in this lane and is certainly due before the request."""
        bucket = _bucket(waiting)
        buckets = self._flows.get((waiting.priority, waiting.flow, lane), {})
        return sum([seconds for each, (_, seconds) in buckets.items() if each < bucket])


def _more(sums: dict[int, _Sum], key: int, work_seconds: float) -> None:
    count, seconds = sums.get(key, _NOTHING)
    sums[key] = count + 1, seconds + work_seconds


def _less(sums: dict[int, _Sum], key: int, work_seconds: float) -> None:
    count, seconds = sums[key]
    if count > 1:
        sums[key] = count - 1, seconds - work_seconds
    else:
        # What sums of fractions leave over goes with the last.
        del sums[key]


def _bucket(waiting: Waiting) -> int:
    return int(min(waiting.due_at, 1e12) // _BUCKET_SECONDS)

"""What is derived from the labels of a pool's endpoints, computed once per set of endpoints."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import PoolSnapshot

T = TypeVar("T")

# One configuration serves several pools, and a pool's endpoints change one snapshot at a time.
_KEPT = 8


class ByEndpoints(Generic[T]):
    """Remembers `derive` of the last few sets of endpoints.

    Labels change only with the set, so that a decision costs an identity test. What is remembered is a function of the
    endpoints alone: stages that hold one stay repeatable from their inputs.
    """

    def __init__(self, derive: Callable[[tuple[Endpoint, ...]], T]) -> None:
        self._derive = derive
        self._known: deque[tuple[tuple[Endpoint, ...], T]] = deque(maxlen=_KEPT)

    def of(self, snapshot: PoolSnapshot) -> T:
        """What follows from the endpoints of `snapshot`."""
        endpoints = snapshot.endpoints
        for known, value in self._known:
            if known is endpoints:
                return value
        value = self._derive(endpoints)
        self._known.appendleft((endpoints, value))
        return value


def positive_number(labels: Mapping[str, str], key: str) -> float | None:
    """The label's value as a finite number above 0, None where it is absent or something else."""
    try:
        value = float(labels[key])
    except (KeyError, ValueError):
        return None
    return value if 0 < value < float("inf") else None

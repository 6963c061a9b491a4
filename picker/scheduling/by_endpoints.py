"""What is derived from the labels of a pool's endpoints, computed once per set of endpoints."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
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


def numbers_of(endpoints: Iterable[Endpoint], label: str) -> FloatArray:
    """The label of each endpoint as a number, NaN where it is absent or no finite number."""
    return np.array([_number(each.labels.get(label)) for each in endpoints], dtype=np.float64)


def _number(text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan

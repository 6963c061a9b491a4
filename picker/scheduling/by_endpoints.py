"""What is derived from the labels of a pool's endpoints, computed once per set of endpoints."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot

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


class LabelledRows:
    """Which endpoints of a set have which labels."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        self._masks: dict[tuple[tuple[str, str], ...], BoolArray] = {}

    def among(self, labels: Mapping[str, str], rows: IntArray) -> IntArray:
        """The rows among `rows` whose endpoints have all of `labels`, in their order."""
        key = tuple(sorted(labels.items()))
        mask = self._masks.get(key)
        if mask is None:
            has = [labels.items() <= each.labels.items() for each in self._endpoints]
            mask = self._masks[key] = np.array(has, dtype=np.bool_)
        return rows[mask[rows]]


def numbers_of(endpoints: Iterable[Endpoint], label: str) -> FloatArray:
    """The label of each endpoint as a number, NaN where it is absent or no finite number."""
    return np.array([_number(each.labels.get(label)) for each in endpoints], dtype=np.float64)


def _number(text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan

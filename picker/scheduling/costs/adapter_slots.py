"""LoRA adapters as a cost: what a request waits for where the batch does not have its adapter.

A batch mixes so many adapters (`LoraState.max_adapters`). A request whose adapter is among them waits for nothing, one
that finds a free slot has its adapter loaded, and one that finds none waits until the answers of another adapter have
ended. The more slots are taken, the likelier the next request of another adapter finds none, so that a new slot has a
price before the last one is gone.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np

from infscale.memo import MemoKey
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import PoolSnapshot

LOAD_SECONDS: Final = 0.1
"""What loading an adapter of usual size takes."""

MOST_NAMES: Final = 16_384

_FOLLOWED: Final = MemoKey[bool]("adapters are followed")


class AdapterNames:
    """The models that pages have named as LoRA adapters of a pool, `MOST_NAMES` at most.

    One that is idle everywhere may be named by no page until it is asked for again; it stays known.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __contains__(self, model: str) -> bool:
        return model in self._names

    @property
    def names(self) -> AbstractSet[str]:
        """All of them."""
        return self._names

    def follow(self, snapshot: PoolSnapshot) -> None:
        """Learn what pages say now; looked at once for each state of the store."""
        derived = snapshot.state.derived
        if derived.get(_FOLLOWED) is not None:
            return
        derived.keep(_FOLLOWED, True)
        for state in snapshot.columns.lora:
            if state is not None:
                self.learn(state.running)
                self.learn(state.waiting)
                self.learn(state.loaded)

    def in_flight(self, snapshot: PoolSnapshot, model: str) -> Sequence[tuple[str, ...]]:
        """For each row the adapters of requests in flight; of no row where `model` is not known to be one itself."""
        if model not in self._names:
            return ()
        return [tuple(each.keys() & self._names) for each in snapshot.in_flight_by_model]

    def learn(self, names: frozenset[str]) -> None:
        """These are adapters, too."""
        if not names <= self._names and len(self._names | names) <= MOST_NAMES:
            self._names |= names


def adapter_seconds(
    snapshot: PoolSnapshot, known: AbstractSet[str], model: str, slot_seconds: FloatArray
) -> FloatArray:
    """Of every row: how long a request for the adapter `model` waits for a slot, and what taking one costs others.

    `slot_seconds` is how long it takes there until a slot is free where all are taken. Slots are taken by the adapters
    (of `known`) of requests in flight, and of those that wait by the page, which may be of others' requests.
    """
    rows = zip(snapshot.columns.lora, snapshot.in_flight_by_model, slot_seconds.tolist(), strict=True)
    found = [_seconds(state, model, in_flight.keys() & known, until_free) for state, in_flight, until_free in rows]
    return np.array(found, dtype=np.float64)


def _seconds(state: LoraState | None, model: str, in_flight: set[str], until_free: float) -> float:
    if state is None or state.max_adapters is None:
        # How many fit is not said: only loading is known to cost.
        at_hand = model in in_flight or (state is not None and model in state.names)
        return 0.0 if at_hand else LOAD_SECONDS
    if model in state.running:
        return 0.0
    users, most = in_flight | state.waiting, state.max_adapters
    if model in users:
        return until_free if len(users) > most else 0.0
    taken = min(1.0, (len(users) + 1) / most)
    return LOAD_SECONDS + until_free * taken * taken

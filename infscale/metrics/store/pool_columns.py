"""The columns of one pool as they are written: cells change in place until a snapshot is taken.

Scrapes and dispatches are many, and each touches one row; what a reader needs is all rows at one moment. So a snapshot
takes the columns as they are, and the next write goes on in copies: a reader, for which a request waits, copies
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from infscale.metrics.sample import NO_ATTRIBUTES, NO_MODELS, FloatArray
from infscale.metrics.snapshot import Columns, PoolSnapshot, PoolState, frozen
from infscale.metrics.store.endpoint_record import EndpointRecord
from infscale.metrics.store.latency_rows import LatencyTable
from infscale.metrics.store.ledger import Ledger
from infscale.metrics.store.turned_away import TurnedAway
from infscale.metrics.windows.model_table import ModelColumns, cells_of
from infscale.metrics.windows.window import WindowSummary

NUMBERS: Final = (
    "observed_at",
    "windows_at",
    "waiting",
    "running",
    "kv_utilization",
    "waiting_tokens",
    "kv_used_tokens",
    "gpu_observed_at",
    "gpu_memory_used_bytes",
    "gpu_memory_total_bytes",
    "gpu_utilization",
    "load_seconds",
)
_FLAGS: Final = ("ready", "settled", "asleep")
_OBJECTS: Final = (
    "models",
    "lora",
    "block_size_tokens",
    "num_blocks",
    "attributes",
    "refused",
    "gpu_shares",
    "windows",
    "failures",
    "lives",
)
_OBSERVED: Final = "observed numbers"
_BOOKED: Final = "books"


class PoolBoard:
    """Owner of the columns of one pool, whose endpoints and settings are those of `state`.

    `number` is that of the last change; rows are those of `state.endpoints`. `turned_away` is the pool's, whatever
    endpoints it has had.
    """

    def __init__(
        self,
        state: PoolState,
        store_id: str,
        records: Sequence[EndpointRecord],
        number: int,
        turned_away: TurnedAway,
    ) -> None:
        rows = len(records)
        self.turned_away = turned_away
        self._store_id = store_id
        self._window = state.settings.window_seconds
        self._number = number
        self._numbers: FloatArray = np.empty((len(NUMBERS), rows))
        self._flags = np.empty((len(_FLAGS), rows), dtype=np.bool_)
        self._objects: dict[str, list[object]] = {name: [None] * rows for name in _OBJECTS}
        self._models = ModelColumns(rows)
        self._latencies = LatencyTable(rows)
        # Requests, then tokens.
        self._booked_numbers: FloatArray = np.zeros((2, rows))
        self._in_flight: list[Mapping[str, tuple[float, float]]] = [{}] * rows
        # Columns that a snapshot has, and that are copied before they are written again.
        self._taken: set[str] = set()
        for row, record in enumerate(records):
            self._write(row, record)
            self._count(row, record.ledger)
        self._state = state.observed(self._columns())
        self._observed = self._booked = False
        self._snapshot = self._made()

    @property
    def state(self) -> PoolState:
        """The pool's endpoints and settings, and its columns as last read."""
        return self._state

    def observed(self, row: int, record: EndpointRecord, number: int) -> None:
        """What is known of the endpoint in `row` has changed."""
        self._write(row, record)
        self._number = number
        self._observed = True

    def booked(self, row: int, ledger: Ledger, number: int) -> None:
        """What the endpoint in `row` has in flight has changed."""
        self._count(row, ledger)
        self._number = number
        self._booked = True

    def turn_away(self, now: float, number: int) -> None:
        """A request came at `now` while no endpoint was ready."""
        self.turned_away.count(now, self._window)
        self._number = number
        self._booked = True

    def snapshot(self) -> PoolSnapshot:
        """The pool as it is now."""
        if self._observed:
            self._state = self._state.observed(self._columns())
        if self._observed or self._booked:
            self._snapshot = self._made()
            self._observed = self._booked = False
        return self._snapshot

    def _write(self, row: int, record: EndpointRecord) -> None:
        sample = record.sample
        if _OBSERVED in self._taken:
            self._taken.remove(_OBSERVED)
            self._numbers, self._flags = self._numbers.copy(), self._flags.copy()
        window = record.summaries.get(self._window)
        self._numbers[:, row] = _numbers(record, window)
        self._flags[:, row] = record.ready, sample is not None or record.failure is not None, record.asleep
        models = NO_MODELS if sample is None else sample.models
        new_window = False
        if self._put("windows", row, window):
            self._latencies.write(row, window)
            new_window = True
        if self._put("models", row, models) or new_window:
            self._models.write(row, cells_of(models, window))
        self._put("failures", row, record.failure)
        self._put("refused", row, record.refused)
        self._put("gpu_shares", row, () if record.gpu is None else record.gpu.shares)
        self._put("lives", row, record.life)
        self._put("attributes", row, NO_ATTRIBUTES if sample is None else sample.attributes)
        if sample is not None:
            self._put("lora", row, sample.lora)
            self._put("block_size_tokens", row, sample.block_size_tokens)
            self._put("num_blocks", row, sample.num_blocks)

    def _put(self, name: str, row: int, item: object) -> bool:
        """Put an object into its cell; whether it is another one than before."""
        cells = self._objects[name]
        if cells[row] is item:
            return False
        if name in self._taken:
            self._taken.remove(name)
            cells = self._objects[name] = cells.copy()
        cells[row] = item
        return True

    def _count(self, row: int, ledger: Ledger) -> None:
        if _BOOKED in self._taken:
            self._taken.remove(_BOOKED)
            self._booked_numbers = self._booked_numbers.copy()
            self._in_flight = self._in_flight.copy()
        self._booked_numbers[0, row] = len(ledger)
        self._booked_numbers[1, row] = ledger.tokens
        self._in_flight[row] = ledger.models

    def _columns(self) -> Columns:
        self._taken.update((_OBSERVED, *_OBJECTS))
        cells: dict[str, object] = dict(zip(NUMBERS, frozen(self._numbers), strict=True))
        cells |= zip(_FLAGS, frozen(self._flags), strict=True)
        cells |= self._objects
        cells |= {"by_model": self._models.table(), "latencies": self._latencies.view()}
        return Columns(**cells)  # type: ignore[arg-type] # names and types are Columns' own

    def _made(self) -> PoolSnapshot:
        self._taken.add(_BOOKED)
        booked = frozen(self._booked_numbers)
        turned_away = self.turned_away.steps()
        return PoolSnapshot(
            self._state, self._store_id, self._number, booked[0], booked[1], self._in_flight, turned_away
        )


def _numbers(record: EndpointRecord, window: WindowSummary | None) -> tuple[float, ...]:
    """The cells of one row that are numbers, in the order of `NUMBERS`."""
    sample, gpu, unknown = record.sample, record.gpu, np.nan
    return (
        record.observed_at,
        -np.inf if window is None else window.at,
        *(
            (unknown,) * 5
            if sample is None
            else (
                _known(sample.waiting),
                _known(sample.running),
                _known(sample.kv_utilization_ratio),
                _known(sample.waiting_tokens),
                _known(sample.kv_used_tokens),
            )
        ),
        record.gpu_observed_at,
        *(
            (unknown,) * 3
            if gpu is None
            else (_known(gpu.memory_used_bytes), _known(gpu.memory_total_bytes), _known(gpu.utilization_ratio))
        ),
        _known(record.endpoint.load_seconds),
    )


def _known(value: float | None) -> float:
    return np.nan if value is None else value

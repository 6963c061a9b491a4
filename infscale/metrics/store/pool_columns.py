"""The columns of one pool as they are written: cells change in place until a snapshot is taken.

Scrapes and dispatches are many, and each touches one row; what a reader needs is all rows at one moment. So a snapshot
takes the columns as they are, and the next write goes on in copies: a reader, for which a request waits, copies
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from infscale.metrics.column_matrix import ENGINE_TIMES, NUMBERS, OTHER_TIMES, STEPS, number_cells
from infscale.metrics.gauges import NOTHING_SAID, EngineGauges, known
from infscale.metrics.queried import NO_QUERIES, Queried
from infscale.metrics.sample import NO_ATTRIBUTES, NO_MODELS, FloatArray, SourceSample
from infscale.metrics.snapshot import FLAGS, OBJECTS, TIMES, Columns, PoolSnapshot, PoolState, frozen
from infscale.metrics.source import Source
from infscale.metrics.store.endpoint_record import EndpointRecord
from infscale.metrics.store.latency_rows import LatencyTable
from infscale.metrics.store.ledger import Ledger
from infscale.metrics.store.queue_book import QueueBook
from infscale.metrics.store.turned_away import TurnedAway
from infscale.metrics.windows.model_table import ModelColumns, cells_of
from infscale.metrics.windows.window import WindowSummary

_PLACES: Final = {name: place for place, name in enumerate(NUMBERS)}
_ENGINE_FIRST: Final = len(OTHER_TIMES)
_ENGINE_STOP: Final = _ENGINE_FIRST + len(ENGINE_TIMES) + len(EngineGauges._fields) + len(STEPS)
_LOAD_SECONDS: Final = _PLACES["load_seconds"]
_OBSERVED: Final = "observed numbers"
_BOOKED: Final = "books"


class PoolBoard:
    """Owner of the columns of one pool, whose endpoints and settings are those of `state`.

    `number` is that of the last change; rows are those of `state.endpoints`. `turned_away` and `queue` are the pool's,
    whatever endpoints it has had; `queue` is None where requests do not wait.
    """

    def __init__(
        self,
        state: PoolState,
        store_id: str,
        records: Sequence[EndpointRecord],
        number: int,
        turned_away: TurnedAway,
        queue: QueueBook | None = None,
    ) -> None:
        rows = len(records)
        self.turned_away = turned_away
        self.queue = queue
        self.queried = NO_QUERIES
        self._store_id = store_id
        self._window = state.settings.window_seconds
        self._number = number
        self._numbers: FloatArray = np.full((len(NUMBERS), rows), np.nan)
        for name in TIMES:
            self._numbers[_PLACES[name]] = -np.inf
        self._flags = np.zeros((len(FLAGS), rows), dtype=np.bool_)
        self._objects: dict[str, list[object]] = {name: [unknown] * rows for name, unknown in OBJECTS.items()}
        self._models = ModelColumns(rows)
        self._latencies = LatencyTable(rows)
        # Requests, then tokens.
        self._booked_numbers: FloatArray = np.zeros((2, rows))
        self._in_flight: list[Mapping[str, tuple[float, float]]] = [{}] * rows
        # Columns that a snapshot has, and that are copied before they are written again.
        self._taken: set[str] = set()
        for row, record in enumerate(records):
            for source, (sample, at) in record.beside.items():
                self._write_beside(row, source, sample, at)
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

    def observed_beside(self, row: int, record: EndpointRecord, source: Source, number: int) -> None:
        """What `source`, which is beside the engine, says of the endpoint in `row` has changed."""
        self._begin_numbers()
        self._write_beside(row, source, *record.beside[source])
        self._write_standing(row, record)
        self._put("refused", row, record.refused)
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

    def query(self, queried: Mapping[str, Queried], number: int) -> None:
        """What configured queries say of the pool is this now."""
        self.queried = queried
        self._number = number
        self._booked = True

    def waits(self, number: int) -> None:
        """What waits for the pool has changed."""
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
        self._begin_numbers()
        window = record.summaries.get(self._window)
        self._numbers[_ENGINE_FIRST:_ENGINE_STOP, row] = _engine_numbers(record, window)
        self._numbers[_LOAD_SECONDS, row] = known(record.endpoint.load_seconds)
        self._write_standing(row, record)
        models = NO_MODELS if sample is None else sample.models
        new_window = False
        if self._put("windows", row, window):
            self._latencies.write(row, window)
            new_window = True
        if self._put("models", row, models) or new_window:
            self._models.write(row, cells_of(models, window))
        self._put("failures", row, record.failure)
        self._put("refused", row, record.refused)
        self._put("lives", row, record.life)
        self._put("step_sources", row, record.steps.source)
        self._put("attributes", row, NO_ATTRIBUTES if sample is None else sample.attributes)
        if sample is not None:
            self._put("block_size_tokens", row, sample.block_size_tokens)
            self._put("num_blocks", row, sample.num_blocks)

    def _write_standing(self, row: int, record: EndpointRecord) -> None:
        """What several sources together say: whether it takes requests, and what it serves."""
        settled = record.sample is not None or record.failure is not None
        self._flags[:, row] = record.ready, settled, record.asleep
        self._put("health", row, record.health)
        self._put("lora", row, record.lora)

    def _begin_numbers(self) -> None:
        """Have numbers and flags that may be written."""
        if _OBSERVED in self._taken:
            self._taken.remove(_OBSERVED)
            self._numbers, self._flags = self._numbers.copy(), self._flags.copy()

    def _write_beside(self, row: int, source: Source, sample: SourceSample, at: float) -> None:
        if source.observed is not None:
            self._numbers[_PLACES[source.observed], row] = at
        for name, number in sample.numbers.items():
            self._numbers[_PLACES[name], row] = number
        for name, item in sample.objects.items():
            self._put(name, row, item)

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
        self._taken.update((_OBSERVED, *OBJECTS))
        cells = dict(number_cells(self._numbers))
        cells |= zip(FLAGS, frozen(self._flags), strict=True)
        cells |= self._objects
        cells |= {"by_model": self._models.table(), "latencies": self._latencies.view()}
        return Columns(**cells)  # type: ignore[arg-type] # names and types are Columns' own

    def _made(self) -> PoolSnapshot:
        self._taken.add(_BOOKED)
        booked = frozen(self._booked_numbers)
        turned_away = self.turned_away.steps()
        return PoolSnapshot(
            self._state,
            self._store_id,
            self._number,
            booked[0],
            booked[1],
            self._in_flight,
            turned_away,
            self.queried,
            None if self.queue is None else self.queue.view(),
        )


def _engine_numbers(record: EndpointRecord, window: WindowSummary | None) -> list[float]:
    """The cells of one row that come from pages of its engine, in their order."""
    sample = record.sample
    gauges: EngineGauges[float | None] = NOTHING_SAID if sample is None else sample.gauges
    numbers = [record.observed_at, -np.inf if window is None else window.at]
    numbers += [known(value) for value in gauges]
    numbers += record.steps.cells()
    return numbers

"""PoolSnapshot: the immutable view of one pool that a pick or an HPA answer reads from start to end.

Numbers are numpy columns, one row per endpoint in discovery order. NaN in a column is *unknown*; it never means 0, and
`observed_at` is -inf where nothing was ever observed. Arrays are read-only: writers publish a new snapshot instead.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from infscale.endpoint import Endpoint, ObjectKey, Phase
from infscale.frozen_values import entity
from infscale.latency.step_columns import STEP_CELLS, StepColumns
from infscale.memo import Memo, MemoKey
from infscale.metrics.gauges import ENGINE_GAUGES, POD_GAUGES, EngineGauges, PodGauges, known
from infscale.metrics.queried import NO_QUERIES, Queried
from infscale.metrics.queued import QueueView
from infscale.metrics.sample import (
    NO_ATTRIBUTES,
    NO_MODELS,
    NO_REFUSALS,
    FloatArray,
    GpuShare,
    HealthSample,
    Histogram,
    HistogramName,
    Life,
    LoraState,
    ModelLoad,
    ScrapeFailure,
)
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.windows.model_table import EMPTY, ModelTable
from infscale.metrics.windows.window import WindowSummary

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
ArrayT = TypeVar("ArrayT", bound=NDArray[Any])


class LatencyRows(Protocol):
    """Latency histograms of the rows of a snapshot, to be added up."""

    def added_up(
        self, key: tuple[HistogramName, str | None], rows: IntArray, once_more: int, times: int
    ) -> Histogram | None:
        """The sum of the histograms `key` of `rows`, which all have one, and `times` that of row `once_more`.

        None: they are to be added up one by one.
        """
        ...


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What a pool is judged by; one value for picker and adapter.

    A value older than `staleness_limit_seconds` is unusable. `window_seconds` is how far quantiles and rates look back.
    """

    staleness_limit_seconds: float = 2.0
    window_seconds: float = 30.0
    saturation: SaturationSettings = field(default_factory=SaturationSettings)

    def __post_init__(self) -> None:
        if self.staleness_limit_seconds <= 0 or self.window_seconds <= 0:
            raise ValueError("staleness limit and window are positive seconds")


NO_NAMES: Final[frozenset[str]] = frozenset()

TIMES: Final = ("observed_at", "windows_at", "gpu_observed_at", "listed_at", "health_at")
"""The columns of `Columns` that are times, -inf where there was none."""
FLAGS: Final = ("ready", "settled", "asleep")
"""Those that are true or false; false is what is not known to be true."""
OBJECTS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "models": NO_MODELS,
        "lora": None,
        "block_size_tokens": None,
        "num_blocks": None,
        "attributes": NO_ATTRIBUTES,
        "refused": NO_REFUSALS,
        "gpu_shares": (),
        "listed": NO_NAMES,
        "health": None,
        "windows": None,
        "failures": None,
        "lives": None,
        "step_sources": "",
    }
)
"""Those of anything else, with what is in them while nothing is known."""


@entity
class Columns:
    """Observed columns of a pool; every array has one row per endpoint.

    `gauges` are those of the engine, `pod` those of its pod; `*_at` are monotonic seconds, `windows_at` those at which
    windows end. `ready` is what discovery and `health` say of it, `lora` what pages and `health` do. `settled` is True
    once the endpoint was scraped, or failed, at least once; `asleep` while its engine says that it sleeps. `lives` has
    another object for an endpoint each time its engine lost what it had cached; it tells nothing else. `attributes` are
    those of `EngineSample`, `refused` those of it and of `GpuSample`, `gpu_shares` the shares of that. `listed` are the
    models on a server's list, as of `listed_at`, none where it is not known or has grown too old. `health` is what its
    server says of itself, as long as that holds. `steps` says how long engines' steps take,
    `step_sources` what that is made of, or why it is not known. `by_model` has again, as
    arrays, what `models` and `windows` say of each model, `latencies` the windows' histograms (None: they are to be
    added up one by one).
    """

    gauges: EngineGauges[FloatArray]
    pod: PodGauges[FloatArray]
    observed_at: FloatArray
    windows_at: FloatArray
    gpu_observed_at: FloatArray
    listed_at: FloatArray
    health_at: FloatArray
    ready: BoolArray
    settled: BoolArray
    asleep: BoolArray
    models: Sequence[Mapping[str, ModelLoad]]
    lora: Sequence[LoraState | None]
    block_size_tokens: Sequence[int | None]
    num_blocks: Sequence[int | None]
    attributes: Sequence[Mapping[str, float]]
    refused: Sequence[Mapping[str, str]]
    gpu_shares: Sequence[tuple[GpuShare, ...]]
    listed: Sequence[frozenset[str]]
    health: Sequence[HealthSample | None]
    windows: Sequence[WindowSummary | None]
    failures: Sequence[ScrapeFailure | None]
    lives: Sequence[Life | None]
    step_sources: Sequence[str]
    steps: StepColumns
    by_model: ModelTable
    latencies: LatencyRows | None

    @classmethod
    def unknown(cls, endpoints: tuple[Endpoint, ...]) -> "Columns":
        """Columns in which nothing has been observed."""
        rows = len(endpoints)
        cells: dict[str, object] = {name: _filled(rows, -math.inf) for name in TIMES}
        cells |= {name: frozen(np.zeros(rows, dtype=np.bool_)) for name in FLAGS}
        cells |= {name: (unknown,) * rows for name, unknown in OBJECTS.items()}
        cells |= {
            "gauges": EngineGauges(*[_filled(rows, math.nan) for _ in ENGINE_GAUGES]),
            "pod": PodGauges(*[_filled(rows, math.nan) for _ in POD_GAUGES])._replace(
                load_seconds=frozen(np.array([known(each.load_seconds) for each in endpoints], dtype=np.float64))
            ),
            "ready": frozen(np.array([endpoint.phase is Phase.READY for endpoint in endpoints], dtype=np.bool_)),
            "steps": StepColumns(*[_filled(rows, math.nan) for _ in STEP_CELLS]),
            "by_model": EMPTY,
            "latencies": None,
        }
        return cls(**cells)  # type: ignore[arg-type] # names and types are those of the fields

    @property
    def of_gauges(self) -> tuple[FloatArray, ...]:
        """The columns of all gauges, in the order of `GAUGES`."""
        return (*self.gauges, *self.pod)


def _filled(rows: int, value: float) -> FloatArray:
    return frozen(np.full(rows, value))


def frozen(array: ArrayT) -> ArrayT:
    """The same array, made read-only."""
    array.setflags(write=False)
    return array


def at_rows(column: FloatArray, rows: IntArray) -> FloatArray:
    """`column` at `rows`, which are ascending and each there once: all of them are the column as it is."""
    return column if len(rows) == len(column) else column[rows]


def count_of(rows: BoolArray) -> int:
    """How many rows a mask has; its own sum takes ten times as long."""
    return int(np.count_nonzero(rows))


@dataclass(frozen=True, slots=True, eq=False)
class PodIndex:
    """The pods behind the rows of a pool: the pod of each row, and the rows (ranks) of each pod, in row order."""

    of_row: tuple[ObjectKey, ...]
    rows: Mapping[ObjectKey, tuple[int, ...]]

    @classmethod
    def of(cls, endpoints: Iterable[Endpoint]) -> "PodIndex":
        """The index of `endpoints`, which are in row order."""
        of_row = tuple(endpoint.key.pod for endpoint in endpoints)
        rows: dict[ObjectKey, tuple[int, ...]] = {}
        for row, pod in enumerate(of_row):
            rows[pod] = (*rows.get(pod, ()), row)
        return cls(of_row, rows)

    @property
    def one_rank_each(self) -> bool:
        """Whether every pod is one row."""
        return len(self.rows) == len(self.of_row)


@dataclass(frozen=True, slots=True, eq=False)
class PoolState:
    """The part of a snapshot that dispatching does not change: the endpoints of the pool and what was observed of them.

    `index` has the row of each destination. `derived` has what readers worked out of the state, by the type of
    its owner.
    """

    pool: ObjectKey
    settings: PoolSettings
    endpoints: tuple[Endpoint, ...]
    index: Mapping[str, int]
    pods: PodIndex
    columns: Columns
    derived: Memo = field(default_factory=Memo, init=False)

    @classmethod
    def of(cls, pool: ObjectKey, settings: PoolSettings, endpoints: tuple[Endpoint, ...], columns: Columns) -> Self:
        """The state of a pool with these endpoints, `columns` in their order."""
        index = {endpoint.authority: row for row, endpoint in enumerate(endpoints)}
        return cls(pool, settings, endpoints, index, PodIndex.of(endpoints), columns)

    def judged_by(self, settings: PoolSettings) -> "PoolState":
        """The same pool by other settings."""
        return PoolState(self.pool, settings, self.endpoints, self.index, self.pods, self.columns)

    def observed(self, columns: Columns) -> "PoolState":
        """The same pool with what is known of it now; nothing is worked out of that yet."""
        return PoolState(self.pool, self.settings, self.endpoints, self.index, self.pods, columns)

    def available(self) -> tuple[IntArray, float]:
        """The rows that may get a request while their observation is fresh, and when the oldest of these was made."""
        known = self.derived.get(_AVAILABLE)
        if known is None:
            columns = self.columns
            usable = columns.ready & ~columns.asleep
            if self.settings.saturation.kind is SaturationKind.UTILIZATION:
                # What is in flight is always known; what engines report may be neither of the two.
                usable = usable & ~np.isnan(np.fmin(columns.gauges.waiting, columns.gauges.kv_utilization))
            rows = frozen(usable.nonzero()[0])
            observed = at_rows(columns.observed_at, rows)
            oldest = float(np.minimum.reduce(observed, initial=math.inf))
            known = self.derived.keep(_AVAILABLE, (rows, oldest))
        return known


_AVAILABLE: Final = MemoKey[tuple[IntArray, float]]("rows that may get a request")
_RATIOS: Final = MemoKey[tuple[FloatArray, float]]("saturation by what engines report")


@dataclass(slots=True, eq=False, init=False)
class PoolSnapshot:
    """One pool at one revision.

    `revision` is ``<store id>.<number>``; it goes outward with every decision. In-flight columns count what the picker
    dispatched and has not seen end: they are the freshest load signal there is. `in_flight_by_model` has, for each row,
    requests and tokens by the model that was asked for. `turned_away` are the last requests that found no ready
    endpoint: how many, each with the monotonic second up to which they came. `queried` is what the configured queries
    said last, by their names. `queue` is what waits in the picker; None: requests do not wait in this process.
    """

    state: Final[PoolState]
    store_id: Final[str]
    number: Final[int]
    in_flight_requests: Final[FloatArray]
    in_flight_tokens: Final[FloatArray]
    in_flight_by_model: Final[Sequence[Mapping[str, tuple[float, float]]]]
    turned_away: Final[tuple[tuple[float, int], ...]]
    queried: Final[Mapping[str, Queried]]
    queue: Final[QueueView | None]
    _in_flight_models: Mapping[str, tuple[float, float]] | None
    _known_ratios: tuple[FloatArray, float] | None

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        state: PoolState,
        store_id: str,
        number: int,
        in_flight_requests: FloatArray,
        in_flight_tokens: FloatArray,
        in_flight_by_model: Sequence[Mapping[str, tuple[float, float]]],
        turned_away: tuple[tuple[float, int], ...] = (),
        queried: Mapping[str, Queried] = NO_QUERIES,
        queue: QueueView | None = None,
    ) -> None:
        self.state = state
        self.store_id = store_id
        self.number = number
        self.in_flight_requests = in_flight_requests
        self.in_flight_tokens = in_flight_tokens
        self.in_flight_by_model = in_flight_by_model
        self.turned_away = turned_away
        self.queried = queried
        self.queue = queue
        self._in_flight_models = None
        self._known_ratios = None

    @property
    def revision(self) -> str:
        """Identity of this state of the store."""
        return f"{self.store_id}.{self.number}"

    @property
    def pool(self) -> ObjectKey:
        """The pool this is a view of."""
        return self.state.pool

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Endpoints in row order."""
        return self.state.endpoints

    @property
    def in_flight_models(self) -> Mapping[str, tuple[float, float]]:
        """Requests and tokens in flight in the whole pool, by the model that was asked for; added up once."""
        if self._in_flight_models is None:
            self._in_flight_models = self._added_up()
        return self._in_flight_models

    def _added_up(self) -> dict[str, tuple[float, float]]:
        models: dict[str, tuple[float, float]] = {}
        for of_row in self.in_flight_by_model:
            for model, (requests, tokens) in of_row.items():
                requests_before, tokens_before = models.get(model, (0.0, 0.0))
                models[model] = (requests_before + requests, tokens_before + tokens)
        return models

    @property
    def columns(self) -> Columns:
        """Observed columns."""
        return self.state.columns

    def __len__(self) -> int:
        return len(self.state.endpoints)

    def fresh(self, now: float) -> BoolArray:
        """Rows whose last observation is within the staleness limit."""
        return now - self.state.columns.observed_at <= self.state.settings.staleness_limit_seconds

    def saturation(self, now: float) -> FloatArray:
        """Share of capacity in use per endpoint, NaN where unknown; the one meaning of "saturated" both sides use."""
        ratios, oldest = self._ratios()
        if now - oldest <= self.state.settings.staleness_limit_seconds:
            return ratios
        known = ratios.copy()
        known[~self.fresh(now)] = math.nan
        return known

    def _ratios(self) -> tuple[FloatArray, float]:
        """What saturation is where observations are fresh, and when the oldest of these was made; worked out once."""
        if self._known_ratios is not None:
            return self._known_ratios
        state = self.state
        # What engines report does not change with what is in flight.
        of_state = state.settings.saturation.kind is SaturationKind.UTILIZATION
        known = state.derived.get(_RATIOS) if of_state else None
        if known is None:
            gauges = state.columns.gauges
            ratios = state.settings.saturation.ratios(
                gauges.waiting,
                gauges.kv_utilization,
                self.in_flight_requests,
                self.in_flight_tokens,
            )
            known = frozen(ratios), float(np.minimum.reduce(state.columns.observed_at, initial=math.inf))
            if of_state:
                state.derived.keep(_RATIOS, known)
        self._known_ratios = known
        return known

    def saturated(self, now: float) -> BoolArray:
        """Rows known to be saturated (ratio ≥ 1). An unknown ratio is in neither set."""
        return self.saturation(now) >= 1.0

    def unknown_load(self, now: float) -> bool:
        """Whether there are endpoints that are ready and awake, all were looked at, and the load of none is known."""
        columns = self.state.columns
        awake = columns.ready & ~columns.asleep
        if not awake.any() or not columns.settled[awake].all():
            return False
        return not len(self.candidates(now))

    def eligible(self, now: float) -> BoolArray:
        """Rows that may get a request, as a mask."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[self.candidates(now)] = True
        return mask

    def candidates(self, now: float) -> IntArray:
        """Rows that may get a request, ascending: ready, awake, fresh, and with a known saturation.

        While nothing new was observed and nothing became stale, it is the same array.
        """
        rows, oldest = self.state.available()
        limit = self.state.settings.staleness_limit_seconds
        if now - oldest <= limit:
            return rows
        return rows[now - self.state.columns.observed_at[rows] <= limit]

"""What the store keeps of one endpoint, and how that becomes a row of the columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from infscale.endpoint import Endpoint, ObjectKey, Phase
from infscale.metrics.history import EndpointHistory
from infscale.metrics.ledger import Ledger
from infscale.metrics.model_table import Cells, cells_of, table_of, with_cells
from infscale.metrics.sample import EngineSample, GpuSample, ModelLoad, ScrapeFailure
from infscale.metrics.snapshot import Columns, frozen
from infscale.metrics.window import WindowSummary


@dataclass(slots=True)
class EndpointRecord:
    """What is known of one endpoint.

    `moved_at` is when the last scrape started whose page differed from the one before. `unmoved_since` is the dispatch
    of the first request that was answered although the page has not moved since: the page is frozen.
    """

    endpoint: Endpoint
    history: EndpointHistory
    ledger: Ledger = field(default_factory=Ledger)
    sample: EngineSample | None = None
    summaries: Mapping[float, WindowSummary] = field(default_factory=dict[float, WindowSummary])
    observed_at: float = -np.inf
    gpu: GpuSample | None = None
    gpu_observed_at: float = -np.inf
    failure: ScrapeFailure | None = None
    moved_at: float = -np.inf
    unmoved_since: float | None = None
    rows: list[tuple[ObjectKey, int]] = field(default_factory=list[tuple[ObjectKey, int]])

    @property
    def must_move(self) -> bool:
        """Whether an answered request always shows on the page: gauges alone may look as before."""
        return self.sample is not None and bool(self.sample.counters or self.sample.histograms)


_NO_MODELS: Mapping[str, ModelLoad] = MappingProxyType({})


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _numbers(record: EndpointRecord) -> dict[str, float | bool]:
    """The cells of one row that are numbers, by their columns."""
    sample, gpu = record.sample, record.gpu
    return {
        "observed_at": record.observed_at,
        "waiting": _known(sample.waiting) if sample else np.nan,
        "running": _known(sample.running) if sample else np.nan,
        "kv_utilization": _known(sample.kv_utilization_ratio) if sample else np.nan,
        "waiting_tokens": _known(sample.waiting_tokens) if sample else np.nan,
        "kv_used_tokens": _known(sample.kv_used_tokens) if sample else np.nan,
        "gpu_observed_at": record.gpu_observed_at,
        "gpu_memory_used_bytes": _known(gpu.memory_used_bytes) if gpu else np.nan,
        "gpu_memory_total_bytes": _known(gpu.memory_total_bytes) if gpu else np.nan,
        "gpu_utilization": _known(gpu.utilization_ratio) if gpu else np.nan,
        "load_seconds": _known(record.endpoint.load_seconds),
        "settled": sample is not None or record.failure is not None,
        "ready": record.endpoint.phase is Phase.READY,
    }


def _objects(record: EndpointRecord, window_seconds: float) -> dict[str, object]:
    """The other cells of one row, by their columns."""
    sample = record.sample
    return {
        "models": sample.models if sample else _NO_MODELS,
        "lora": sample.lora if sample else None,
        "block_size_tokens": sample.block_size_tokens if sample else None,
        "num_blocks": sample.num_blocks if sample else None,
        "windows": record.summaries.get(window_seconds),
        "failures": record.failure,
    }


def with_row(columns: Columns, row: int, record: EndpointRecord, window_seconds: float) -> Columns:
    """`columns` with what is known of one endpoint now; the window is the pool's."""
    changed: dict[str, object] = {}
    for name, value in _numbers(record).items():
        column = getattr(columns, name)
        if column[row] != value and not (column[row] != column[row] and value != value):
            column = column.copy()
            column[row] = value
            changed[name] = frozen(column)
    for name, item in _objects(record, window_seconds).items():
        cells = getattr(columns, name)
        if cells[row] is not item:
            # A list on the way: a tuple made of slices costs half as much again.
            listed = list(cells)
            listed[row] = item
            changed[name] = tuple(listed)
    if "models" in changed or "windows" in changed:
        said = _said(record, window_seconds)
        changed["by_model"] = with_cells(columns.by_model, len(columns.models), row, said)
    return replace(columns, **changed)  # type: ignore[arg-type] # names and types are Columns' own


def _said(record: EndpointRecord, window_seconds: float) -> Cells:
    """What the endpoint says of each model."""
    loads = record.sample.models if record.sample else _NO_MODELS
    return cells_of(loads, record.summaries.get(window_seconds))


def columns_of(endpoints: tuple[Endpoint, ...], records: list[EndpointRecord], window_seconds: float) -> Columns:
    """The columns of `endpoints`, whose records are in the same order."""
    columns = Columns.unknown(endpoints)
    if not records:
        return columns
    numbers = [_numbers(record) for record in records]
    objects = [_objects(record, window_seconds) for record in records]
    filled: dict[str, object] = {
        name: frozen(np.array([cells[name] for cells in numbers], dtype=getattr(columns, name).dtype))
        for name in numbers[0]
    }
    filled |= {name: tuple(cells[name] for cells in objects) for name in objects[0]}
    filled["by_model"] = table_of([_said(record, window_seconds) for record in records])
    return replace(columns, **filled)  # type: ignore[arg-type] # names and types are Columns' own

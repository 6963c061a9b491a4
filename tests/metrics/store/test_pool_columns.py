"""What a reader holds never changes, whatever is written after it, and is the same as written at once."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.sample import GpuSample, ModelLoad
from infscale.metrics.snapshot import Columns, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.windows.model_table import FewRows
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("llm", "chat"), {})
ROWS = 3
KEYS = [EndpointKey("llm", f"vllm-{row}") for row in range(ROWS)]
ENDPOINTS = tuple(Endpoint(key, f"10.0.0.{row + 1}", 8000) for row, key in enumerate(KEYS))

Change = Callable[[MetricStore, float], None]


def scrape(row: int, waiting: float, model: str) -> Change:
    loads = {model: ModelLoad(waiting, 1.0)}
    return lambda store, at: store.record_scrape(KEYS[row], engine_sample(waiting, 1.0, 0.5, loads), at)


def failure(row: int) -> Change:
    return lambda store, at: store.record_failure(KEYS[row], "refused", at)


def gpu(row: int, used: float) -> Change:
    return lambda store, at: store.record_beside(GPU, KEYS[row], GpuSample(used, 9.0, 0.5), at)


def dispatch(row: int, tokens: float) -> Change:
    def change(store: MetricStore, at: float) -> None:
        store.charge(POOL.key, row, "m", tokens, at)

    return change


ROW = st.integers(0, ROWS - 1)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(scrape, ROW, st.floats(0, 9), st.sampled_from(["a", "b"])),
    st.builds(failure, ROW),
    st.builds(gpu, ROW, st.floats(0, 9)),
    st.builds(dispatch, ROW, st.floats(1, 9)),
)


def content(snapshot: PoolSnapshot) -> list[object]:
    """Everything that can be read, copied."""
    found: list[object] = [snapshot.number, list(snapshot.in_flight_by_model)]
    found += [snapshot.in_flight_requests.tolist(), snapshot.in_flight_tokens.tolist()]
    for field in fields(Columns):
        column = getattr(snapshot.columns, field.name)
        if isinstance(column, np.ndarray):
            found.append(np.array(column, dtype=np.float64).tobytes())
        elif field.name == "by_model":
            found.append({model: cells.tobytes() for model, cells in column.items()})
        elif field.name in {"lora", "block_size_tokens", "num_blocks", "failures", "models"}:
            found.append(list(column))
    return found


def store() -> MetricStore:
    made = MetricStore("s")
    made.sync(DiscoveryState(ENDPOINTS, (POOL,)))
    return made


def view(of: MetricStore) -> PoolSnapshot:
    snapshot = of.snapshot(POOL.key)
    assert snapshot is not None
    return snapshot


@given(st.lists(st.tuples(CHANGES, st.booleans()), max_size=20))
def test_a_snapshot_stays_as_it_was_and_looking_changes_nothing(changes: list[tuple[Change, bool]]) -> None:
    looked_at, unseen = store(), store()
    held: list[tuple[PoolSnapshot, list[object]]] = []
    for at, (change, look) in enumerate(changes):
        change(looked_at, float(at))
        change(unseen, float(at))
        if look:
            held.append((view(looked_at), content(view(looked_at))))
    assert content(view(looked_at)) == content(view(unseen))
    for snapshot, before in held:
        assert content(snapshot) == before


def test_what_a_reader_holds_cannot_be_written_to() -> None:
    made = store()
    scrape(0, 1.0, "a")(made, 1.0)
    snapshot = view(made)
    arrays: list[NDArray[Any]] = [
        snapshot.in_flight_requests,
        snapshot.in_flight_tokens,
        snapshot.columns.gauges.waiting,
        snapshot.columns.ready,
    ]
    arrays += [cells for cells in snapshot.columns.by_model.values() if not isinstance(cells, FewRows)]
    assert len(arrays) > 4
    assert [array for array in arrays if array.flags.writeable] == []

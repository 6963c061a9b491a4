"""Snapshots and scheduling contexts made of plain lists."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey, ObjectKey, Phase
from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import Columns, IntArray, PoolSettings, PoolSnapshot, PoolState
from infscale.metrics.windows.model_table import LEAVING, PREFILL, STATISTIC_CELLS, WAITING_SINCE
from picker.request import Headers
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import (
    USUAL_PREDICTIONS,
    PredictionSettings,
    PrefixMatch,
    RequestFacts,
    SchedulingContext,
)

POOL = ObjectKey("default", "pool")
NO_HEADERS = Headers(())

Numbers = Sequence[float | None]


def headers(**values: str) -> Headers:
    """Headers with ``_`` written for ``-``."""
    return Headers(tuple((name.replace("_", "-"), value.encode()) for name, value in values.items()))


def endpoint(
    row: int, labels: Mapping[str, str] | None = None, port: int = 8000, phase: Phase = Phase.READY
) -> Endpoint:
    """Endpoint number `row`: ``10.0.x.(row+1):port``."""
    key = EndpointKey(POOL.namespace, f"pod-{row}")
    return Endpoint(key, f"10.0.{row // 250}.{row % 250 + 1}", port, labels or {}, phase)


@dataclass
class FakePool:
    """A pool snapshot in the making: one list per column, None for unknown; everything was observed at second 0."""

    size: int
    waiting: Numbers = ()
    running: Numbers = ()
    kv: Numbers = ()
    in_flight_requests: Numbers = ()
    in_flight_tokens: Numbers = ()
    in_flight_models: Sequence[Sequence[str]] = ()
    lora: Sequence[LoraState | None] = ()
    labels: Sequence[Mapping[str, str]] = ()
    observed_at: Numbers = ()
    phases: Sequence[Phase] = ()
    gpu_used: Numbers = ()
    gpu_total: Numbers = ()
    gpu_observed_at: Numbers = ()
    attributes: Sequence[Mapping[str, float]] = ()
    leaving: Numbers = ()
    waiting_since: Numbers = ()
    prefill_per_token: Numbers = ()
    seconds_per_output_token: Numbers = ()
    asleep: Sequence[bool] = ()
    steps: Sequence[StepModel | None] = ()
    step_errors: Sequence[float] = ()
    settings: PoolSettings = field(default_factory=PoolSettings)

    def snapshot(self) -> PoolSnapshot:
        labels = self.labels or [{}] * self.size
        phases = self.phases or [Phase.READY] * self.size
        endpoints = tuple(endpoint(row, labels[row], phase=phases[row]) for row in range(self.size))
        unknown = Columns.unknown(endpoints)
        columns = replace(
            unknown,
            gauges=unknown.gauges._replace(
                waiting=self._column(self.waiting, 0.0),
                running=self._column(self.running, 0.0),
                kv_utilization=self._column(self.kv, 0.0),
            ),
            pod=unknown.pod._replace(
                gpu_memory_used_bytes=self._column(self.gpu_used, math.nan),
                gpu_memory_total_bytes=self._column(self.gpu_total, math.nan),
            ),
            observed_at=self._column(self.observed_at, 0.0, -math.inf),
            gpu_observed_at=self._column(self.gpu_observed_at, 0.0, -math.inf),
            settled=np.ones(self.size, dtype=np.bool_),
            asleep=np.array(self.asleep or [False] * self.size, dtype=np.bool_),
            lora=tuple(self.lora) or (None,) * self.size,
            attributes=tuple(self.attributes) or ({},) * self.size,
            steps=StepColumns.of(list(self.steps or [None] * self.size), list(self.step_errors or [0.0] * self.size)),
            by_model={None: self._past()},
        )
        state = PoolState.of(POOL, self.settings, endpoints, columns)
        requests, tokens = self._column(self.in_flight_requests, 0.0), self._column(self.in_flight_tokens, 0.0)
        by_model = [dict.fromkeys(models, (1.0, 1.0)) for models in self.in_flight_models] or [{}] * self.size
        return PoolSnapshot(state, "test", 1, requests, tokens, by_model)

    def _past(self) -> FloatArray:
        """What windows say of all models together."""
        past = np.full((PREFILL + 1 + len(STATISTIC_CELLS), self.size), math.nan)
        past[LEAVING] = self._column(self.leaving, 0.0)
        past[WAITING_SINCE] = self._column(self.waiting_since, math.inf)
        past[PREFILL] = self._column(self.prefill_per_token, math.nan)
        past[STATISTIC_CELLS["inter_token_latency", "mean"]] = self._column(self.seconds_per_output_token, math.nan)
        return past

    def _column(self, values: Numbers, default: float, unknown: float = math.nan) -> FloatArray:
        filled = values or [default] * self.size
        assert len(filled) == self.size
        return np.array([unknown if value is None else value for value in filled], dtype=np.float64)

    @property
    def rows(self) -> IntArray:
        return np.arange(self.size, dtype=np.intp)


def context(
    pool: FakePool,
    *,
    matched: Numbers = (),
    total_tokens: float = 0.0,
    facts: RequestFacts | None = None,
    now: float = 0.0,
    seed: int = 1,
    memory: PoolMemory | None = None,
    predicting: PredictionSettings = USUAL_PREDICTIONS,
) -> SchedulingContext:
    """A decision about `pool` at second `now`."""
    snapshot = pool.snapshot()
    remembered = memory or PoolMemory()
    remembered.sync(snapshot.endpoints)
    remembered.discovered = remembered.discovered or snapshot.endpoints
    tokens = np.array([value or 0.0 for value in matched] or [0.0] * pool.size)
    request = facts or RequestFacts("model", NO_HEADERS, 0.0, 0.0)
    prefix = PrefixMatch(tokens, total_tokens)
    return SchedulingContext(request, snapshot, prefix, now, random.Random(seed), remembered, predicting)

"""What a step costs each endpoint of a pool, by the latency models that the store has of them.

A model whose error is above `infscale.latency.step_columns.WORST_USABLE_ERROR` says nothing. In place of one that says
nothing stand, number by number, the medians of those of the pool that do; where none does, those of `USUAL_STEPS`.
"""

from typing import Final

import numpy as np

from infscale.latency.predictions import USUAL_BUDGET_TOKENS
from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel
from infscale.memo import MemoKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot

USUAL_STEPS: Final = StepModel(20e-3, 62.8e-6, 0.05e-6, 30e-6)
"""A model of 32 billion parameters on two H100, as the reference's guides have it: slower than most are."""


class StepCosts:
    """Seconds of a step: `base`, and per prefill token, KV token and sequence; one entry per row, none unknown.

    A prefill token costs as much more than its model says as that is wrong of late: what is thought cheap attracts
    work until it is not, and what is thought dear only gets less. `mean_per_prefill_token` is that of the pool. Where
    they are not `known`, they are those of no endpoint of it.
    """

    def __init__(
        self,
        base: FloatArray,
        per_prefill_token: FloatArray,
        per_kv_token: FloatArray,
        per_sequence: FloatArray,
        *,
        known: bool = True,
    ) -> None:
        self.known: Final = known
        self.base: Final = base
        self.per_prefill_token: Final = per_prefill_token
        self.per_kv_token: Final = per_kv_token
        self.per_sequence: Final = per_sequence
        self.mean_per_prefill_token: Final = float(np.add.reduce(per_prefill_token)) / max(len(base), 1)
        self._per_each: Final[FloatArray] = np.array((per_prefill_token, per_kv_token, per_sequence))

    def seconds(self, prefill_tokens: float, kv_tokens: float, sequences: float) -> FloatArray:
        """Of every row: what so much adds to a step, the same everywhere."""
        added: FloatArray = np.array((prefill_tokens, kv_tokens, sequences)).dot(self._per_each)
        return added

    def decode_seconds(self, kv_tokens: FloatArray, sequences: FloatArray) -> FloatArray:
        """Of every row: a step in which nothing but a batch of so many sequences and context tokens is decoded."""
        seconds: FloatArray = self.base + self.per_kv_token * kv_tokens + self.per_sequence * sequences
        return seconds

    def decode_seconds_of(self, row: int, kv_tokens: float, sequences: float) -> float:
        """`decode_seconds` of one row."""
        added = float(self.per_kv_token[row]) * kv_tokens + float(self.per_sequence[row]) * sequences
        return float(self.base[row]) + added

    def prefill_seconds(self, row: int, uncached_tokens: float, kv_tokens: float, sequences: float) -> float:
        """How long the endpoint of `row` computes so much of a prompt beside such a batch, once it begins."""
        decode = self.decode_seconds_of(row, kv_tokens, sequences)
        steps = uncached_tokens / USUAL_BUDGET_TOKENS
        return float(self.per_prefill_token[row]) * uncached_tokens + steps * decode


STEP_COSTS: Final = MemoKey[StepCosts]("step costs")


def step_costs(snapshot: PoolSnapshot) -> StepCosts:
    """What steps cost the endpoints of `snapshot`; worked out once for each state of the store."""
    derived = snapshot.state.derived
    known = derived.get(STEP_COSTS)
    if known is None:
        known = derived.keep(STEP_COSTS, _costs(snapshot.columns.steps, len(snapshot)))
    return known


def usual_costs(rows: int) -> StepCosts:
    """What steps are taken to cost so many endpoints while nothing is known of any."""
    return StepCosts(*[np.full(rows, each) for each in USUAL_STEPS.coefficients[:4]], known=False)


def _costs(steps: StepColumns, rows: int) -> StepCosts:
    usable = steps.usable
    count = int(np.count_nonzero(usable))
    if not count:
        return usual_costs(rows)
    per_prefill_token: FloatArray = steps.per_prefill_token * (1.0 + steps.error)
    columns = [steps.base, per_prefill_token, steps.per_kv_token, steps.per_sequence]
    if count < rows:
        columns = [np.where(usable, each, np.median(each[usable])) for each in columns]
    return StepCosts(*columns)

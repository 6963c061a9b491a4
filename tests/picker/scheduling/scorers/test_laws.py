"""Laws of every scorer."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.metrics.sample import LoraState
from picker.scheduling.context_length import ContextLength
from picker.scheduling.endpoint_attributes import COLUMNS, EndpointAttributeScorer
from picker.scheduling.profile import bounded
from picker.scheduling.scorers.affinity import (
    HeaderLabelAffinityScorer,
    LoraAffinityScorer,
    NoHitLruScorer,
    PrefixCacheScorer,
)
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from picker.scheduling.scorers.load import (
    ActiveRequestScorer,
    KvCacheUtilizationScorer,
    LoadAwareScorer,
    QueueScorer,
    RunningRequestsScorer,
)
from picker.scheduling.scorers.marginal_cost import MarginalCostScorer
from picker.scheduling.scorers.price import SpeedAndCostScorer
from picker.scheduling.scorers.tokens import InFlightTokensScorer, LmetricScorer, TokenLoadScorer
from picker.scheduling.stages import Scorer
from tests.fakes.pools import FakePool, context
from tests.picker.scheduling.scorers.scoring import facts

SCORERS: tuple[Scorer, ...] = (
    QueueScorer(),
    RunningRequestsScorer(),
    KvCacheUtilizationScorer(),
    LoadAwareScorer(),
    ActiveRequestScorer(),
    ActiveRequestScorer(2, 0.5),
    TokenLoadScorer(1000),
    InFlightTokensScorer(),
    InFlightTokensScorer("ratio"),
    InFlightTokensScorer("range"),
    LoraAffinityScorer(),
    PrefixCacheScorer(),
    PrefixCacheScorer(0.7, 100),
    LmetricScorer(),
    MarginalCostScorer(),
    MarginalCostScorer(0.0, 0.3, 0.0, 0.1),
    NoHitLruScorer(),
    NoHitLruScorer(1),
    HeaderLabelAffinityScorer("x-tier", "tier"),
    ContextLength(),
    GpuMemoryScorer(),
    StalenessDiscountScorer(),
    StalenessDiscountScorer(3.0),
    SpeedAndCostScorer(),
    SpeedAndCostScorer(1.0),
    EndpointAttributeScorer(COLUMNS["waiting_requests"], lower_is_better=True),
    EndpointAttributeScorer(COLUMNS["gpu_memory_used_ratio"], lower_is_better=False, fixed_range=(0.2, 0.9)),
)


@pytest.mark.parametrize(
    ("given_scores", "expected"),
    [
        ([-1.0, 0.3, 7.0], [0.0, 0.3, 1.0]),
        ([math.nan, 4.0], [1.0, 1.0]),
        ([math.inf, -math.inf], [1.0, 0.0]),
    ],
)
def test_scores_are_clamped(given_scores: list[float], expected: list[float]) -> None:
    assert bounded(np.array(given_scores)).tolist() == expected


_LABELS = ["infscale.dev/speed", "infscale.dev/cost", "llm-d.ai/context-length-range", "tier"]
_amounts = st.one_of(st.none(), st.floats(0, 1e7))
_bytes = st.one_of(st.none(), st.integers(0, 2**40))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_every_score_lies_between_zero_and_one(data: st.DataObject, size: int) -> None:
    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=size, max_size=size))

    known = st.floats(0, 1e7)
    names = st.frozensets(st.sampled_from(["model", "a", "b"]))
    prompt = data.draw(known)
    matched = [share * prompt for share in column(st.floats(0, 1))]
    pool = FakePool(
        size,
        waiting=column(_amounts),
        running=column(_amounts),
        kv=column(st.one_of(st.none(), st.floats(0, 1.5))),
        in_flight_requests=column(known),
        in_flight_tokens=column(known),
        lora=column(st.one_of(st.none(), st.builds(LoraState, names, names, st.one_of(st.none(), st.integers(0, 4))))),
        observed_at=column(st.one_of(st.none(), st.floats(-10, 0))),
        gpu_used=column(_bytes),
        gpu_total=column(_bytes),
        labels=column(st.dictionaries(st.sampled_from(_LABELS), st.sampled_from(["1", "0.5", "0-9", "x", "1e9"]))),
    )
    decision = context(pool, matched=matched, total_tokens=prompt, facts=facts(prompt, data.draw(known)))
    for scorer in SCORERS:
        raw = scorer.score(decision, pool.rows)
        assert len(raw) == size
        final = bounded(raw)
        assert ((final >= 0) & (final <= 1)).all(), scorer

"""What holds for every filter and every scorer there is, built as a configuration builds them."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.documents.strict_document import load
from infscale.metrics.sample import LoraState
from picker.epp_config.parameters import Given
from picker.epp_config.registry import BUILT_IN
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PredictionSettings, RequestFacts, SchedulingContext
from picker.scheduling.profile import bounded
from tests.fakes.pools import FakePool, context, headers

# Types that need parameters, or do nothing without.
PARAMETERS = {
    "by-label": "{label: tier, validValues: [a]}",
    "label-selector-filter": "{matchLabels: {tier: a}}",
    "by-label-selector": "{matchLabels: {tier: a}}",
    "utilization-filter": "{conditions: [{metric: waiting-queue, maxValue: 3}]}",
    "context-length-aware": "{enableFiltering: true}",
    "prefix-cache-affinity-filter": "{explorationProbability: 0.5}",
    "error-memory-filter": "{failures: 1}",
    "endpoint-attribute-filter": "{attribute: waiting_requests, onMissing: Fail, algorithm: "
    "{type: threshold, threshold: {operator: LessThan, value: 3}}}",
    "endpoint-attribute-scorer": "{attributeKey: waiting_requests, algorithm: {type: linear_lower_is_better}}",
    "header-label-affinity-scorer": "{headerName: x-tier, labelKey: tier}",
}
LABELS = ["tier", "llm-d.ai/role", "llm-d.ai/context-length-range", "infscale.dev/speed", "infscale.dev/cost"]


def given_of(name: str) -> Given:
    field = load(PARAMETERS.get(name, "{}"), "epp.yaml")
    return Given(field, field)


def numbers(size: int, high: float) -> st.SearchStrategy[list[float | None]]:
    return st.lists(st.one_of(st.none(), st.integers(0, int(high))), min_size=size, max_size=size)


@st.composite
def decisions(draw: st.DrawFn) -> SchedulingContext:
    size = draw(st.integers(1, 6))
    names = st.frozensets(st.sampled_from(["model", "a"]))
    labels = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(["a", "decode", "0-100", "2"]))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=size, max_size=size))

    pool = FakePool(
        size,
        waiting=draw(numbers(size, 200)),
        running=draw(numbers(size, 200)),
        kv=column(st.one_of(st.none(), st.floats(0, 1))),
        in_flight_requests=column(st.integers(0, 50)),
        in_flight_tokens=column(st.integers(0, 10**6)),
        lora=column(st.one_of(st.none(), st.builds(LoraState, names, names, st.integers(0, 3)))),
        labels=column(labels),
        observed_at=column(st.one_of(st.none(), st.floats(0, 5))),
        gpu_used=draw(numbers(size, 80)),
        gpu_total=draw(numbers(size, 80)),
        leaving=column(st.none() | st.floats(0, 9)),
        waiting_since=column(st.none() | st.floats(0, 5)),
        prefill_per_token=column(st.none() | st.floats(1e-6, 1e-2)),
        seconds_per_output_token=column(st.none() | st.floats(1e-3, 1.0)),
    )
    endpoints, memory = pool.snapshot().endpoints, PoolMemory()
    memory.sync(endpoints)
    for row in draw(st.lists(st.integers(0, size - 1), max_size=6)):
        memory.served_cold(row)
        memory.answered(endpoints[row].authority, failed=draw(st.booleans()), now=4.0)
    wants = draw(st.sampled_from([{}, {"x_slo_ttft_ms": "50"}, {"x_slo_ttft_ms": "1e9", "x_slo_tpot_ms": "100"}]))
    facts = RequestFacts(
        "model", headers(x_tier="a", **wants), draw(st.integers(0, 200)), 5.0, draw(st.integers(-1, 1))
    )
    matched = [share * facts.prompt_tokens for share in column(st.sampled_from([0.0, 0.5, 0.8, 1.0]))]
    seed = draw(st.integers(0, 99))
    predicting = PredictionSettings(draw(st.booleans()), draw(st.booleans()))
    return context(
        pool,
        matched=matched,
        total_tokens=200.0,
        facts=facts,
        now=5.0,
        seed=seed,
        memory=memory,
        predicting=predicting,
    )


@pytest.mark.parametrize("name", BUILT_IN.filters)
def test_a_filter_returns_some_of_its_rows_in_their_order(name: str) -> None:
    each = BUILT_IN.filters[name](given_of(name))

    @settings(max_examples=25, deadline=None)
    @given(decisions(), st.data())
    def check(decision: SchedulingContext, data: st.DataObject) -> None:
        everyone = range(len(decision.snapshot))
        rows = sorted(data.draw(st.sets(st.sampled_from(everyone), min_size=1)))
        candidates = decision.snapshot.columns.ready.nonzero()[0][rows]
        kept = each.keep(decision, candidates).tolist()
        assert set(kept) <= set(rows)
        assert kept == sorted(set(kept))

    check()


@pytest.mark.parametrize("name", BUILT_IN.scorers)
def test_a_scorer_stays_in_bounds_and_the_unknown_never_beats_the_best_known(name: str) -> None:
    each = BUILT_IN.scorers[name](given_of(name))

    @settings(max_examples=25, deadline=None)
    @given(decisions())
    def check(decision: SchedulingContext) -> None:
        raw = each.score(decision, decision.snapshot.columns.ready.nonzero()[0])
        final = bounded(raw).tolist()
        assert all(0.0 <= score <= 1.0 for score in final)
        known = [score for score, value in zip(final, raw.tolist(), strict=True) if not math.isnan(value)]
        unknown = [score for score, value in zip(final, raw.tolist(), strict=True) if math.isnan(value)]
        assert not known or not unknown or max(unknown) <= max(known) + 1e-12

    check()

"""What pages of an engine teach of its steps."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from infscale.endpoint import DiscoveryState, Pool
from infscale.latency.step_model import StepModel
from infscale.metrics.sample import EngineSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.store.step_watch import StepWatch, usual_model
from tests.fakes.pools import POOL, endpoint
from tests.fakes.watched_engine import QWEN, Arrivals, WatchedEngine


def watched(
    engine: WatchedEngine, watch: StepWatch, requests: int, interval: float = 0.05, *, counts_steps: bool = True
) -> StepWatch:
    """Look at the page of an engine until it got so many more requests."""
    end = engine.submitted + requests
    for at, sample in engine.scrapes(interval, lambda engine: engine.submitted >= end, counts_steps=counts_steps):
        watch.observe(sample, at)
    return watch


def wrong_by(engine: WatchedEngine, watch: StepWatch) -> float:
    """How wrong a model is about the steps of the next 20 seconds, together and in the middle of single ones."""
    model, plans = watch.fit.model, engine.steps_until(engine.now + 20.0)
    assert model is not None
    predicted = [model.seconds(each.prefill_tokens, each.kv_tokens, each.sequences) for each in plans]
    seen = [each.seconds for each in plans]
    together = abs(sum(predicted) / sum(seen) - 1.0)
    return max(together, median([abs(one / other - 1.0) for one, other in zip(predicted, seen, strict=True)]))


@pytest.mark.parametrize(
    ("rate", "interval", "counts_steps"), [(0.5, 2.0, True), (2.0, 0.05, True), (2.0, 0.5, False), (4.0, 0.5, True)]
)
def test_an_engine_of_which_nothing_was_known_is_predicted(rate: float, interval: float, *, counts_steps: bool) -> None:
    engine, watch = WatchedEngine(arrivals=Arrivals(rate)), StepWatch()
    assert all(math.isnan(cell) for cell in watch.cells())
    watched(engine, watch, 200, interval, counts_steps=counts_steps)
    assert wrong_by(engine, watch) < 0.15
    assert watch.fit.error < 0.15


@pytest.mark.parametrize(
    ("rate", "interval", "factor"), [(1.0, 0.5, 2.0), (2.0, 0.5, 0.5), (4.0, 0.05, 2.0), (4.0, 0.5, 0.5)]
)
def test_an_engine_whose_speed_changes_is_predicted_within_200_requests(
    rate: float, interval: float, factor: float
) -> None:
    engine, watch = WatchedEngine(arrivals=Arrivals(rate)), StepWatch()
    watched(engine, watch, 300, interval)
    engine.steps = engine.steps.scaled(factor)
    assert wrong_by(engine, watch) > 0.3
    watched(engine, watch, 200, interval)
    assert wrong_by(engine, watch) < 0.15


def test_a_prompt_is_known_to_cost_what_it_does_where_few_come() -> None:
    """A prior that is wrong in the dangerous direction, and steps that hardly ever compute a prompt."""
    engine, watch = WatchedEngine(arrivals=Arrivals(0.5)), StepWatch()
    prior = StepModel(QWEN.base, 0.5 * QWEN.per_prefill_token, QWEN.per_kv_token, QWEN.per_sequence)
    watch.lean_on(prior, 0.1, "a guess")
    watched(engine, watch, 200, 0.5)
    assert watch.fit.model is not None
    assert watch.fit.model.per_prefill_token == pytest.approx(QWEN.per_prefill_token, rel=0.15)


def test_a_batch_is_predicted_by_the_linear_model_that_touches_it() -> None:
    watch = StepWatch()
    model = StepModel(0.01, 1e-5, 1e-8, 1e-5, 1e-3)
    watch.lean_on(model, 0.1, "a guess")
    base, _, _, per_sequence, _ = watch.cells()
    assert base + 4 * per_sequence == pytest.approx(model.seconds(0, 0, 4))


def test_an_engine_that_begins_teaches_nothing_while_it_is_cold() -> None:
    engine, watch = WatchedEngine(arrivals=Arrivals(2.0, 100.0, 20.0)), StepWatch()
    watched(engine, watch, 20)
    assert engine.recorder.generation_tokens < 1000
    assert watch.fit.samples == 0


def test_a_page_that_stands_still_teaches_nothing() -> None:
    engine, watch = WatchedEngine(), StepWatch()
    watched(engine, watch, 50)
    frozen, models = engine.sample(), list[StepModel | None]()
    for tick in range(1, 200):
        watch.observe(frozen, engine.now + 0.05 * tick)
        models.append(watch.fit.model)
    # What came until the page stood still may be learnt yet, once.
    assert len(set(models)) <= 2
    assert len(set(models[-100:])) == 1


def lies(sample: EngineSample, rng: random.Random) -> EngineSample:
    """A page whose counts and gauges are something else."""
    counts = replace(sample.counts, row=sample.counts.row * rng.uniform(1.0, 50.0))
    gauges = sample.gauges._replace(running=rng.uniform(0.0, 1e6), kv_used_tokens=rng.uniform(0.0, 1e12))
    return replace(sample, counts=counts, gauges=gauges)


def models_beside(wrong: Callable[[EngineSample], EngineSample], rows: int = 4) -> list[list[float]]:
    """The models of a pool's endpoints, without the first one, of whose page `wrong` makes something else."""
    store = MetricStore("test")
    endpoints = tuple(endpoint(row) for row in range(rows))
    store.sync(DiscoveryState(endpoints, (Pool(POOL, {}),)))
    engines = [WatchedEngine(seed=row) for row in range(rows)]
    for tick in range(1, 61):
        for row, engine in enumerate(engines):
            engine.run_until(0.5 * tick)
            sample = engine.sample()
            store.record_scrape(endpoints[row].key, sample if row else wrong(sample), engine.now)
    snapshot = store.snapshot(POOL)
    assert snapshot is not None
    steps = snapshot.columns.steps
    return [column[1:].tolist() for column in (steps.base, steps.per_prefill_token, steps.per_kv_token, steps.error)]


def test_a_page_that_lies_or_stands_still_never_moves_the_model_of_another_endpoint() -> None:
    honest, rng, first = models_beside(lambda sample: sample), random.Random(1), list[EngineSample]()

    def stands_still(sample: EngineSample) -> EngineSample:
        first.append(sample)
        return first[min(len(first) - 1, 20)]

    assert not np.isnan(honest).any()
    assert models_beside(lambda sample: lies(sample, rng)) == honest
    assert models_beside(stands_still) == honest


def test_the_usual_model_is_that_of_no_single_page() -> None:
    watches = [watched(WatchedEngine(seed=seed), StepWatch(), 300, 0.25) for seed in range(3)]
    usual = usual_model(watches)
    assert usual is not None
    liar = StepWatch()
    for _ in range(100):
        liar.fit.learn(0.0, 1000.0, 10.0, 9.0)
    with_liar = usual_model([*watches, liar])
    assert with_liar is not None
    models = [watch.fit.model.coefficients for watch in watches if watch.fit.model is not None]
    for place, coefficient in enumerate(with_liar[0].coefficients):
        honest = [each[place] for each in models]
        assert min(honest) <= coefficient <= max(honest)
    assert usual_model([*watches[:2], StepWatch()]) is None
    assert usual_model([]) is None


def test_an_unlike_scale_is_told_by_the_engine_itself() -> None:
    slow = StepModel(*[2.2 * each for each in QWEN.coefficients])
    watch = watched(WatchedEngine(slow, Arrivals(1.0)), StepWatch(), 100)
    assert watch.fit.model is not None
    assert watch.fit.model.seconds(0, 20_000, 10) == pytest.approx(slow.seconds(0, 20_000, 10), rel=0.15)

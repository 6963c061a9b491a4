"""What pages of an engine teach of its steps."""

import math

import pytest

from infscale.latency.step_model import StepModel
from infscale.metrics.store.step_watch import StepWatch, usual_model
from tests.fakes.watched_engine import QWEN, Arrivals, WatchedEngine


def watched(engine: WatchedEngine, watch: StepWatch, requests: int, interval: float = 0.05) -> StepWatch:
    """Look at the page of an engine until it got so many more requests."""
    end = engine.submitted + requests
    for at, sample in engine.scrapes(interval, lambda engine: engine.submitted >= end):
        watch.observe(sample, at)
    return watch


@pytest.mark.parametrize("interval", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_an_engine_of_which_nothing_was_known_is_predicted(rate: float, interval: float) -> None:
    engine, watch = WatchedEngine(arrivals=Arrivals(rate)), StepWatch()
    assert all(math.isnan(cell) for cell in watch.cells())
    watched(engine, watch, 200, interval)
    assert watch.fit.model is not None
    load = 0.0, engine.engine.kv_tokens, engine.engine.running
    assert watch.fit.model.seconds(*load) == pytest.approx(QWEN.seconds(*load), rel=0.15)


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
    assert len(set(models[5:])) == 1


def test_the_usual_model_is_that_of_no_single_page() -> None:
    watches = [watched(WatchedEngine(seed=seed), StepWatch(), 100) for seed in range(4)]
    usual = usual_model(watches)
    assert usual is not None
    liar = StepWatch()
    for _ in range(100):
        liar.fit.learn(0.0, 1000.0, 10.0, 9.0)
    with_liar = usual_model([*watches, liar])
    assert with_liar is not None
    for one, other in zip(usual[0].coefficients, with_liar[0].coefficients, strict=True):
        assert other == pytest.approx(one, rel=0.35)
    assert usual_model([*watches[:2], StepWatch()]) is None
    assert usual_model([]) is None


def test_an_unlike_scale_is_told_by_the_engine_itself() -> None:
    slow = StepModel(*[2.2 * each for each in QWEN.coefficients])
    watch = watched(WatchedEngine(slow, Arrivals(1.0)), StepWatch(), 100)
    assert watch.fit.model is not None
    assert watch.fit.model.seconds(0, 20_000, 10) == pytest.approx(slow.seconds(0, 20_000, 10), rel=0.15)

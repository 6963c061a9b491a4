"""Predicted latencies: what they are made of, and what filter, scorer and admitter make of them."""

import math
import random

import pytest

from infscale.metrics.snapshot import IntArray
from picker.request import Promise
from picker.scheduling.admitters import LatencyObjectiveAdmitter
from picker.scheduling.filters.stickiness import HeadroomTierFilter, PrefixCacheAffinityFilter
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PredictionSettings, RequestFacts, SchedulingContext
from picker.scheduling.prediction import USUAL_PREFILL_THROUGHPUT, Objectives, Prediction, predict
from picker.scheduling.scorers.latency import LatencyScorer
from tests.fakes.pools import NO_HEADERS, FakePool, Numbers, context, headers

STREAMING = PredictionSettings(streaming=True)
OFF = PredictionSettings(enabled=False)


def asking(ttft: str = "", tpot: str = "", tokens: float = 1.0, priority: int = 0) -> RequestFacts:
    """A request with objectives in milliseconds."""
    wants = {name: text for name, text in (("x_llm_d_slo_ttft_ms", ttft), ("x_llm_d_slo_tpot_ms", tpot)) if text}
    return RequestFacts("m", headers(**wants), tokens, 0.0, priority)


def predicted(pool: FakePool, facts: RequestFacts, now: float = 0.0, matched: Numbers = ()) -> Prediction:
    prediction = predict(context(pool, facts=facts, now=now, matched=matched), pool.rows)
    assert prediction is not None
    return prediction


# Prediction


@pytest.mark.parametrize(
    ("pool", "seconds"),
    [
        pytest.param(FakePool(1, prefill_per_token=[0.001]), 0.1, id="prefill alone"),
        pytest.param(FakePool(1, waiting=[6], leaving=[3.0], prefill_per_token=[0.001]), 2.1, id="a queue that moves"),
        pytest.param(
            FakePool(1, waiting=[6], waiting_since=[7.5], prefill_per_token=[0.001]), 2.6, id="one that stands"
        ),
        pytest.param(FakePool(1), 100 / USUAL_PREFILL_THROUGHPUT, id="nothing was ever computed"),
        pytest.param(FakePool(1, waiting=[None], prefill_per_token=[0.001]), math.nan, id="the queue is unknown"),
        pytest.param(
            FakePool(1, running=[1], in_flight_requests=[3], prefill_per_token=[0.001]),
            0.3,
            id="two prompts like it that are not reported yet",
        ),
        pytest.param(
            FakePool(1, running=[None], waiting=[6], leaving=[3.0], in_flight_requests=[3], prefill_per_token=[0.001]),
            2.1,
            id="it is not reported how many run",
        ),
        pytest.param(
            FakePool(1, waiting=[6], leaving=[None], waiting_since=[7.5]), math.nan, id="nobody says how many leave"
        ),
        pytest.param(
            FakePool(1, waiting=[0], leaving=[None], prefill_per_token=[0.001]), 0.1, id="no matter, where nobody waits"
        ),
        pytest.param(FakePool(1, waiting=[6], leaving=[5e-324]), 1e9, id="beyond every float"),
        pytest.param(
            FakePool(1, waiting=[2], leaving=[1.0], in_flight_requests=[3], prefill_per_token=[0.001]),
            3.1,
            id="one more in the queue than is reported",
        ),
    ],
)
def test_the_first_token_takes_the_queue_and_the_prompt(pool: FakePool, seconds: float) -> None:
    assert predicted(pool, asking(tokens=100.0), now=10.0).ttft.tolist() == pytest.approx([seconds], nan_ok=True)


def test_cached_tokens_cost_nothing_and_each_endpoint_is_taken_for_itself() -> None:
    pool = FakePool(3, prefill_per_token=[0.001, 0.004, None])
    found = predicted(pool, asking(tokens=100.0), matched=[0, 75, 0])
    assert found.ttft.tolist() == pytest.approx([0.1, 0.1, 0.25]), "the last as the middle of the others"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(NO_HEADERS, (0.0, 0.0), id="none"),
        pytest.param(headers(x_llm_d_slo_ttft_ms="250", x_llm_d_slo_tpot_ms="20.5"), (0.25, 0.0205), id="both"),
        pytest.param(headers(x_slo_ttft_ms="250", x_llm_d_slo_ttft_ms="100"), (0.1, 0.0), id="the new name wins"),
        pytest.param(headers(x_slo_ttft_ms="soon", x_slo_tpot_ms="-1"), (0.0, 0.0), id="no numbers"),
        pytest.param(headers(x_slo_ttft_ms="nan", x_slo_tpot_ms="inf"), (0.0, 0.0), id="no real numbers"),
    ],
)
def test_objectives_are_read_from_headers(facts: object, expected: tuple[float, float]) -> None:
    assert Objectives.of(facts) == Objectives(*expected)  # type: ignore[arg-type] # headers


def test_an_objective_that_is_not_stated_is_not_missed() -> None:
    pool = FakePool(2, prefill_per_token=[0.05, 0.2], seconds_per_output_token=[0.01, 0.04])
    for facts, meets in (
        (asking(ttft="100"), [True, False]),
        (asking(tpot="20"), [True, False]),
        (asking(ttft="100", tpot="50"), [True, False]),
        (asking(ttft="300", tpot="50"), [True, True]),
        (asking(), [False, False]),
        (asking(tokens=0.0), [False, False]),
    ):
        decision = context(pool, facts=facts, predicting=STREAMING)
        prediction = predict(decision, pool.rows)
        assert prediction is not None
        assert prediction.meets.tolist() == meets, facts


def test_a_time_per_output_token_that_is_not_known_is_not_met() -> None:
    pool = FakePool(2, running=[1, 1], kv=[0.5, 0.5], prefill_per_token=[0.05, 0.2])
    for facts, known in ((asking(ttft="100", tpot="20"), False), (asking(ttft="100"), True), (asking(), True)):
        prediction = predict(context(pool, facts=facts, predicting=STREAMING), pool.rows)
        assert prediction is not None
        assert prediction.known.tolist() == [known, known]
        assert prediction.meets.any() == (known and prediction.stated)


def test_output_tokens_count_for_streams_only_and_a_buffer_keeps_some_of_the_time() -> None:
    pool = FakePool(1, prefill_per_token=[0.01], seconds_per_output_token=[0.02])
    facts = asking(ttft="100", tpot="30")
    for settings, headroom in (
        (PredictionSettings(), 0.0),
        (STREAMING, 0.01),
        (PredictionSettings(True, True, 0.5), -0.005),
    ):
        prediction = predict(context(pool, facts=facts, predicting=settings), pool.rows)
        assert prediction is not None
        assert prediction.tpot_headroom.tolist() == pytest.approx([headroom])


def test_what_others_on_an_endpoint_were_promised_binds_who_comes_later() -> None:
    """Until they are over, and only those who want something of their output tokens themselves."""
    pool = FakePool(3, seconds_per_output_token=[0.02, 0.02, 0.02])
    memory = PoolMemory()
    memory.sync(pool.snapshot().endpoints)
    first, second, _ = (each.authority for each in pool.snapshot().endpoints)
    promises = [Promise(first, 0.05), Promise(first, 0.025), Promise(second, 0.01), Promise("10.9.9.9:1", 0.001)]
    for promise in promises:
        memory.keep(promise)

    def headroom(facts: RequestFacts) -> list[float]:
        prediction = predict(context(pool, facts=facts, predicting=STREAMING, memory=memory), pool.rows)
        assert prediction is not None
        return prediction.tpot_headroom.tolist()

    assert headroom(asking(tpot="30")) == pytest.approx([0.005, -0.01, 0.01])
    assert headroom(asking(ttft="30")) == [0.0, 0.0, 0.0]
    for promise in (promises[1], promises[1], promises[3]):
        memory.over(promise)
    assert headroom(asking(tpot="30")) == pytest.approx([0.01, -0.01, 0.01])
    memory.over(promises[2])
    memory.over(Promise(first, 0.05))
    assert memory.tightest().tolist() == [0.05, math.inf, math.inf], "an equal one is another"


# Scorer


def with_headrooms(
    *headrooms: tuple[float, float], in_flight: Numbers = (), running: Numbers = ()
) -> tuple[FakePool, SchedulingContext]:
    """Candidates that leave these headrooms (ms) of 1,000 ms for the first token and 1,000 for each after it."""
    pool = FakePool(
        len(headrooms),
        prefill_per_token=[(1000 - first) / 1e3 for first, _ in headrooms],
        seconds_per_output_token=[(1000 - each) / 1e3 for _, each in headrooms],
        # Reported, so that nothing is ahead of the request.
        running=running or in_flight or [1] * len(headrooms),
        in_flight_requests=in_flight or [1] * len(headrooms),
    )
    return pool, context(pool, facts=asking(ttft="1000", tpot="1000"), predicting=STREAMING)


@pytest.mark.parametrize(
    ("scorer", "headrooms", "in_flight", "scores"),
    [
        pytest.param(LatencyScorer(), [(100, 20), (30, 5)], (), [0.01, 1.01], id="the tighter fit"),
        pytest.param(LatencyScorer(strategy="most"), [(100, 20), (30, 5)], (), [1.01, 0.01], id="the most left"),
        pytest.param(LatencyScorer(), [(10, 2), (50, 10), (30, 10)], (), [1.01, 0.01, 0.41], id="by weights"),
        pytest.param(LatencyScorer(), [(10, 5), (50, 5)], (), [1.01, 0.01], id="what is the same does not count"),
        pytest.param(LatencyScorer(), [(10, 5), (10, 5)], (), [0.51, 0.51], id="all the same"),
        pytest.param(LatencyScorer(0.0, 0.0), [(10, 9), (50, 1)], (), [1.01, 0.01], id="weights of nothing"),
        pytest.param(
            LatencyScorer(), [(100, 20), (-30, 5), (50, -1)], (), [0.51, 0.0, 0.0], id="who misses gets nothing"
        ),
        pytest.param(LatencyScorer(), [(-10, -5), (-100, -30)], (), [1.01, 0.01], id="the least miss"),
        pytest.param(
            LatencyScorer(strategy="most"), [(-10, -5), (-100, -30)], (), [1.01, 0.01], id="whatever is sought"
        ),
        pytest.param(LatencyScorer(), [(-50, -10), (-50, -10)], [5, 0], [0.0, 0.51], id="the idle one"),
        pytest.param(
            LatencyScorer(), [(-50, -10), (-30, 5), (10, -8)], (), [0.0, 0.0, 0.51], id="a late first token is worse"
        ),
        pytest.param(LatencyScorer(), [(-50, -10), (-30, 5)], (), [0.0, 0.51], id="both late are worst"),
    ],
)
def test_headroom_makes_the_score(
    scorer: LatencyScorer, headrooms: list[tuple[float, float]], in_flight: Numbers, scores: list[float]
) -> None:
    pool, decision = with_headrooms(*headrooms, in_flight=in_flight)
    assert scorer.score(decision, pool.rows).tolist() == pytest.approx(scores)


def test_who_works_for_others_is_not_idle() -> None:
    pool, decision = with_headrooms((-500, -10), (-50, -10), in_flight=[0, 1], running=[64, 1])
    assert LatencyScorer().score(decision, pool.rows).tolist() == [0.01, 1.01]


def test_without_an_objective_the_quickest_is_best_also_one_that_takes_no_time() -> None:
    pool = FakePool(3, running=[1, 1, 1], in_flight_requests=[1, 1, 1], prefill_per_token=[0.001, 0.001, 0.002])
    decision = context(pool, facts=asking(tokens=100.0), matched=[0, 100, 0], total_tokens=100.0)
    assert LatencyScorer().score(decision, pool.rows).tolist() == pytest.approx([0.51, 1.01, 0.01])


def test_a_candidate_of_which_nothing_is_predicted_has_an_unknown_score() -> None:
    pool = FakePool(3, waiting=[0, None, 0], prefill_per_token=[0.1, 0.1, 0.2])
    scores = LatencyScorer().score(context(pool, facts=asking()), pool.rows).tolist()
    assert scores == pytest.approx([1.01, math.nan, 0.01], nan_ok=True)


@pytest.mark.parametrize(
    ("scorer", "scores"),
    [
        # A third each of free cache, short queue, cached prefix.
        pytest.param(LatencyScorer(), [0.77, 0.57], id="equal weights"),
        pytest.param(LatencyScorer(kv_weight=0, queue_weight=2, prefix_weight=0), [1.0, 0.0], id="the queue alone"),
        pytest.param(LatencyScorer(kv_weight=0, queue_weight=0, prefix_weight=0), [0.8, 0.7], id="nothing: the cache"),
    ],
)
def test_without_predictions_load_and_prefix_make_the_score(scorer: LatencyScorer, scores: list[float]) -> None:
    pool = FakePool(2, kv=[0.2, 0.3], waiting=[0, 5])
    decision = context(pool, matched=[50, 100], total_tokens=100.0, predicting=OFF)
    assert scorer.score(decision, pool.rows).tolist() == pytest.approx(scores)


# Filters


def kept(each: HeadroomTierFilter, decision: SchedulingContext, rows: IntArray) -> list[int]:
    return each.keep(decision, rows).tolist()


@pytest.mark.parametrize(
    ("headrooms", "rows"),
    [
        pytest.param([(10, 5), (-1, 5), (5, -1)], [0], id="those that meet both"),
        pytest.param([(-10, 5), (-1, 5)], [0, 1], id="none does"),
        pytest.param([(10, 5), (0, 0)], [0, 1], id="all do"),
        pytest.param([(-10, 5)], [0], id="one candidate"),
    ],
)
def test_the_tier_that_meets_the_objectives_stays(headrooms: list[tuple[float, float]], rows: list[int]) -> None:
    pool, decision = with_headrooms(*headrooms)
    assert kept(HeadroomTierFilter(explore_missing=0.0), decision, pool.rows) == rows


def test_now_and_then_the_other_tier_gets_its_chance_and_with_it_who_is_unknown() -> None:
    pool = FakePool(3, waiting=[0, None, 0], prefill_per_token=[0.1, 0.1, 9.0])
    explored = 0
    rng = random.Random(5)
    for _ in range(1000):
        decision = context(pool, facts=asking(ttft="1000"), seed=rng.getrandbits(32))
        rows = kept(HeadroomTierFilter(explore_missing=0.2), decision, pool.rows)
        assert rows in ([0], [1, 2])
        explored += rows == [1, 2]
    assert abs(explored / 1000 - 0.2) < 0.05


def test_without_predictions_all_stay() -> None:
    pool = FakePool(2, prefill_per_token=[0.1, 9.0])
    assert kept(HeadroomTierFilter(0.0), context(pool, facts=asking(ttft="1000"), predicting=OFF), pool.rows) == [0, 1]


@pytest.mark.parametrize(("seconds", "rows"), [(1.05, [0]), (1.15, [0, 1])])
def test_stickiness_ends_where_the_predicted_wait_costs_more(seconds: float, rows: list[int]) -> None:
    pool = FakePool(2, waiting=[10, 0], leaving=[10 / seconds, 1.0], prefill_per_token=[0.001, 0.001])
    each = PrefixCacheAffinityFilter(max_ttft_penalty_seconds=1.0, peak_prefill_throughput=None)
    decision = context(pool, matched=[100, 0], total_tokens=100.0, facts=RequestFacts("m", NO_HEADERS, 100.0, 0.0))
    # The one that holds nothing has 0.1 s of prefill.
    assert each.keep(decision, pool.rows).tolist() == rows


# Admission


@pytest.mark.parametrize(
    ("pool", "facts", "admitted"),
    [
        pytest.param(FakePool(2, running=[3, 3], kv=[0.5, 0.5]), asking("5", priority=-1), True, id="it will be met"),
        pytest.param(
            FakePool(2, running=[3, 3], kv=[0.5, 0.5], prefill_per_token=[1, 2]),
            asking("5", priority=-1),
            False,
            id="all will be late",
        ),
        pytest.param(
            FakePool(2, running=[3, 3], kv=[0.5, 0.5], prefill_per_token=[1, 2]), asking("5"), True, id="not sheddable"
        ),
        pytest.param(
            FakePool(2, running=[3, 3], kv=[0.5, 0.5], prefill_per_token=[1, 2]),
            asking(priority=-1),
            True,
            id="no objective",
        ),
        pytest.param(
            FakePool(2, running=[3, 0], kv=[0.5, 0.5], prefill_per_token=[1, 2]),
            asking("5", priority=-1),
            True,
            id="one is idle",
        ),
        pytest.param(
            FakePool(2, running=[3, 3], kv=[0.01, 0.5], prefill_per_token=[1, 2]),
            asking("5", priority=-1),
            True,
            id="one is cold",
        ),
        pytest.param(
            FakePool(2, waiting=[None, None], running=[3, 3], kv=[0.5, 0.5]),
            asking("5", priority=-1),
            True,
            id="nothing is known",
        ),
    ],
)
def test_who_cannot_be_served_in_time_is_shed(pool: FakePool, facts: RequestFacts, admitted: bool) -> None:
    assert LatencyObjectiveAdmitter().admits(context(pool, facts=facts), pool.rows) is admitted

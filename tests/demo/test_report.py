"""Summaries count everything, average only what was answered, and never show unknown as 0."""

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.demo.plot import plot
from infscale.demo.report import (
    MEASURES,
    AdapterAnswer,
    DemoReport,
    EndpointLoad,
    LoadSample,
    PhaseRecord,
    PhaseSummary,
    Quantiles,
    WantedReplicas,
)
from infscale.sim.load.load_generator import Outcome


def answered(number: int, ttft: float = 0.1, tpot: float | None = 0.02, endpoint: str = "pod-0") -> Outcome:
    return Outcome(number, 0.001, number + 1.0, 200, endpoint, ttft, tpot, 100, 25, 10)


def failed(number: int, failure: str = "status 503") -> Outcome:
    return Outcome(number, 0.001, number + 50.0, 503, failure=failure)


def cached(tokens: int) -> Outcome:
    return Outcome(0, 0.0, 1.0, 200, "a", 0.1, 0.1, 100, tokens)


SAMPLES = (
    LoadSample(0.5, (EndpointLoad("pod-0", 3.0, 2.0, 0.5), EndpointLoad("pod-1", None, None, None))),
    LoadSample(1.0, (EndpointLoad("pod-0", 1.0, 4.0, 0.6), EndpointLoad("pod-1", 0.0, 1.0, 0.25))),
)
ANSWERS = (AdapterAnswer(1.0, "waiting_requests", "2 per pod", "4", 3, "4 / target 2 per pod → 3 replicas"),)


def report(round_robin: tuple[Outcome, ...], infscale: tuple[Outcome, ...]) -> DemoReport:
    wanted = (WantedReplicas(1.0, 3),)
    return DemoReport(
        seed=7,
        versions={"infscale": "0"},
        workload={"kind": "built-in chat"},
        servers={"count": 2},
        round_robin=PhaseRecord(round_robin, SAMPLES, ANSWERS),
        reference=PhaseRecord(round_robin, SAMPLES, ANSWERS),
        infscale=PhaseRecord(infscale, SAMPLES, ANSWERS, wanted),
    )


def test_failures_are_counted_by_kind_and_left_out_of_latencies() -> None:
    summary = PhaseSummary.of([answered(0), failed(1), failed(2, "timeout"), failed(3), answered(4, 0.3)])
    assert (summary.requests, summary.failed) == (5, 3)
    assert summary.failures == {"status 503": 2, "timeout": 1}
    assert summary.ttft.p50 == pytest.approx(0.2)
    assert summary.seconds == 5.0
    assert summary.throughput_rps == pytest.approx(2 / 5)
    assert summary.output_tokens_per_second == pytest.approx(20 / 5)


def test_the_hit_ratio_weighs_requests_by_their_prompts() -> None:
    short = Outcome(0, 0.0, 1.0, 200, "a", 0.1, 0.1, prompt_tokens=100, cached_tokens=100)
    long = Outcome(1, 0.0, 1.0, 200, "a", 0.1, 0.1, prompt_tokens=900, cached_tokens=0)
    assert PhaseSummary.of([short, long]).prefix_hit_ratio == pytest.approx(0.1)


def test_a_phase_without_answers_has_unknown_latencies() -> None:
    summary = PhaseSummary.of([failed(0)])
    assert summary.ttft == Quantiles(None, None, None)
    assert summary.prefix_hit_ratio is None
    assert summary.throughput_rps == 0.0
    assert summary.document()["ttft_seconds"] == {"p50": None, "p90": None, "p99": None}


@given(st.lists(st.floats(0.0, 1e3), min_size=1, max_size=100))
def test_percentiles_are_ordered_and_within_the_values(values: list[float]) -> None:
    quantiles = Quantiles.of(values)
    assert quantiles.p50 is not None
    assert quantiles.p90 is not None
    assert quantiles.p99 is not None
    slack = 1e-9 * max(values)
    assert min(values) - slack <= quantiles.p50 <= quantiles.p90 + slack
    assert quantiles.p90 - slack <= quantiles.p99 <= max(values) + slack


def test_the_report_has_the_keys_scripts_rely_on() -> None:
    document = orjson.loads(orjson.dumps(report((answered(0),), (answered(0), failed(1))).document()))
    over = {"infscale_over_round_robin", "infscale_over_reference"}
    assert set(document) == {"seed", "versions", "workload", "servers", "phases", *over}
    assert document["phases"]["infscale"]["wanted_replicas"] == [{"at_seconds": 1.0, "replicas": 3}]
    for phase in ("round_robin", "reference", "infscale"):
        found = document["phases"][phase]
        assert {"requests", "failed", "throughput_rps", "prefix_hit_ratio"} <= set(found)
        for measure in ("ttft_seconds", "tpot_seconds"):
            assert set(found[measure]) == {"p50", "p90", "p99"}
        assert found["adapter_answers"][0]["replicas"] == 3
        assert found["endpoint_loads"][0]["waiting"] == {"pod-0": 3.0, "pod-1": None}
    assert document["phases"]["infscale"]["failed"] == 1


def test_ratios_compare_infscale_with_round_robin_and_are_unknown_over_zero() -> None:
    document = report((answered(0, ttft=0.4),), (answered(0, ttft=0.1),)).document()
    ratios = document["infscale_over_round_robin"]
    assert isinstance(ratios, dict)
    assert ratios["time_to_first_token_p90"] == pytest.approx(0.25)
    assert ratios["failed_requests"] is None
    assert set(ratios) == {measure.name.replace(" ", "_") for measure in MEASURES}


@pytest.mark.parametrize(
    ("round_robin", "infscale"),
    [
        pytest.param(
            PhaseRecord(tuple(answered(n, 0.1 * n + 0.05) for n in range(20)), SAMPLES),
            PhaseRecord(
                tuple(answered(n, 0.02 * n + 0.05) for n in range(20)), SAMPLES, wanted=(WantedReplicas(0.5, 9),)
            ),
            id="all phases",
        ),
        pytest.param(PhaseRecord((failed(0),)), PhaseRecord((failed(0),)), id="nothing measured"),
        pytest.param(PhaseRecord((answered(0),), SAMPLES[:1]), PhaseRecord((answered(0),)), id="one request"),
    ],
)
def test_the_plot_is_written_whatever_was_measured(
    tmp_path: Path, round_robin: PhaseRecord, infscale: PhaseRecord
) -> None:
    path = tmp_path / "plot.png"
    plot({"round robin": round_robin, "reference": infscale, "infscale": infscale}, "title", 2, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_ratio_is_null_not_nan() -> None:
    summary = PhaseSummary.of([answered(0, ttft=math.nan)])
    assert summary.document()["ttft_seconds"] == {"p50": None, "p90": None, "p99": None}


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "words"),
    [
        ("time to first token p90", answered(0, ttft=0.1), answered(0, ttft=0.49), "4.9 × faster"),
        ("time to first token p90", answered(0, ttft=0.49), answered(0, ttft=0.1), "4.9 × slower"),
        ("time per output token p50", answered(0, tpot=0.1), answered(0, tpot=0.108), "1.08 × faster"),
        ("time per output token p50", answered(0, tpot=0.1), answered(0, tpot=0.1), "the same"),
        ("time per output token p50", answered(0, tpot=0.1), answered(0, tpot=None), "–"),
        ("prefix hit ratio", cached(60), cached(20), "3.0 × more"),
        ("throughput", answered(1), answered(0), "2.0 × less"),
        ("failed requests", answered(0), failed(0), "–"),
    ],
)  # fmt: skip
def test_a_gain_is_said_as_people_say_it(name: str, ours: Outcome, theirs: Outcome, words: str) -> None:
    measure = next(each for each in MEASURES if each.name == name)
    assert measure.compared(PhaseSummary.of([ours]), PhaseSummary.of([theirs])) == words

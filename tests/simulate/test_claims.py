"""What is claimed of a gateway: how a run is measured while requests arrive, and what is said of each claim."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.claims import PICKERS, SERVICE, Extent, Runs, Steady, covered, markdown, measured, verdicts
from infscale.simulate.run_result import RequestTable

PICKER = "infscale"


def table(rows: Sequence[tuple[float, float, float, int, int]]) -> RequestTable:
    """Of rows of arrival, first token, end, output tokens and server."""
    count = len(rows)
    arrived, first, ended, tokens, server = (np.array(each) for each in zip(*rows, strict=True))
    nothing = np.zeros(count, dtype=np.int64)
    return RequestTable(
        ("interactive",),
        (),
        arrived,
        first,
        ended,
        nothing + 1,
        nothing,
        tokens,
        server,
        nothing,
        nothing - 1,
        nothing > 0,
        (),
        nothing - 1,
        nothing - 1,
    )


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20))))
def test_covered_seconds_are_those_in_which_a_span_lies(given_spans: list[tuple[int, int]]) -> None:
    spans = sorted((start, start + length) for start, length in given_spans)
    seconds = {second for start, end in spans for second in range(start, end)}
    starts, ends = (np.array([each[place] for each in spans], dtype=np.float64) for place in (0, 1))
    assert covered(starts, ends) == len(seconds)


def test_a_run_is_measured_after_its_beginning_and_until_the_last_arrival() -> None:
    """The window is from 3 s to 9 s: what ends later is no throughput, what came sooner has no latency."""
    found = Steady.of(
        table(
            [
                (0.0, 8.0, 8.9, 10, 0),
                (3.0, 3.5, 4.5, 11, 1),
                (6.0, 6.5, 7.5, 11, 1),
                (9.0, 10.0, 12.0, 11, 0),
            ]
        ),
        2,
    )
    assert found.throughput == pytest.approx(3 / 6)
    assert found.tpot == pytest.approx(np.quantile([0.1, 0.1, 0.2], 0.9))
    assert found.per_token == pytest.approx(np.quantile([1.5 / 11, 1.5 / 11, 3 / 11], 0.9))
    assert found.busy == pytest.approx((5.9 + 1.5 + 1.5) / 12)


def runs(throughput: float = 1.0, latency: float = 1.0, busy: float = 1.0, spread: float = 0.001) -> Runs:
    """Three seeds at 500 and 900 requests a second; above 500 the picker has so many times what the Service has."""
    noise = (1 - spread, 1.0, 1 + spread)
    service = [Steady(900.0, 0.01, 0.02, 0.5)] * 3
    ours = [Steady(900.0 * throughput * each, 0.01 * latency * each, 0.02 * latency * each, 0.5 * busy * each)
            for each in noise]  # fmt: skip
    return {500: {SERVICE: service, PICKER: service}, 900: {SERVICE: service, PICKER: ours}}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(runs(), ["reproduced", "refuted", "refuted", "refuted"], id="no difference"),
        pytest.param(runs(1.01, 0.72, 1.16), ["reproduced"] * 4, id="as claimed"),
        pytest.param(runs(1.1, 0.5, 1.4), ["surpassed"] * 4, id="more than claimed"),
        pytest.param(runs(0.9, 0.9, 1.05), ["refuted", "in part", "in part", "in part"], id="less than claimed"),
        pytest.param(runs(1.0, 1.3, 0.8), ["reproduced", "refuted", "refuted", "refuted"], id="the other way round"),
        pytest.param(runs(0.9, 0.7, 1.15, 0.4), ["reproduced", "refuted", "refuted", "refuted"], id="chance"),
    ],
)
def test_each_claim_is_judged_by_what_chance_does_not_explain(made: Runs, words: list[str]) -> None:
    assert [each.partition(": ")[2].partition(" (")[0] for each in verdicts(made, PICKER)] == words


def test_the_latency_claim_is_made_above_500_requests_a_second_only() -> None:
    made = runs(latency=0.5)
    below = {100: made[900], 900: made[500]}
    assert ["refuted" in each for each in verdicts(below, PICKER)] == [False, True, True, True]


def test_the_table_has_means_of_the_service_and_changes_of_the_others() -> None:
    lines = markdown(runs(latency=0.7)).splitlines()
    assert len(lines) == 2 + 4
    assert lines[4].startswith(f"| 900 | `{SERVICE}` | 900 ± 0 | 10 ± 0 ms | 20 ± 0 ms | 50 ± 0 % |")
    assert lines[5].startswith(f"| 900 | `{PICKER}` | -0.0 % (-0.2 to +0.2) | -30.0 % (-30.2 to -29.8) |")


def test_runs_are_played_for_each_rate_policy_and_seed() -> None:
    found = measured(Extent((100, 200), seconds=0.5, seeds=2), (SERVICE, *PICKERS), 1)
    assert list(found) == [100, 200]
    assert {name: len(each) for name, each in found[200].items()} == dict.fromkeys((SERVICE, *PICKERS), 2)
    assert all(0 < each.busy <= 1 and each.tpot <= each.per_token for each in found[200][PICKER])

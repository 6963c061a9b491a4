"""Traces are read strictly, and thinning keeps what shares a prefix together."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.sim.load.traces import TraceRequest, TraceWindow, parse_trace, spread, thin

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:01,12,1
"""


def line(timestamp: int, tokens: int, blocks: list[int], output: int = 5) -> str:
    return f'{{"timestamp": {timestamp}, "input_length": {tokens}, "output_length": {output}, "hash_ids": {blocks}}}'


MOONCAKE = "\n".join(
    [
        line(0, 1100, [0, 1, 2]),
        line(500, 1100, [0, 3, 4]),
        "",
        line(900, 1600, [0, 1, 2, 5]),
        line(1500, 300, [0]),
    ]
)


def parsed(text: str, seed: int = 1) -> tuple[TraceRequest, ...]:
    return spread(parse_trace(text, "trace"), random.Random(seed))


def test_mooncake_requests_are_grouped_by_the_first_block_that_not_all_share() -> None:
    requests = parsed(MOONCAKE)
    assert [request.at_seconds for request in requests] == [0.0, 0.5, 0.9, 1.5]
    assert [request.input_tokens for request in requests] == [1100, 1100, 1600, 300]
    first, second, third, fourth = (request.group for request in requests)
    assert first == third
    assert len({first, second, fourth}) == 3


def test_azure_requests_count_from_the_first_and_share_nothing() -> None:
    requests = parsed(AZURE)
    assert [round(request.at_seconds, 3) for request in requests] == [0.0, 4.315, 14.319]
    assert [(request.input_tokens, request.output_tokens) for request in requests] == [(374, 44), (396, 109), (12, 1)]
    assert all(request.blocks == () for request in requests)
    assert len({request.group for request in requests}) == 3


def test_requests_are_in_order_of_arrival_even_where_the_file_is_not() -> None:
    requests = parsed("\n".join([line(4000, 10, [7]), line(1000, 10, [8])]))
    assert [request.at_seconds for request in requests] == [0.0, 3.0]
    assert requests[0].blocks == (8,)


def test_coarse_timestamps_are_spread_over_the_clock_s_step_the_same_for_a_seed() -> None:
    text = "\n".join(line(3000 * (number // 5), 10, [number]) for number in range(50))
    times = [request.at_seconds for request in parsed(text, 7)]
    assert len(set(times)) == 50
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] < 30.0
    assert times == [request.at_seconds for request in parsed(text, 7)]
    assert times != [request.at_seconds for request in parsed(text, 8)]


def test_fine_timestamps_stay_as_they_are() -> None:
    text = "\n".join(line(2000 * number, 10, [number]) for number in range(10))
    assert [request.at_seconds for request in parsed(text)] == [2.0 * number for number in range(10)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "trace: the trace is empty", id="empty"),
        pytest.param("\n \n", "trace: the trace is empty", id="blank"),
        pytest.param("{nonsense", "trace:1: expected one JSON object", id="not JSON"),
        pytest.param(MOONCAKE + "\n[1]", "trace:6: expected one JSON object per line", id="a list"),
        pytest.param(line(-1, 10, [1]), "trace:1: timestamp: expected a whole number at least 0", id="before time"),
        pytest.param(line(0, 0, []), "trace:1: input_length: expected a whole number within 1", id="no input"),
        pytest.param(line(0, 10, [1], 0), "trace:1: output_length: expected a whole number within 1", id="no output"),
        pytest.param(line(0, 513, [1]), "trace:1: hash_ids: 513 tokens are 2 blocks of 512, got 1", id="block count"),
        pytest.param(
            '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": ["x"]}',
            "trace:1: hash_ids: expected whole numbers",
            id="block type",
        ),
        pytest.param(
            '{"timestamp": 0, "input_length": true, "output_length": 1, "hash_ids": [1]}',
            "trace:1: input_length: expected a whole number",
            id="boolean",
        ),
        pytest.param(
            '{"timestamp": 0, "input_length": 1, "output_length": 1}',
            "trace:1: hash_ids: expected a list",
            id="no blocks",
        ),
        pytest.param("time,in,out\n1,2,3", "trace:1: expected JSON lines, or CSV with the columns", id="other CSV"),
        pytest.param("TIMESTAMP,ContextTokens,GeneratedTokens\n", "trace: the trace has a header but", id="header"),
        pytest.param(AZURE + "2023-11-16 18:16:02,5", "trace:5: expected 3 cells, got 2", id="short row"),
        pytest.param(AZURE + "yesterday,5,5", "trace:5: TIMESTAMP: expected a date", id="no date"),
        pytest.param(AZURE + "2023-11-16 18:16:02,5.5,5", "trace:5: ContextTokens: expected a whole", id="fraction"),
        pytest.param(
            AZURE + "2023-11-16 18:16:02," + "9" * 5000 + ",5", "trace:5: ContextTokens: expected a whole", id="huge"
        ),
        pytest.param(AZURE + '"2023-11-16 18:16:02\n,1,1', "trace:5: expected 3 cells, got 1", id="open quote"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(text)
    assert message in str(refused.value)


def made(groups: list[int], gap: float = 0.1) -> tuple[TraceRequest, ...]:
    return tuple(TraceRequest(index * gap, (0, group), 600, 10, group) for index, group in enumerate(groups))


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=200),
    st.floats(0.05, 5.0),
    st.integers(0, 2**16),
)
def test_thinning_keeps_groups_whole_and_the_rate_bounded(groups: list[int], rate: float, seed: int) -> None:
    requests = made(groups)
    window = TraceWindow(0.0, len(groups) * 0.1, rate, 10_000)
    subset = thin(requests, window, random.Random(seed))
    offered, kept = Counter(groups), Counter(request.group for request in subset.requests)
    assert all(kept[group] == offered[group] for group in kept)
    assert subset.groups == len(kept)
    largest = max(offered.values())
    assert len(subset.requests) <= rate * window.seconds + largest / 2
    assert [one.at_seconds for one in subset.requests] == sorted(one.at_seconds for one in subset.requests)


def test_a_rate_above_the_trace_s_keeps_everything() -> None:
    requests = made([1, 2, 1, 3])
    assert thin(requests, TraceWindow(0.0, 1.0, 1000.0, 10_000), random.Random(0)).requests == requests


def test_the_window_starts_at_zero_and_the_subset_says_what_it_left_out() -> None:
    requests = (*made([1, 2, 3, 4]), TraceRequest(0.4, (0, 5), 99_000, 10, 5), TraceRequest(9.0, (0, 1), 600, 10, 1))
    subset = thin(requests, TraceWindow(0.15, 1.0, 100.0, 10_000), random.Random(0))
    assert [round(request.at_seconds, 2) for request in subset.requests] == [0.05, 0.15]
    assert subset.description() == {
        "start_seconds": 0.15,
        "window_seconds": 1.0,
        "requests": 2,
        "requests_in_window": 3,
        "requests_in_trace": 6,
        "fraction_of_window": 0.6667,
        "prefix_groups": 2,
        "prefix_groups_in_window": 3,
        "left_out_as_too_long": 1,
    }


def test_the_same_seed_thins_alike() -> None:
    requests = made([index % 50 for index in range(200)])
    window = TraceWindow(0.0, 20.0, 2.0, 10_000)
    first, again, other = (thin(requests, window, random.Random(seed)).requests for seed in (1, 1, 2))
    assert first == again
    assert first != other

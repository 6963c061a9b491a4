"""Arrivals are spread where a clock was coarse, and thinning keeps what shares a prefix together."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.load.trace_formats import parse_trace
from infscale.sim.load.traces import TraceRequest, TraceWindow, spread, thin


def line(timestamp: int, tokens: int, blocks: list[int], output: int = 5) -> str:
    return f'{{"timestamp": {timestamp}, "input_length": {tokens}, "output_length": {output}, "hash_ids": {blocks}}}'


def parsed(text: str, seed: int = 1) -> tuple[TraceRequest, ...]:
    return spread(parse_trace(text, "trace"), random.Random(seed))


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

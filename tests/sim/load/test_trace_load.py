"""A trace is played from where, as long and as fast as was asked for, with the prefixes that it names."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.sim.load.trace_load import TraceLoad, TracePlay, played
from infscale.sim.load.traces import TraceRequest
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import VirtualRequest

TRACE = tuple(
    TraceRequest(float(second), (0, 1 + second // 10, 100 + second), 1100, 20, second // 10, (512,) * 3)
    for second in range(100)
)


def chosen(seed: int = 1, **settings: Any) -> tuple[TraceRequest, ...]:
    return played(TRACE, TracePlay(**settings), 131_072, random.Random(seed))


def load(trace: tuple[TraceRequest, ...], limited: bool = True) -> TraceLoad:
    return TraceLoad(LoadTarget("model", limited=limited), TracePlay(), "trace.jsonl", "00", trace)


def virtual(trace: tuple[TraceRequest, ...], limited: bool = True) -> list[VirtualRequest]:
    return list(load(trace, limited).stream(random.Random(1)).arriving())


def test_the_whole_trace_is_played_as_it_is_where_nothing_is_asked_for() -> None:
    assert chosen() == TRACE


def test_a_window_starts_at_zero() -> None:
    requests = chosen(start_seconds=20.0, seconds=10.0)
    assert [one.at_seconds for one in requests] == [float(second) for second in range(10)]
    assert requests[0].blocks == TRACE[20].blocks


def test_a_number_of_requests_ends_it() -> None:
    assert len(chosen(requests=7)) == 7


@pytest.mark.parametrize("part", [{"requests": 20}, {"seconds": 20.0}])
def test_without_a_start_each_seed_has_a_part_of_its_own(part: dict[str, Any]) -> None:
    parts = [chosen(seed, **part) for seed in range(5)]
    assert len({requests[0].blocks for requests in parts}) > 1
    assert {len(requests) for requests in parts} == {20}
    assert all(0.0 <= requests[0].at_seconds < 1.0 and requests[-1].at_seconds < 20.0 for requests in parts)


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_a_rate_alone_changes_the_speed_and_leaves_nothing_out(rate: float) -> None:
    requests = chosen(rate=rate)
    assert len(requests) == len(TRACE)
    assert len(requests) / requests[-1].at_seconds == pytest.approx(rate, rel=0.02)


def test_a_speed_alone_keeps_every_request() -> None:
    assert [one.at_seconds for one in chosen(speed=10.0)] == pytest.approx([second / 10 for second in range(100)])


@pytest.mark.parametrize("start", [0.0, 50.0])
def test_speed_and_rate_leave_out_whole_groups(start: float) -> None:
    requests = chosen(start_seconds=start, speed=10.0, rate=4.0)
    assert len(requests) / ((100.0 - start) / 10.0) == pytest.approx(4.0, rel=0.3)
    assert requests[-1].at_seconds <= (100.0 - start) / 10.0
    for group in {one.group for one in requests}:
        assert sum(one.group == group for one in requests) == 10


@pytest.mark.parametrize(("settings", "rate"), [({"rate": 20.0}, 20.0), ({"speed": 3.0}, 3.0), ({}, 1.0)])
def test_other_arrivals_keep_the_rate_and_the_requests(settings: dict[str, Any], rate: float) -> None:
    requests = chosen(cv=1.5, **settings)
    assert [one.blocks for one in requests] == [one.blocks for one in TRACE]
    assert len(requests) / requests[-1].at_seconds == pytest.approx(rate, rel=0.1)
    assert len({round(one.at_seconds * 100) % 100 for one in requests}) > 20


def test_requests_that_no_server_can_hold_are_left_out() -> None:
    long = TraceRequest(0.5, (), 5000, 1)
    requests = played((TRACE[0], long, TRACE[1]), TracePlay(), 2000, random.Random(1))
    assert requests == TRACE[:2]


@pytest.mark.parametrize(
    "bad",
    [
        {"rate": 0.0},
        {"speed": -1.0},
        {"seconds": float("nan")},
        {"requests": 0},
        {"start_seconds": -1.0},
        {"start_seconds": 100.0},
        {"start_seconds": 100.0, "speed": 1.0, "rate": 1.0},
    ],
)
def test_what_leaves_nothing_to_play_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        chosen(**bad)


def test_prompts_share_exactly_the_blocks_they_name() -> None:
    trace = (
        TraceRequest(0.0, (0, 1, 2), 1100, 5, sizes=(512,) * 3),
        TraceRequest(0.5, (0, 1, 3), 1200, 6, sizes=(512,) * 3),
        TraceRequest(0.7, (), 40, 7),
        TraceRequest(0.9, (), 40, 8),
    )
    requests = virtual(trace)
    prompts = [request.prompt() for request in requests]
    assert [len(prompt) for prompt in prompts] == [4400, 4800, 160, 160]
    assert prompts[0][:4096] == prompts[1][:4096]
    assert prompts[0][4096:4400] != prompts[1][4096:4400]
    assert prompts[2] != prompts[3]
    assert [request.at_seconds for request in requests] == [0.0, 0.5, 0.7, 0.9]
    assert [request.prompt_tokens for request in requests] == [1100, 1200, 40, 40]
    assert [request.max_output_tokens for request in requests] == [5, 6, 7, 8]
    assert [request.path for request in requests] == ["/v1/completions"] * 4


def test_bodies_state_no_limit_where_clients_would_not_know_one() -> None:
    assert [request.max_output_tokens for request in virtual(TRACE[:2], limited=False)] == [None, None]


def test_nothing_follows_an_answer_of_a_trace() -> None:
    stream = load(TRACE[:1]).stream(random.Random(1))
    (request,) = stream.arriving()
    assert stream.next(request, 1.0) is None


def test_its_description_says_what_is_played_and_of_which_file() -> None:
    said = load(TRACE).description()
    assert (said["file"], said["xxh3_128"], said["requests_in_trace"]) == ("trace.jsonl", "00", 100)
    orjson.dumps(said)


def test_a_request_for_a_lora_adapter_names_it_and_shares_nothing_with_the_base_model() -> None:
    base = TraceRequest(0.0, (0, 1), 1024, 5, sizes=(512,) * 2)
    trace = (base, replace(base, lora="tuned"), replace(base, lora="other"), replace(base, lora="tuned"))
    requests = virtual(trace)
    assert [(one.model, one.lora) for one in requests] == [
        ("model", None),
        ("tuned", "tuned"),
        ("other", "other"),
        ("tuned", "tuned"),
    ]
    hashes = [one.block_hashes(16) for one in requests]
    assert hashes[1] == hashes[3]
    assert len({*hashes[0], *hashes[1], *hashes[2]}) == 3 * 64
    assert load(trace).description()["loras"] == ["other", "tuned"]

"""The load is bounded, seeded, and shares prefixes byte for byte."""

import random
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.sim.load.traces import TraceRequest
from infscale.sim.load.workload import (
    BYTES_PER_TOKEN,
    ChatLoad,
    LoadRequest,
    arrivals,
    chat_requests,
    decode_requests,
    encode_requests,
    prose,
    trace_requests,
)


def chat(seed: int = 1, **settings: Any) -> tuple[LoadRequest, ...]:
    chosen: dict[str, Any] = {"seconds": 10.0, "rate": 10.0, "groups": 5, "system_tokens": 200, **settings}
    load = ChatLoad(**chosen)
    return chat_requests(load, "model", random.Random(seed))


def messages(request: LoadRequest) -> list[dict[str, str]]:
    return orjson.loads(request.body)["messages"]


@given(st.floats(0.1, 60.0), st.floats(0.1, 50.0), st.floats(0.2, 5.0), st.integers(0, 2**16))
def test_arrivals_are_bounded_in_count_and_time(seconds: float, rate: float, burstiness: float, seed: int) -> None:
    times = arrivals(seconds, rate, burstiness, random.Random(seed))
    assert len(times) == max(1, round(seconds * rate))
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] <= seconds


def test_burstier_arrivals_have_more_in_the_busiest_second() -> None:
    def busiest(burstiness: float) -> int:
        times = arrivals(100.0, 20.0, burstiness, random.Random(3))
        return max(sum(second <= at < second + 1 for at in times) for second in range(100))

    assert busiest(3.0) > 1.5 * busiest(0.3)


def test_one_seed_gives_one_load_byte_for_byte() -> None:
    assert chat(5) == chat(5)
    assert chat(5) != chat(6)


def test_requests_survive_the_way_to_another_process() -> None:
    assert decode_requests(encode_requests(chat())) == chat()


def test_a_group_s_system_prompt_is_the_same_bytes_in_all_its_requests() -> None:
    systems = {messages(request)[0]["content"] for request in chat()}
    assert len(systems) == 5
    assert all(len(system) == 200 * BYTES_PER_TOKEN for system in systems)


def test_a_conversation_grows_by_whole_turns_up_to_its_limit() -> None:
    requests = chat(groups=1, users_per_group=1, turns=3)
    lengths = [len(messages(request)) for request in requests]
    assert lengths[:7] == [2, 4, 6, 2, 4, 6, 2]
    for earlier, later in pairwise(requests):
        before, after = messages(earlier), messages(later)
        if len(after) > 2:
            assert after[: len(before)] == before


def test_token_counts_are_a_quarter_of_the_bytes() -> None:
    for request in chat():
        assert sum(len(one["content"]) for one in messages(request)) == request.prompt_tokens * BYTES_PER_TOKEN
        body = orjson.loads(request.body)
        assert body["max_tokens"] == request.output_tokens
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}


def test_trace_prompts_share_exactly_the_blocks_they_name() -> None:
    made = trace_requests(
        [
            TraceRequest(0.0, (0, 1, 2), 1100, 5),
            TraceRequest(0.5, (0, 1, 3), 1200, 6),
            TraceRequest(0.7, (), 40, 7),
            TraceRequest(0.9, (), 40, 8),
        ],
        "model",
        random.Random(1),
    )
    prompts: list[str] = [orjson.loads(request.body)["prompt"] for request in made]
    assert [len(prompt) for prompt in prompts] == [4400, 4800, 160, 160]
    assert prompts[0][:4096] == prompts[1][:4096]
    assert prompts[0][4096:4400] != prompts[1][4096:4400]
    assert prompts[2] != prompts[3]
    assert [request.at_seconds for request in made] == [0.0, 0.5, 0.7, 0.9]
    assert {request.path for request in made} == {"/v1/completions"}


@given(st.integers(1, 400), st.integers(0, 2**16))
def test_prose_has_four_ascii_bytes_per_token(tokens: int, seed: int) -> None:
    text = prose(tokens, random.Random(seed))
    assert text.isascii()
    assert len(text) == tokens * BYTES_PER_TOKEN


@pytest.mark.parametrize("bad", [{"seconds": 0.0}, {"rate": -1.0}, {"burstiness": 0.0}, {"groups": 0}, {"turns": 0}])
def test_an_impossible_load_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        chat(**bad)

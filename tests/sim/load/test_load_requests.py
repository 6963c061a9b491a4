"""Requests for real servers say what the virtual ones are, in the bytes of their bodies."""

import random

import orjson

from infscale.sim.http.completions import parse_call
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import even, fixed
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.load_requests import decode_requests, encode_requests, load_requests
from infscale.sim.load.traffic import LoadTarget

LOAD = GroupLoad(
    LoadTarget("model"), Arrivals(10.0, (10.0,)), even(40, 0.5), even(30, 0.5), groups=5, system=fixed(200), turns=3
)


def test_bodies_want_a_stream_with_usage_and_the_answer_s_exact_length() -> None:
    virtual = list(LOAD.stream(random.Random(1)).arriving())
    made = load_requests(virtual)
    assert len(made) == 100
    for request, one in zip(made, virtual, strict=True):
        assert (request.at_seconds, request.path) == (one.at_seconds, one.path)
        assert (request.prompt_tokens, request.output_tokens) == (one.prompt_tokens, one.output_tokens)
        body = orjson.loads(request.body)
        assert body["max_tokens"] == one.output_tokens
        assert body["ignore_eos"] is True
        call = parse_call(request.body, chat=True)
        assert (call.stream, call.include_usage, call.prompt_tokens) == (True, True, one.engine_prompt_tokens)


def test_requests_survive_the_way_to_another_process() -> None:
    made = load_requests(LOAD.stream(random.Random(1)).arriving())
    assert decode_requests(encode_requests(made)) == made

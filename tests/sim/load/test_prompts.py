"""What the picker and the engine get of a virtual request is what they would have read of its body."""

import random

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.http.completions import parse_call
from infscale.sim.load.prompts import Piece, Pieces, Prompts
from infscale.sim.load.virtual_request import VirtualRequest
from picker.parsing.body import parse_body
from picker.parsing.table import Route
from picker.request import ParsedBody

ROLES = ("system", "user", "assistant")
ROUTES = {"chat_completions": Route("chat_completions"), "completions": Route("completions")}

keys, tokens = st.integers(0, 30), st.integers(1, 700)
plain = st.lists(st.builds(Piece, st.just(""), keys, tokens), min_size=1, max_size=6)
chats = st.lists(st.builds(Piece, st.sampled_from(ROLES), keys, tokens), min_size=1, max_size=6)
pieces_of_requests = st.lists((plain | chats).map(tuple), min_size=1, max_size=6)


def virtual(pieces: Pieces, prompts: Prompts, limit: int | None = 7, lora: str | None = None) -> VirtualRequest:
    return VirtualRequest(0, 0.0, pieces, 7, lora or "model", lora, limit, prompts=prompts)


@given(pieces_of_requests, st.none() | st.just(7))
def test_the_picker_s_parser_reads_the_same_of_the_body(all_pieces: list[Pieces], limit: int | None) -> None:
    made = Prompts(random.Random(1))
    for pieces in all_pieces:
        request = virtual(pieces, made, limit)
        assert parse_body(ROUTES[request.api], request.body()) == ParsedBody(
            request.api, "model", request.prompt(), request.prompt_tokens, limit, has_model=True, needs_model=True
        )


@given(pieces_of_requests, st.sampled_from([None, "lora-a"]), st.sampled_from([1, 16, 128]))
def test_the_simulated_server_reads_the_same_of_the_body(
    all_pieces: list[Pieces], lora: str | None, block_tokens: int
) -> None:
    made = Prompts(random.Random(1))
    for pieces in all_pieces:
        request = virtual(pieces, made, lora=lora)
        call = parse_call(request.body(), chat=request.api == "chat_completions")
        assert call.prompt_tokens == request.engine_prompt_tokens
        assert call.output_tokens(99) == request.output_tokens
        assert request.block_hashes(block_tokens) == call.block_hashes(block_tokens, lora or "")

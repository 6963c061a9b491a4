"""Virtual requests are what the picker's parser gives for the bodies that a client would send."""

import random

import pytest

from infscale.sim.load.prompts import Piece, Prompts
from infscale.sim.load.virtual_request import VirtualRequest
from infscale.simulate.parsed_requests import inference_request, parsed_body
from picker.parsing import ParserTable, parse_body
from picker.parsing.table import DEFAULT_TYPES
from picker.request import Headers

CHAT = (Piece("system", 1, 300), Piece("user", 2, 17), Piece("assistant", 3, 40), Piece("user", 4, 9))
PLAIN = (Piece("", 1, 512), Piece("", 5, 100))


@pytest.mark.parametrize("pieces", [CHAT, PLAIN], ids=["chat", "plain"])
@pytest.mark.parametrize("limit", [None, 120])
def test_it_is_what_the_parser_reads(pieces: tuple[Piece, ...], limit: int | None) -> None:
    request = VirtualRequest(0, 0.0, pieces, 120, "llama", max_output_tokens=limit, prompts=Prompts(random.Random(1)))
    route = ParserTable.of(DEFAULT_TYPES).route(request.path)
    assert route is not None
    assert parsed_body(request) == parse_body(route, request.body())
    asked = inference_request(request, 7, Headers())
    assert (asked.path, asked.body) == (request.path, parsed_body(request))

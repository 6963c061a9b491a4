"""A body read in steps says what it says at once, and only what is short is read without any."""

import gzip

import pytest

from picker.parsing import DEFAULT_PARSERS, Reading, parse_body
from picker.parsing.table import Route

LARGE_BYTES = 10_000
PATH, OPAQUE = "/v1/completions", "/v1/audio/transcriptions"


def route(path: str) -> Route:
    found = DEFAULT_PARSERS.route(path)
    assert found is not None
    return found


def prompt(size: int) -> bytes:
    return b'{"model":"m","prompt":"' + b"word " * (size // 5) + b'"}'


@pytest.mark.parametrize(
    ("size", "encoding", "least", "most"),
    [
        pytest.param(1_000, None, 0, 0, id="short"),
        pytest.param(1_000, "gzip", 0, 0, id="short, encoded"),
        pytest.param(1_000, "gzip, gzip", 0, 0, id="short, encoded twice"),
        pytest.param(50_000, None, 1, 1, id="long"),
        pytest.param(50_000, "gzip", 1, 3, id="long, and short as it came"),
        pytest.param(3_000_000, "gzip", 3, 30, id="in pieces"),
    ],
)
def test_short_bodies_are_read_at_once_and_others_in_steps(
    size: int, encoding: str | None, least: int, most: int
) -> None:
    body = prompt(size)
    sent = body
    for _ in (encoding or "").split(",") if encoding else ():
        sent = gzip.compress(sent)
    reading = Reading(route(PATH), sent, encoding, 1 << 25, LARGE_BYTES)
    assert least <= len(list(reading.steps())) <= most
    assert reading.plain == (body if encoding else None)
    whole = parse_body(route(PATH), body)
    assert (reading.parsed.model, reading.parsed.has_model) == ("m", True)
    assert abs(reading.parsed.prompt_tokens - whole.prompt_tokens) < 10
    assert (reading.model_span is None) == (size < 1 << 20)


def test_what_is_not_read_is_not_decoded_either() -> None:
    reading = Reading(route(OPAQUE), b"\xff" * 50_000, "br", 1 << 25, LARGE_BYTES)
    assert len(list(reading.steps())) <= 1
    assert (reading.parsed.api, reading.plain) == ("opaque", None)

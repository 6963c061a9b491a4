"""Outlines say of a body what the body says, in short, and are themselves never long to decode."""

import itertools
import random
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.errors import RequestError
from picker.parsing import DEFAULT_PARSERS, parse_body, with_model
from picker.parsing.framed import parse_outline
from picker.parsing.outline import KEPT_BYTES, KEPT_NUMBERS, MOST_MARKS, Outline, outlined
from picker.parsing.table import Route
from picker.request import ParsedBody

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MIB = 1 << 20


def route(path: str) -> Route:
    found = DEFAULT_PARSERS.route(path)
    assert found is not None
    return found


def outline_of(body: bytes) -> Outline:
    outline = Outline(body)
    for _ in outline.steps():
        pass
    return outline


def parsed(path: str, body: bytes) -> ParsedBody:
    return parse_outline(route(path), outline_of(body))


def refused(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        outline_of(body)
    return caught.value


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.just("model"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20) | st.just("model"), _JSON, max_size=5), st.booleans())
def test_what_is_short_stays_as_it_is(document: dict[str, Any], indented: bool) -> None:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else 0)
    outline = outline_of(body)
    assert outline.document == body
    assert (outline.text_bytes, outline.numbers) == (0, 0)
    if isinstance(document.get("model"), str):
        assert outline.model_span is not None
        start, end = outline.model_span
        assert orjson.loads(body[start:end]) == document["model"]
        assert orjson.loads(with_model(body, "x", named=True, span=outline.model_span)) == document | {"model": "x"}


@settings(max_examples=60, deadline=None)
@given(
    unit=st.text(min_size=1, max_size=5) | st.sampled_from(["\U0001f600", "ä", "\\", '"', '\\"', "\ud800", "a\n"]),
    extra=st.integers(0, 20),
    ascii_only=st.booleans(),
    before=st.integers(0, 3),
)
def test_long_texts_are_cut_within_no_character_and_no_escape(
    unit: str, extra: int, ascii_only: bool, before: int
) -> None:
    import json

    text = "x" * extra + unit * (2 * KEPT_BYTES // len(json.dumps(unit)))
    if not ascii_only:
        text = text.encode("utf-8", "replace").decode()
    document = {"model": "m", "user": "y" * before, "prompt": text, "max_tokens": 7}
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    if ascii_only and "\ud800" in text:
        # No decoder takes half a character.
        return
    outline = outline_of(body)
    short = orjson.loads(outline.document)
    kept = short["prompt"][:-32]
    assert text.startswith(kept)
    assert len(outline.document) <= KEPT_BYTES + 200
    found = parse_outline(route(COMPLETIONS), outline)
    whole = parse_body(route(COMPLETIONS), body)
    assert (found.model, found.max_output_tokens, found.has_model) == ("m", 7, True)
    assert whole.prompt.startswith(kept.encode())
    assert len(body) / 4 >= found.prompt_tokens >= whole.prompt_tokens - 10
    assert outline.model_span == (10, 13)


def test_texts_that_differ_where_they_are_left_out_differ() -> None:
    one, other = (parsed(COMPLETIONS, b'{"prompt":"' + b"a" * 3 * MIB + last + b'"}') for last in (b"1", b"2"))
    assert one.prompt != other.prompt
    assert one.prompt[:KEPT_BYTES] == other.prompt[:KEPT_BYTES]
    assert one.prompt_tokens == pytest.approx(3 * MIB / 4, rel=0.01)


def test_equal_images_are_equal_and_others_are_not() -> None:
    def media(data: str) -> tuple[int, ...]:
        parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
        return parsed(CHAT, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]})).media

    image = "A" * (2 * MIB)
    assert media(image + "B") == media(image + "B") != media(image + "C")


def test_of_token_ids_the_first_stay_and_all_are_counted() -> None:
    rng = random.Random(1)
    ids = [rng.randrange(200_000) for _ in range(400_000)]
    for spaced in (False, True):
        body = orjson.dumps({"model": "m", "prompt": ids})
        if spaced:
            body = body.replace(b",", b", ")
        found, whole = parsed(COMPLETIONS, body), parse_body(route(COMPLETIONS), body)
        assert found.prompt_tokens == whole.prompt_tokens == len(ids)
        assert found.prompt[: 4 * 100_000] == whole.prompt[: 4 * 100_000]
        assert len(found.prompt) < len(whole.prompt)


def test_of_short_numbers_no_more_stay_than_of_long_ones() -> None:
    body = orjson.dumps({"model": "m", "prompt": [0] * 3_000_000})
    found = parsed(COMPLETIONS, body)
    assert found.prompt_tokens == 3_000_000
    assert KEPT_NUMBERS <= len(found.prompt) // 4 <= KEPT_NUMBERS + 100


def test_many_lists_of_token_ids_are_counted() -> None:
    ids = [[12345] * 8_000 for _ in range(200)]
    assert parsed(EMBEDDINGS, orjson.dumps({"model": "m", "input": ids})).prompt_tokens == 1_600_000


HOSTILE: dict[str, bytes] = {
    "empty lists": b"[],",
    "lists": b"[1],",
    "objects": b'{"a":1},',
    "texts": b'"ab",',
    "empty texts": b'""',
    "deep": b'{"a":[',
    "nulls": b"null,",
    "quotes": b'"',
    "escaped quotes": b'\\"',
    "backslashes": b"\\",
    "keys of the model": b'"model":"x",',
    "texts of a kilobyte": b'"' + b"x" * 1_000 + b'",',
    "spaces": b" ",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("opening", [b'{"model":"m","prompt":[', b'{"model":"m","prompt":["', b"{"])
def test_no_step_takes_long_whatever_the_body_says(unit: bytes, opening: bytes) -> None:
    body = opening + unit * (4 * MIB // len(unit)) + b"0]}"
    outline, cpu = Outline(body), [time.thread_time()]
    statuses: set[int] = set()
    try:
        cpu.extend(time.thread_time() for _ in outline.steps())
        parse_outline(route(COMPLETIONS), outline)
        assert len(outline.document) <= 16 * MIB
    except RequestError as error:
        statuses.add(error.rejection.status)
    cpu.append(time.thread_time())
    assert statuses <= {400, 413}
    # A decoder takes a second and more for the slowest of these; the bound is a wide one.
    assert max(later - before for before, later in itertools.pairwise(cpu)) < 0.25


def test_too_many_values_are_refused_by_their_number() -> None:
    error = refused(b'{"prompt":[' + b"[]," * MOST_MARKS + b"0]}")
    assert error.rejection.status == 413
    assert "more than 400000" in error.rejection.message


def test_an_unfinished_text_is_no_json() -> None:
    assert refused(b'{"prompt":"' + b"a" * MIB).rejection.status == 400


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        pytest.param(b'{"a":"' + b"x" * MIB + b'"}', True, id="long"),
        pytest.param(b'{"a":"' + b"x" * (MIB // 2) + b'"}', False, id="shorter"),
        pytest.param(b'{"a":[' + b"[]," * (MIB // 4) + b"0]}", True, id="of many values"),
        pytest.param(b'{"a":"' + b"1,2 " * 100_000 + b'"}', False, id="text with commas"),
    ],
)
def test_only_bodies_that_take_long_to_decode_are_outlined(body: bytes, wanted: bool) -> None:
    assert outlined(body) == wanted


@pytest.mark.parametrize(
    "key", [b'"model"', b'"\\u006dodel"', b'"mode\\u006C"', b'"model" \n'], ids=["plain", "escaped", "last", "spaced"]
)
@pytest.mark.parametrize(
    "other", [b'"x":{"model":"no"},', b'"x":["model","no"],', b'"model":"first",', b'"x":"model",']
)
def test_the_model_is_found_where_a_decoder_finds_it(key: bytes, other: bytes) -> None:
    for value in (b'"m"', b"null"):
        body = b"{" + other + b'"prompt":"' + b"p" * MIB + b'",' + key + b":" + value + b',"z":{"model":"no"}}'
        outline = outline_of(body)
        assert outline.model_span is not None
        assert orjson.loads(with_model(body, "t", named=True, span=outline.model_span))["model"] == "t"
        assert body[outline.model_span[0] : outline.model_span[1]] == value

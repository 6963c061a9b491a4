"""Token usage, however the events are cut."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.request import Headers
from picker.response import BodyPlan, Usage, UsageReader, VisibleBody
from picker.response.lines import LineBuffer
from tests.reference_tables import TABLES

EVENTS = Headers((("content-type", b"text/event-stream; charset=utf-8"),))
DOCUMENT = Headers((("content-type", b"application/json"),))


def usage(chunks: list[bytes], headers: Headers = EVENTS) -> Usage:
    body = VisibleBody(BodyPlan.of(headers, None))
    passed = b"".join([body.feed(chunk) for chunk in chunks]) + body.end()
    assert passed == b"".join(chunks)
    return body.usage


def events(chunks: list[bytes]) -> int:
    lines, reader = LineBuffer(), UsageReader()
    for line in [line for chunk in chunks for line in lines.feed(chunk)] + [lines.rest()]:
        reader.line(line)
    return reader.events


@pytest.mark.parametrize("case", TABLES["sse_usage"])
def test_usage_of_a_stream(case: dict[str, Any]) -> None:
    found = usage([chunk.encode() for chunk in case["chunks"]])
    # The reference counts what a stream does not say as 0.
    numbers = [found.prompt_tokens or 0, found.completion_tokens or 0, found.total_tokens or 0]
    assert numbers == (case["usage"] or [0, 0, 0])


@pytest.mark.parametrize("case", TABLES["sse_event_count"])
def test_events_of_a_stream(case: dict[str, Any]) -> None:
    assert events([chunk.encode() for chunk in case["chunks"]]) == case["events"]


STREAM = (
    b'data: {"choices":[{"delta":{"content":"He"}}],"usage":null}\r\n\r\n: ping\n\n'
    b'data:{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":10,"total_tokens":15,'
    b'"prompt_tokens_details":{"cached_tokens":4}}}\n\ndata: [DONE]'
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut_of_a_stream_gives_the_same_usage(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]  # noqa: RUF007 (edges repeat)
    assert usage(chunks) == Usage(5, 10, 15, 4)
    assert events(chunks) == 2


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}', Usage(3, 4, 7)),
        (
            b'{"usage":{"input_tokens":3,"output_tokens":4,"input_tokens_details":{"cached_tokens":2}}}',
            Usage(3, 4, None, 2),
        ),
        (b'{"usage":{"prompt_tokens":-3,"completion_tokens":true,"total_tokens":"7"}}', Usage()),
        (b'{"usage":[1]}', Usage()),
        (b'{"usage":', Usage()),
        (b"[1]", Usage()),
        (b"", Usage()),
    ],
    ids=repr,
)
def test_usage_of_a_document(document: bytes, found: Usage) -> None:
    assert usage([document[:9], document[9:]], DOCUMENT) == found


def test_instalments_add_up() -> None:
    """Anthropic says the prompt's tokens first and the answer's last; the Responses API wraps them."""
    first = b'data: {"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":1}}}\n'
    last = b'data: {"type":"message_delta","usage":{"output_tokens":9}}\n'
    assert usage([first, last]) == Usage(3, 9, None, 1)
    assert usage([b'data: {"response":{"usage":{"input_tokens":3,"output_tokens":4}}}\n']) == Usage(3, 4)


def test_encoded_and_unknown_bodies_pass_unread() -> None:
    document = b'{"usage":{"prompt_tokens":3}}'
    assert usage([document], Headers((*DOCUMENT, ("content-encoding", b"gzip")))) == Usage()
    assert usage([document], Headers((("content-type", b"text/plain"),))) == Usage()


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    lines = LineBuffer(limit_bytes=10)
    assert lines.feed(b"x" * 6) == []
    assert lines.feed(b"x" * 6) == [b"x" * 12]
    assert lines.feed(b"y\nz") == [b"y\n"]
    assert lines.rest() == b"z"


def test_sglang_counts_under_a_name_of_its_own() -> None:
    counts = b'"prompt_tokens": 5, "completion_tokens": %d, "cached_tokens": 4'
    running = b'data: {"text": "He", "meta_info": {"finish_reason": null, ' + counts % 1 + b"}}\n\n"
    ended = b'data: {"text": "Hello", "meta_info": {"finish_reason": {"type": "stop"}, ' + counts % 2 + b"}}\n\n"
    assert usage([running]) == Usage()
    assert usage([running, ended, b"data: [DONE]\n\n"]) == Usage(5, 2, None, 4)
    assert usage([ended.removeprefix(b"data: ").strip()], DOCUMENT) == Usage(5, 2, None, 4)


def test_an_event_whose_line_has_no_end_does_not_hide_the_next() -> None:
    body = VisibleBody(BodyPlan("events"))
    for chunk in (b"data: {}", b'data: {"usage": {"prompt_tokens": 7}}\ndata: [DONE]', b""):
        assert body.feed(chunk) == chunk
    body.end()
    assert body.usage.prompt_tokens == 7

"""Token usage, however the events are cut."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.framing.line_buffer import LineBuffer
from picker.request import Headers
from picker.response import BodyPlan, Usage, VisibleBody
from picker.response.usage import UsageReader
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
        (b'{"usage":{"prompt_tokens":-3,"completion_tokens":true,"total_tokens":"seven"}}', Usage()),
        (b'{"usage":[1]}', Usage()),
        (b'{"usage":', Usage()),
        (b"[1]", Usage()),
        (b"", Usage()),
    ],
    ids=repr,
)
def test_usage_of_a_document(document: bytes, found: Usage) -> None:
    assert usage([document[:9], document[9:]], DOCUMENT) == found


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("2000", 2000), ("2000.0", 2000), ('"2000"', 2000), ('"2000.0"', 2000), ('" 2000 "', 2000), ('"2000."', 2000),
        ("2e3", 2000), ("0", 0), ("-0.0", 0), (f"{1 << 24}", 1 << 24),
        ("2000.5", None), ('"2000.5"', None), ("-1", None), ('"-1"', None), ("true", None), ("null", None),
        ("[]", None), ('""', None), ('"2e3"', None), ('"٢"', None), ("1e300", None), (f"{(1 << 24) + 1}", None),
        ('"99999999999"', None), ("9" * 400, None), (f'"{"9" * 5000}"', None), ('"NaN"', None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shown", ["document", "events"])
def test_a_count_is_read_however_it_is_written(written: str, count: int | None, shown: str) -> None:
    body = f'{{"usage":{{"prompt_tokens":5,"completion_tokens":{written}}}}}'.encode()
    if shown == "document":
        assert usage([body], DOCUMENT) in (Usage(5, count), Usage())
    else:
        assert usage([b"data: ", body, b"\n\n"]) in (Usage(5, count), Usage())
    if count is not None:
        assert usage([body], DOCUMENT) == Usage(5, count)


SPEECH = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":10}}'
PRETTY = b'{\n  "choices": [],\n  "usage": {\n    "prompt_tokens": 5,\n    "completion_tokens": 10\n  }\n}'


def as_event(text: bytes, end: bytes) -> bytes:
    """An event of the server-sent kind: each line of it is data."""
    return b"".join(b"data: " + line + end for line in text.split(b"\n")) + end


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("text", [SPEECH, PRETTY], ids=["one line", "several lines"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b"", id="alone"),
        pytest.param(b"\xef\xbb\xbf", b"", id="behind a byte order mark"),
        pytest.param(b": a comment\n\nevent: x\nid: 7\nretry: 5\n", b"", id="behind other fields"),
        pytest.param(b'data: {"choices":[{"delta":{}}],"usage":null}\n\n', b"data: [DONE]\n\n", id="last"),
    ],
)
def test_an_event_is_read_however_its_lines_are_ended(before: bytes, after: bytes, text: bytes, end: bytes) -> None:
    body = before.replace(b"\n", end) + as_event(text, end) + after.replace(b"\n", end)
    for size in (1, 7, 50, len(body)):
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert usage(chunks) == Usage(5, 10)


def test_an_event_without_an_end_is_read() -> None:
    assert usage([as_event(PRETTY, b"\n").rstrip()]) == Usage(5, 10)


def test_a_null_in_a_choice_hides_no_usage() -> None:
    assert usage(
        [b'data: {"choices":[{"usage":null}],"usage":{"prompt_tokens":5,"completion_tokens":10}}\n\n']
    ) == Usage(5, 10)


def test_an_event_of_lines_without_end_is_not_kept() -> None:
    body = VisibleBody(BodyPlan.of(EVENTS, None))
    line = b"data: " + b"x" * 1000 + b"\n"
    reader = UsageReader()
    for _ in range(5_000):
        assert body.feed(line) == line
        reader.line(line)
    reader.line(b"\n")
    assert not reader.within_event


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


USAGE = b'"usage":{"prompt_tokens":7,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}'


@pytest.mark.parametrize(
    ("document", "found"),
    [
        pytest.param(b'{"data":[' + b"0.125," * 100_000 + b"0]," + USAGE + b"}", Usage(7, None, 7, 2), id="behind"),
        pytest.param(b"{" + USAGE + b',"data":[' + b"[]," * 200_000 + b"0]}", Usage(7, None, 7, 2), id="before"),
        pytest.param(
            b'{"text":"' + b"a" * 300_000 + rb' \"usage\":{\"prompt_tokens\":9} ",' + USAGE + b"}",
            Usage(7, None, 7, 2),
            id="beside a text that says usage",
        ),
        pytest.param(
            b'{"text":"' + b"a" * 300_000 + rb' \"usage\":{\"prompt_tokens\":9} "}', Usage(), id="in a text alone"
        ),
        pytest.param(
            b'{"text":"' + b"a" * 300_000 + b'","meta_info":{"id":"x","prompt_tokens":3,"completion_tokens":4}}',
            Usage(3, 4),
            id="SGLang",
        ),
        pytest.param(b'{"data":' + b"[" * 300_000 + b'"usage":{' * 10_000, Usage(), id="no JSON"),
        pytest.param(b'{"usage":{"a":{"b":{}}},"x":"' + b"x" * 300_000 + b'"}', Usage(), id="too deep"),
    ],
)
@pytest.mark.parametrize("event", [False, True], ids=["document", "event"])
def test_of_a_large_document_the_usage_alone_is_decoded(document: bytes, found: Usage, event: bool) -> None:
    if event:
        assert usage([b"data: " + document + b"\n\n"]) == found
    else:
        assert usage([document], DOCUMENT) == found

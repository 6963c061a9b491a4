"""Token usage in gRPC answers, however the messages are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.request import Framing, Headers, ParsedBody
from picker.response import BodyPlan, Usage, VisibleBody
from tests.picker.parsing.test_framed import field, framed

GRPC = Headers((("content-type", b"application/grpc+proto"),))
UNKNOWN = Usage()


def chunk(prompt: int, completion: int, cached: int = 0, index: int = 0) -> bytes:
    return framed(field(1, field(1, b"\x07\x08") + counts(2, prompt, completion, cached) + field(7, index)))


def complete(prompt: int, completion: int, cached: int = 0, index: int = 0) -> bytes:
    return framed(field(2, field(2, b"stop") + counts(3, prompt, completion, cached) + field(8, index)))


def counts(first: int, *numbers: int) -> bytes:
    return b"".join(field(first + place, number) for place, number in enumerate(numbers))


def wrapped(content: bytes) -> bytes:
    return framed(field(1, b"application/json") + field(2, content))


def usage(chunks: list[bytes], framing: Framing | None = "vllm", api: str = "completions") -> Usage:
    request = ParsedBody("embeddings" if api == "embeddings" else "completions", "", b"", 0, framing=framing)
    body = VisibleBody(BodyPlan.of(GRPC, None, True, request))
    # Also where documents are held until their end, messages pass on as they come.
    passed = [body.feed(chunk) for chunk in chunks] + [body.end()]
    assert passed == ([*chunks, b""] if framing else [*[b""] * len(chunks), b"".join(chunks)])
    return body.usage


EVENT = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}\n\n'


@pytest.mark.parametrize(
    ("framing", "api", "chunks", "expected"),
    [
        pytest.param("vllm", "completions", [complete(7, 10, 3)], Usage(7, 10, 17, 3), id="complete"),
        pytest.param(
            "vllm", "completions", [chunk(7, 1), chunk(0, 0), complete(7, 3)], Usage(7, 3, 10, 0), id="stream"
        ),
        pytest.param("vllm", "completions", [chunk(7, 2), chunk(7, 4)], Usage(7, 4, 11, 0), id="cut short"),
        pytest.param(
            "vllm",
            "completions",
            [chunk(7, 2), chunk(7, 3, index=1), complete(7, 5), complete(7, 6, index=1)],
            Usage(7, 11, 18, 0),
            id="two answers",
        ),
        pytest.param("vllm", "completions", [chunk(0, 0)], UNKNOWN, id="counts nothing"),
        pytest.param("vllm", "completions", [framed(b"\xff\xff")], UNKNOWN, id="no message"),
        pytest.param("vllm", "completions", [framed(complete(7, 10)[5:], 1)], UNKNOWN, id="compressed"),
        pytest.param(
            "vllm", "completions", [framed(b"\xff", 1), complete(7, 10)], Usage(7, 10, 17, 0), id="compressed first"
        ),
        pytest.param(
            "vllm", "embeddings", [framed(field(1, b"\0" * 16) + field(2, 12))], Usage(12, 0, 12), id="embeddings"
        ),
        pytest.param(
            "vertex", "completions", [wrapped(b'{"usage":{"prompt_tokens":5}}')], Usage(5), id="vertex, a document"
        ),
        pytest.param(
            "vertex",
            "completions",
            [wrapped(b'data: {"choices":[]}\n\n' + EVENT[:20]), wrapped(EVENT[20:])],
            Usage(5, 9, 14),
            id="vertex, events",
        ),
        pytest.param("vertex", "completions", [wrapped(EVENT.rstrip())], Usage(5, 9, 14), id="vertex, no last newline"),
        pytest.param(None, "completions", [complete(7, 10)], UNKNOWN, id="an answer to another kind of request"),
    ],
)
def test_usage_of_an_answer(framing: Framing | None, api: str, chunks: list[bytes], expected: Usage) -> None:
    assert usage(chunks, framing, api) == expected


STREAM = chunk(7, 1) + framed(b"x" * 300, 1) + chunk(7, 2) + framed(b"") + complete(7, 3, 5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_of_a_stream_gives_the_same_usage(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]  # noqa: RUF007 (edges repeat)
    assert usage(chunks) == Usage(7, 3, 10, 5)

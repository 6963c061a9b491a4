"""A response body that passes: what is held of it, and what is passed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.request import Headers
from picker.response import BodyPlan, VisibleBody
from picker.response.visible_body import _LONGEST_DOCUMENT_BYTES  # pyright: ignore[reportPrivateUsage]


def plan(kind: str, *, buffered: bool = False, encoding: str | None = None) -> BodyPlan:
    items = [("content-type", kind.encode())]
    if encoding is not None:
        items.append(("content-encoding", encoding.encode()))
    return BodyPlan.of(Headers(items), None, buffered)


@pytest.mark.parametrize(
    ("kind", "encoding", "read_as"),
    [
        ("text/event-stream; charset=utf-8", None, "events"),
        ("application/json", "identity", "document"),
        ("application/problem+json", None, "document"),
        ("application/json", "gzip", "opaque"),
        ("text/html", None, "opaque"),
        ("application/grpc", None, "opaque"),
    ],
)
def test_headers_decide_how_a_body_is_read(kind: str, encoding: str | None, read_as: str) -> None:
    made = plan(kind, encoding=encoding)
    assert (made.kind, made.encoded) == (read_as, encoding == "gzip")


@given(st.sampled_from(["text/event-stream", "application/json", "text/html"]), st.lists(st.binary(max_size=20)))
def test_what_comes_is_what_passes(kind: str, chunks: list[bytes]) -> None:
    body = VisibleBody(plan(kind))
    assert b"".join([body.feed(each) for each in chunks]) + body.end() == b"".join(chunks)
    assert body.held_bytes == 0


def test_a_buffered_body_passes_at_its_end() -> None:
    body = VisibleBody(plan("text/html", buffered=True))
    assert [body.feed(b"one"), body.feed(b"two")] == [b"", b""]
    assert body.held_bytes == 6
    assert (body.end(), body.held_bytes) == (b"onetwo", 0)


def test_of_a_document_that_is_too_long_nothing_is_held() -> None:
    body = VisibleBody(plan("application/json"))
    body.feed(b"[" + b" " * (_LONGEST_DOCUMENT_BYTES - 1))
    assert body.held_bytes == _LONGEST_DOCUMENT_BYTES
    body.feed(b"]")
    assert body.held_bytes == 0
    assert body.usage.total_tokens is None

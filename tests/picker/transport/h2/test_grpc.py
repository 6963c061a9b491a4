"""What is refused of gRPC calls, and what is one."""

import pytest

from infscale.framing.length_prefixed import Messages
from picker.transport.h2.grpc import BadMessage, method_of, refuse


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"\1\0\0\0\1x", "UNIMPLEMENTED"), (b"\0\0\0\1\0", "RESOURCE_EXHAUSTED")],
    ids=["compressed", "too large"],
)
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_messages_that_are_not_taken_are_refused_by_their_prefix(data: bytes, status: str, pieces: int) -> None:
    """Before they have come whole: the rest is not waited for."""
    reader, size = Messages(200, refuse), -(-len(data) // pieces)

    def feed() -> None:
        for place in range(0, len(data), size):
            reader.feed(data[place : place + size])

    with pytest.raises(BadMessage) as caught:
        feed()
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("content_type", "method", "expected"),
    [
        (b"application/grpc", b"POST", "/a/B"),
        (b"application/grpc+proto", b"POST", "/a/B"),
        (b"application/grpc;x=y", b"POST", "/a/B"),
        (b"application/grpc-web", b"POST", None),
        (b"application/grpc+json", b"POST", None),
        (b"text/plain", b"POST", None),
        (b"application/grpc", b"GET", None),
    ],
)
def test_a_grpc_call_is_told_from_other_requests(content_type: bytes, method: bytes, expected: str | None) -> None:
    fields = ((b":method", method), (b":path", b"/a/B"), (b"content-type", content_type))
    assert method_of(fields) == expected

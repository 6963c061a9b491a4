"""Messages with their length in front come out whole, however the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.framing.length_prefixed import HEAD_BYTES, Messages, framed


def compressed(message: bytes) -> bytes:
    return b"\1" + framed(message)[1:]


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=400)), max_size=8), st.lists(st.integers(1, 50), max_size=60)
)
def test_messages_come_out_whole_and_in_order_without_those_passed_over(
    messages: list[tuple[bool, bytes]], cuts: list[int]
) -> None:
    data = b"".join(compressed(each) if flag else framed(each) for flag, each in messages)
    found: list[bytes] = []
    reader = Messages(300)
    for size in cuts:
        found += reader.feed(data[:size])
        data = data[size:]
    found += reader.feed(data)
    assert found == [each for flag, each in messages if not flag and len(each) <= 300]
    assert reader.whole
    assert reader.held_bytes == 0


def test_a_message_that_is_passed_over_is_not_kept() -> None:
    reader, long = Messages(10), framed(b"y" * 1000)
    for part in (long[:7], long[7:500]):
        assert reader.feed(part) == []
        assert reader.held_bytes == 0
        assert not reader.whole
    assert reader.feed(long[500:] + framed(b"next")) == [b"next"]


@pytest.mark.parametrize(("data", "expected"), [(compressed(b"x"), True), (framed(bytes(201)), False)])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_refused_message_is_heard_of_by_its_head(data: bytes, expected: bool, size: int) -> None:
    """Before it has come whole: the rest of it is not waited for."""
    heard: list[tuple[bool, int]] = []
    reader = Messages(200, lambda is_compressed, max_bytes: heard.append((is_compressed, max_bytes)))
    for place in range(0, HEAD_BYTES, size):
        reader.feed(data[place : place + size])
    assert heard == [(expected, 200)]


def test_what_is_cleared_is_forgotten_with_what_was_to_come() -> None:
    reader = Messages(100)
    reader.feed(framed(b"begun")[:-2])
    assert reader.held_bytes == 3
    reader.clear()
    assert reader.whole
    assert reader.feed(framed(b"next")) == [b"next"]


@given(st.lists(st.binary(max_size=200), max_size=6), st.lists(st.integers(1, 90), max_size=40))
def test_long_messages_that_come_in_pieces_are_not_joined(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(framed(each) for each in messages)
    found: list[bytes] = []
    reader = Messages(300, None, 100)
    for size in (*cuts, len(data)):
        came = reader.feed(data[:size])
        data = data[size:]
        if reader.apart is not None:
            assert reader.apart.size_bytes >= 100
            found.append(reader.apart.take())
            reader.apart = None
        found += came
    assert found == messages

"""Header blocks, with python-hyper's hpack as the peer."""

import contextlib

import hpack
import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st

from picker.transport.h2.errors import ConnectionFault
from picker.transport.h2.grpc import ANSWER, DONE, trailers
from picker.transport.h2.hpack import STATIC, Decoder, huffman_decoded, literal

LIMIT = 1 << 20
NAMES = st.binary(min_size=1, max_size=20) | st.sampled_from([name for name, _ in STATIC])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=12)


def peer_decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


@given(st.lists(FIELDS, max_size=6), st.booleans(), st.integers(0, 4096))
def test_blocks_of_the_peer_are_read_as_meant(
    blocks: list[list[tuple[bytes, bytes]]], huffman: bool, table: int
) -> None:
    """Whatever the size of its table, up to the one it may have."""
    encoder, decoder = hpack.Encoder(), Decoder(LIMIT)
    encoder.header_table_size = table
    for fields in blocks:
        assert list(decoder.decode(encoder.encode(fields, huffman=huffman))) == fields


@given(st.lists(FIELDS, min_size=1, max_size=6), FIELDS)
def test_after_the_table_is_forbidden_blocks_carry_no_state(
    blocks: list[list[tuple[bytes, bytes]]], before: list[tuple[bytes, bytes]]
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(LIMIT)
    decoder.decode(encoder.encode(before))
    decoder.forbid()
    encoder.header_table_size = 0
    for fields in blocks:
        block = encoder.encode(fields)
        assert list(decoder.decode(block)) == list(decoder.decode(block)) == fields


@given(st.binary(max_size=60), st.booleans())
def test_nonsense_is_a_fault_of_the_connection_and_nothing_else(data: bytes, forbidden: bool) -> None:
    decoder = Decoder(LIMIT)
    if forbidden:
        decoder.forbid()
    with contextlib.suppress(ConnectionFault):
        ours = decoder.decode(data)
        assert forbidden or list(ours) == peer_decoded(data)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x80", "an index that is not there"),
        (b"\xbe", "an index that is not there"),
        (b"\x82\x20", "behind a field"),
        (b"\x3f\xe2\x1f", "larger than allowed"),
        (b"\xff\xff\xff\xff\xff\xff", "a number is larger"),
        (b"\xff\x80", "ends within a number"),
        (b"\x00\x05ab", "ends within a string"),
        (b"\x00", "where a string should begin"),
        (b"\x00\x01a\x81\x18", "not padded by ones"),
        (b"\x00\x01a\x84\xff\xff\xff\xff", "end mark"),
    ],
)
def test_what_is_wrong_with_a_block_is_said(block: bytes, why: str) -> None:
    with pytest.raises(ConnectionFault, match=why):
        Decoder(LIMIT).decode(block)


def test_a_list_that_grows_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(ConnectionFault, match="larger than allowed") as caught:
        Decoder(100).decode(b"\x82" * 1000)
    assert caught.value.code is ErrorCodes.ENHANCE_YOUR_CALM


def test_a_table_never_holds_more_than_its_size() -> None:
    """An entry larger than the table empties it; the next index finds nothing."""
    decoder = Decoder(LIMIT)
    decoder.decode(literal_kept(b"small", b"x"))
    assert decoder.decode(b"\xbe") == ((b"small", b"x"),)
    decoder.decode(literal_kept(b"large", b"x" * 5000))
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\xbe")


def literal_kept(name: bytes, value: bytes) -> bytes:
    plain = literal(name, value)
    return bytes((plain[0] | 0x40,)) + plain[1:]


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=300))
def test_what_we_write_is_read_by_the_peer(name: bytes, value: bytes) -> None:
    assert peer_decoded(literal(name, value)) == [(name, value)]


def test_the_blocks_of_answers_say_what_grpc_expects() -> None:
    assert peer_decoded(ANSWER) == [(b":status", b"200"), (b"content-type", b"application/grpc")]
    assert peer_decoded(DONE) == [(b"grpc-status", b"0")]
    assert peer_decoded(trailers("INTERNAL", "50 % ä\n")) == [
        (b"grpc-status", b"13"),
        (b"grpc-message", b"50 %25 %C3%A4%0A"),
    ]


@given(st.binary(max_size=80))
def test_huffman_strings_are_read_as_the_peer_writes_them(text: bytes) -> None:
    encoder = hpack.Encoder()
    block = encoder.encode([(b"x", hpack.NeverIndexedHeaderTuple(b"x", text)[1])], huffman=True)
    assert Decoder(LIMIT).decode(block) == ((b"x", text),)
    assert huffman_decoded(b"") == b""

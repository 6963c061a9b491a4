"""The quick reader against protobuf's own: where it reads a message at all, it reads the same."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from infscale.framing.pieces import Pieces
from picker.errors import WireError
from picker.ext_proc import wire_codec as wire
from picker.ext_proc.messages import Event, Incoming, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from picker.ext_proc.wire_reading import read_event
from picker.proto import ext_proc_pb2 as pb

KEYS = st.sampled_from([":path", "Content-Type", "x-request-id", "k" * 200, "naïve"]) | st.text(min_size=1, max_size=12)
VALUES = st.sampled_from([b"", b"/v1/completions", b"\xff", b"v" * 127, b"v" * 128, b"v" * 20_000]) | st.binary()
SIZES = st.sampled_from([0, 1, 126, 127, 128, 16_383, 16_384, 70_000])
SIDES = st.sampled_from(["request", "response"])


@st.composite
def headers(draw: st.DrawFn) -> pb.ProcessingRequest:
    fields = [pb.HeaderValue(key=key, raw_value=value) for key, value in draw(st.lists(st.tuples(KEYS, VALUES)))]
    written = pb.HttpHeaders(headers=pb.HeaderMap(headers=fields), end_of_stream=draw(st.booleans()))
    if draw(SIDES) == "request":
        return pb.ProcessingRequest(request_headers=written)
    return pb.ProcessingRequest(response_headers=written)


@st.composite
def bodies(draw: st.DrawFn) -> pb.ProcessingRequest:
    written = pb.HttpBody(body=bytes(draw(SIZES)), end_of_stream=draw(st.booleans()))
    if draw(SIDES) == "request":
        return pb.ProcessingRequest(request_body=written)
    return pb.ProcessingRequest(response_body=written)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    message = draw(headers() | bodies())
    if draw(st.booleans()):
        message.metadata_context.filter_metadata["envoy.lb"].update(
            {"x-gateway-destination-endpoint-served": draw(st.sampled_from(["10.0.0.1:8000", ""]))}
        )
    if draw(st.booleans()):
        message.protocol_config.request_body_mode = draw(
            st.sampled_from([pb.NONE, pb.STREAMED, pb.FULL_DUPLEX_STREAMED, pb.GRPC])
        )
    message.observability_mode = draw(st.booleans())
    return message.SerializeToString()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(messages()))
    for place in draw(st.lists(st.integers(0, min(len(data), 90) - 1), max_size=4)) if data else []:
        data[place] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=8)))


def content(event: Event) -> tuple[type[Event], object]:
    if isinstance(event, RequestHeaders | ResponseHeaders):
        return type(event), (list(event.headers), event.end_of_stream)
    return type(event), event


def said(incoming: Incoming) -> object:
    return content(event=incoming.event), incoming.subset, incoming.served, incoming.modes, incoming.observability


def slowly(data: bytes) -> object:
    """What the general decoder finds, whatever the quick one thinks of it: an unknown field makes it step aside."""
    return said(wire.decode(b"\xf8\x07\x01" + data))


@given(messages())
def test_what_gateways_write_is_read_quickly(data: bytes) -> None:
    assert read_event(data) is not None
    assert said(wire.decode(data)) == slowly(data)


@given(damaged())
@example(b"\x22\x02\x10\x01\x22\x00")
@example(b"\x22\x02\x10\x01\x12\x00")
@example(b"\x12\x04\x0a\x02\x0a\x00")
@example(b"\x12\x00")
@example(b"\x22\x80\x80\x80\x80\x80\x01")
def test_both_decoders_agree_on_anything(data: bytes) -> None:
    try:
        expected = slowly(data)
    except WireError:
        with pytest.raises(WireError):
            wire.decode(data)
        return
    assert said(wire.decode(data)) == expected


@given(messages() | damaged(), st.lists(st.integers(1, 30_000), max_size=6), st.integers(1, 40))
@example(b"\x22\x05\x0a\x03abc", [], 3)
@example(b"\x22\x07\x0a\x03abc\x10\x01", [], 9)
@example(b"\x22\x07\x0a\x03abc\x0a\x00", [], 9)
@example(b"\x22\x05\x0a\x03abc\x22\x03\x0a\x01x", [], 9)
@example(b"\x22\x05\x0a\x03abc\x12\x00", [], 9)
def test_a_long_body_is_read_apart_as_it_is_whole(data: bytes, cuts: list[int], first: int) -> None:
    kept, at = Pieces(), 0
    for size in (first, *cuts, len(data)):
        kept.add(data[at : at + size])
        at += size
    try:
        expected = said(wire.decode(data))
    except WireError:
        with contextlib.suppress(WireError):
            assert wire.decode_apart(kept) is None
        return
    read = wire.decode_apart(kept)
    if read is not None:
        body, beside = read
        assert isinstance(beside.event, RequestBody)
        whole = RequestBody(b"".join(body), beside.event.end_of_stream)
        assert said(Incoming(whole, beside.subset, beside.served, beside.modes, beside.observability)) == expected


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("size", [1, 127, 128, 70_000])
@pytest.mark.parametrize("first", [12, 100, 65_536])
def test_long_bodies_of_gateways_are_read_apart(ended: bool, size: int, first: int) -> None:
    data = pb.ProcessingRequest(request_body=pb.HttpBody(body=bytes(size), end_of_stream=ended)).SerializeToString()
    kept = Pieces()
    for piece in (data[:first], data[first:]):
        kept.add(piece)
    read = wire.decode_apart(kept)
    assert read is not None
    assert b"".join(read[0]) == bytes(size)
    assert read[1] == Incoming(RequestBody(b"", ended))


def test_what_stands_beside_the_event_is_read_once_per_content() -> None:
    with pytest.raises(DecodeError):
        pb.ProcessingRequest.FromString(b"\x22\x00\x5a\x05")
    with pytest.raises(WireError):
        wire.decode(b"\x22\x00\x5a\x05")
    assert isinstance(wire.decode(b"\x2a\x02\x10\x01").event, ResponseBody)
    assert wire.decode(b"\x22\x03\x0a\x01x").event == RequestBody(b"x")

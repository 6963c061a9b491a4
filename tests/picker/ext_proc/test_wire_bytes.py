"""What is written without protobuf objects is what protobuf would have read and written."""

from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from picker.ext_proc.messages import BodyReply, HeadersReply, Side
from picker.ext_proc.wire_bytes import body_reply, headers_reply, varint
from picker.proto import ext_proc_pb2 as pb

SIDES = st.sampled_from(["request", "response"])
NAMES = st.text(max_size=200)
METADATA = st.none() | st.dictionaries(NAMES, NAMES | st.dictionaries(NAMES, st.floats(allow_nan=False)), max_size=4)


@given(SIDES, st.integers(0, 70_000), st.booleans())
def test_pieces_of_bodies_of_any_size(side: Side, size: int, ended: bool) -> None:
    message = pb.ProcessingResponse.FromString(body_reply(BodyReply(side, b"x" * size, ended)))
    assert message.WhichOneof("response") == f"{side}_body"
    body = message.request_body if side == "request" else message.response_body
    piece = body.response.body_mutation.streamed_response
    assert (piece.body, piece.end_of_stream) == (b"x" * size, ended)
    assert pb.ProcessingResponse.FromString(message.SerializeToString()) == message


@given(SIDES, st.lists(st.tuples(NAMES, st.binary(max_size=300))), st.lists(NAMES), st.booleans(), METADATA)
def test_answers_to_headers(
    side: Side,
    headers: list[tuple[str, bytes]],
    removed: list[str],
    clears: bool,
    metadata: dict[str, str | dict[str, float]] | None,
) -> None:
    reply = HeadersReply(side, tuple(headers), tuple(removed), clears, metadata)
    message = pb.ProcessingResponse.FromString(headers_reply(reply, "envoy.lb"))
    assert message.WhichOneof("response") == f"{side}_headers"
    answer = message.request_headers if side == "request" else message.response_headers
    mutation = answer.response.header_mutation
    assert [(each.header.key, each.header.raw_value) for each in mutation.set_headers] == headers
    assert all(each.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD for each in mutation.set_headers)
    assert list(mutation.remove_headers) == removed
    assert answer.response.clear_route_cache is clears
    assert answer.HasField("response")
    found = message.dynamic_metadata.fields["envoy.lb"].struct_value.fields if metadata else {}
    for key, value in (metadata or {}).items():
        if isinstance(value, str):
            assert found[key].string_value == value
        else:
            numbers = found[key].struct_value.fields
            assert {name: each.number_value for name, each in numbers.items()} == value


@given(st.text(min_size=1, max_size=300), METADATA)
def test_a_revision_of_any_length_stands_beside_other_metadata(
    revision: str, metadata: dict[str, str | dict[str, float]] | None
) -> None:
    reply = HeadersReply("request", (), (), True, metadata, revision)
    message = pb.ProcessingResponse.FromString(headers_reply(reply, "envoy.lb"))
    found = message.dynamic_metadata.fields
    assert set(found) == ({"infscale", "envoy.lb"} if metadata else {"infscale"})
    assert dict(found["infscale"].struct_value.fields) == {"revision": struct_pb2.Value(string_value=revision)}


@given(st.integers(0, 2**40))
def test_numbers(value: int) -> None:
    """As lengths, in front of as many bytes."""
    read, shift = 0, 0
    for byte in varint(value):
        read |= (byte & 0x7F) << shift
        shift += 7
    assert read == value
    assert varint(value)[-1] < 0x80

"""Bytes of the ext_proc protocol to our messages and back; the only module that sees protobuf.

Field meanings are those of Envoy's `external_processor.proto`; `raw_value` is preferred both ways because header values
need not be UTF-8.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

from infscale.framing.pieces import Pieces
from picker.errors import WireError
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    Event,
    HeadersReply,
    ImmediateReply,
    Incoming,
    Modes,
    Reply,
    Reported,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    TrailersReply,
    Unchanged,
)
from picker.ext_proc.wire_bytes import (
    TRAILERS,
    UNCHANGED_BODY,
    body_reply,
    headers_reply,
    immediate_reply,
    numbers_metadata,
)
from picker.ext_proc.wire_reading import read_event, without_request_body
from picker.proto import ext_proc_pb2 as pb
from picker.request import Headers

LB_NAMESPACE: Final = "envoy.lb"
SUBSET_NAMESPACE: Final = "envoy.lb.subset_hint"
SUBSET_KEY: Final = "x-gateway-destination-endpoint-subset"
SERVED_KEY: Final = "x-gateway-destination-endpoint-served"
ATTRIBUTES_NAMESPACE: Final = "envoy.filters.http.ext_proc"
UPSTREAM_ATTRIBUTE: Final = "upstream.address"

# Longer ones carry what differs from request to request.
_REMEMBERED_BYTES: Final = 512
_CONTEXTS_REMEMBERED: Final = 4_096

_Context = tuple[tuple[str, ...] | None, str | None, Modes | None, bool]


def decode(data: bytes) -> Incoming:
    """The message in `data`. Raises WireError when there is none in it."""
    read = read_event(data)
    if read is None:
        return _decode_all(data)
    event, stop = read
    rest = data[stop:]
    beside = _remembered(rest) if len(rest) <= _REMEMBERED_BYTES else _beside(rest)
    if beside is None:
        # A second event behind the first would take its place.
        return _decode_all(data)
    # One by one, for the compiler: it calls with a star by way of lists.
    subset, served, modes, observability = beside
    return Incoming(event, subset, served, modes, observability)


def decode_apart(message: Pieces) -> tuple[list[bytes], Incoming] | None:
    """A long message with the body of a request, which is not joined: its pieces, and what is said beside them.

    None: it is another message, or not as gateways write it, and `decode` has to look.
    """
    found = without_request_body(message)
    if found is None:
        return None
    body, rest = found
    beside = decode(rest)
    event = beside.event
    # One more body behind the first would take its place.
    return None if not isinstance(event, RequestBody) or event.body else (body, beside)


def _decode_all(data: bytes) -> Incoming:
    message = _parsed(data)
    return Incoming(_event(message), *_context(message))


def _parsed(data: bytes) -> pb.ProcessingRequest:
    try:
        return pb.ProcessingRequest.FromString(data)
    except DecodeError as error:
        raise WireError("not a ProcessingRequest of envoy.service.ext_proc.v3") from error


def _beside(rest: bytes) -> _Context | None:
    """What a message says beside its event; None where there is an event in it."""
    message = _parsed(rest)
    return None if message.WhichOneof("request") else _context(message)


# A gateway says the same of every request: its modes, and which endpoint it went to.
_remembered = lru_cache(maxsize=_CONTEXTS_REMEMBERED)(_beside)


def _context(message: pb.ProcessingRequest) -> _Context:
    """The subset hint, the endpoint that served, the body modes, and whether the gateway only observes."""
    metadata = message.metadata_context.filter_metadata if message.HasField("metadata_context") else None
    subset = _subset(metadata[SUBSET_NAMESPACE]) if metadata and SUBSET_NAMESPACE in metadata else None
    served = _served(metadata[LB_NAMESPACE]) if metadata and LB_NAMESPACE in metadata else None
    if served is None and message.attributes:
        served = _upstream(message)
    modes = _modes(message.protocol_config) if message.HasField("protocol_config") else None
    return subset, served, modes, message.observability_mode


def encode(reply: Reply) -> bytes:
    """The bytes of `reply`."""
    match reply:
        case HeadersReply():
            return headers_reply(reply, LB_NAMESPACE)
        case BodyReply():
            return body_reply(reply)
        case Unchanged():
            return UNCHANGED_BODY[reply.side]
        case TrailersReply():
            return TRAILERS[reply.side]
        case Reported():
            # A message is the sum of its fields, so one more stands behind those that are written.
            return encode(reply.reply) + numbers_metadata(reply.numbers)
        case ImmediateReply():
            return immediate_reply(reply)


def _event(message: pb.ProcessingRequest) -> Event:
    kind = message.WhichOneof("request")
    match kind:
        case "request_headers":
            return RequestHeaders(_headers(message.request_headers.headers), message.request_headers.end_of_stream)
        case "request_body":
            return RequestBody(message.request_body.body, message.request_body.end_of_stream)
        case "request_trailers":
            return RequestTrailers()
        case "response_headers":
            return ResponseHeaders(_headers(message.response_headers.headers), message.response_headers.end_of_stream)
        case "response_body":
            return ResponseBody(message.response_body.body, message.response_body.end_of_stream)
        case "response_trailers":
            return ResponseTrailers()
        case _:
            raise WireError("a ProcessingRequest without headers, body or trailers")


def _headers(headers: pb.HeaderMap) -> Headers:
    return Headers(tuple((item.key.lower(), item.raw_value or item.value.encode()) for item in headers.headers))


def _modes(config: pb.ProtocolConfiguration) -> Modes:
    try:
        return Modes(BodyMode(config.request_body_mode), BodyMode(config.response_body_mode))
    except ValueError as error:
        raise WireError("protocol_config names a body mode this picker does not know") from error


def _subset(hints: struct_pb2.Struct) -> tuple[str, ...] | None:
    """The endpoints in a subset hint; one that is neither list nor text matches nothing rather than everything."""
    if SUBSET_KEY not in hints.fields:
        return None
    value = hints.fields[SUBSET_KEY]
    match value.WhichOneof("kind"):
        case "list_value":
            parts: Iterable[str] = (item.string_value for item in value.list_value.values)
        case "string_value":
            parts = value.string_value.split(",")
        case "null_value" | None:
            return None
        case _:
            return ()
    return tuple(stripped for part in parts if (stripped := part.strip()))


def _served(fields: struct_pb2.Struct) -> str | None:
    return (fields.fields[SERVED_KEY].string_value or None) if SERVED_KEY in fields.fields else None


def _upstream(message: pb.ProcessingRequest) -> str | None:
    """The upstream address, where the gateway is configured to send that attribute with the response."""
    found = message.attributes.get(ATTRIBUTES_NAMESPACE)
    return None if found is None else found.fields[UPSTREAM_ATTRIBUTE].string_value or None

"""Requests in gRPC: one protobuf message in a frame, read as far as scheduling needs it and passed on as it is.

What the message says cannot be rewritten: the picker knows only parts of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from xxhash import xxh3_64_intdigest

from infscale.framing.length_prefixed import HEAD_BYTES
from picker.errors import RequestError
from picker.parsing.body import MAX_OUTPUT_TOKENS
from picker.parsing.body import parse_body as parse_document
from picker.parsing.body import parse_outline as parse_document_outline
from picker.parsing.outline import Outline
from picker.parsing.prompt import estimated_tokens
from picker.parsing.table import Route
from picker.proto import vertex_ai_pb2, vllm_engine_pb2
from picker.request import ParsedBody

# Longer than the context of any model.
_MOST_TOKENS: Final = 1 << 24
# Prefixes are looked at no further.
_KEPT_TOKENS: Final = 1 << 17
_MOST_MEDIA: Final = 10_000

MessageT = TypeVar("MessageT", bound=Message)


def parse_body(route: Route, body: bytes) -> ParsedBody:
    """What `body`, sent to a path of `route`, says. Raises RequestError with words for the client."""
    if route.framing is None:
        return parse_document(route, body)
    return _READERS[route.framing, route.api](route, _message(body))


def parse_outline(route: Route, outline: Outline) -> ParsedBody:
    """As `parse_body`, of an outline of the JSON in the body (see `json_of`)."""
    return _within(route, parse_document_outline(route, outline))


def json_of(route: Route, body: bytes) -> bytes | None:
    """The JSON document in a body; None: what is read of it is none. Raises RequestError."""
    if route.framing is None:
        return None if route.api == "opaque" else body
    return _http_body(_message(body)) if _READERS[route.framing, route.api] is _chat else None


def _message(body: bytes) -> bytes:
    """The one message of a request that is no stream."""
    if len(body) < HEAD_BYTES:
        raise RequestError("invalid gRPC request: the body ends within the head of its message")
    if body[0]:
        raise RequestError("invalid gRPC request: compressed messages are not read; send them uncompressed")
    size, there = int.from_bytes(body[1:HEAD_BYTES]), len(body) - HEAD_BYTES
    if size != there:
        raise RequestError(f"invalid gRPC request: expected one message of {size} bytes, got {there} bytes")
    return body[HEAD_BYTES:]


def _decoded(kind: type[MessageT], message: bytes) -> MessageT:
    try:
        return kind.FromString(message)
    except DecodeError:
        # The library's own words quote nothing, but they differ from one of its implementations to another.
        raise RequestError(f"invalid gRPC request: the message is no {kind.DESCRIPTOR.name}") from None


def _generate(route: Route, message: bytes) -> ParsedBody:
    request = _decoded(vllm_engine_pb2.GenerateRequest, message)
    kind = request.WhichOneof("input")
    if kind is None:
        raise RequestError("invalid generate request: must have tokenized or text input")
    text = request.text.encode()
    prompt, tokens = _tokens(request.tokenized) if kind == "tokenized" else (text, estimated_tokens(len(text)))
    params = request.sampling_params
    limited = params.HasField("max_tokens") and params.max_tokens <= MAX_OUTPUT_TOKENS
    return ParsedBody(
        api=route.api,
        model="",
        prompt=prompt,
        prompt_tokens=tokens,
        max_output_tokens=params.max_tokens if limited else None,
        media=_media(request.mm_inputs.mm_hashes),
        framing=route.framing,
    )


def _media(hashes: Sequence[str]) -> tuple[int, ...]:
    if len(hashes) > _MOST_MEDIA:
        raise RequestError(f"mm_inputs must hold at most {_MOST_MEDIA} hashes")
    return tuple(dict.fromkeys(xxh3_64_intdigest(each.encode()) for each in hashes))


def _embed(route: Route, message: bytes) -> ParsedBody:
    request = _decoded(vllm_engine_pb2.EmbedRequest, message)
    if not request.HasField("tokenized"):
        raise RequestError("invalid embed request: must have tokenized input")
    prompt, tokens = _tokens(request.tokenized)
    return ParsedBody(
        api=route.api, model="", prompt=prompt, prompt_tokens=tokens, generates=False, framing=route.framing
    )


def _tokens(tokenized: vllm_engine_pb2.TokenizedInput) -> tuple[bytes, int]:
    """Token ids as the 32-bit little-endian words that they are elsewhere, so that prefixes are shared with HTTP."""
    ids = tokenized.input_ids
    if len(ids) > _MOST_TOKENS:
        raise RequestError(f"input_ids must hold at most {_MOST_TOKENS} token ids")
    return np.array(ids[:_KEPT_TOKENS], dtype="<u4").tobytes(), len(ids)


def _chat(route: Route, message: bytes) -> ParsedBody:
    return _within(route, parse_document(route, _http_body(message)))


def _http_body(message: bytes) -> bytes:
    """Vertex AI wraps the JSON of OpenAI's chat completions."""
    request = _decoded(vertex_ai_pb2.ChatCompletionsRequest, message)
    if not request.HasField("http_body"):
        raise RequestError("invalid chat completions request: must have http_body")
    return request.http_body.data


def _within(route: Route, document: ParsedBody) -> ParsedBody:
    """What a document says that comes in a message, if it does: its model cannot be rewritten there."""
    return document if route.framing is None else replace(document, has_model=False, framing=route.framing)


_READERS: Final[Mapping[tuple[str, str], Callable[[Route, bytes], ParsedBody]]] = {
    ("vllm", "completions"): _generate,
    ("vllm", "embeddings"): _embed,
    ("vertex", "chat_completions"): _chat,
}

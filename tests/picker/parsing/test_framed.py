"""What scheduling learns from gRPC requests, and how hostile ones are refused."""

import random
from collections.abc import Iterable

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from picker.errors import RequestError
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import BodyReply, Incoming, RequestBody, RequestHeaders, Send
from picker.ext_proc.wire_bytes import varint
from picker.parsing import ParserTable, parse_body
from picker.request import Headers, ParsedBody
from tests.fakes.director import FakeDirector

PARSERS = ParserTable.of(("vllmgrpc-parser", "vertexai-parser"))
GENERATE = "/vllm.grpc.engine.VllmEngine/Generate"
EMBED = "/vllm.grpc.engine.VllmEngine/Embed"
CHAT = "/google.cloud.aiplatform.v1beta1.PredictionService/ChatCompletions"


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protobuf message, by the encoding's own rules."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4) + message


def packed(ids: Iterable[int]) -> bytes:
    return field(2, b"".join(map(varint, ids)))


def parsed(path: str, body: bytes) -> ParsedBody:
    route = PARSERS.route(path)
    assert route is not None
    return parse_body(route, body)


def words(ids: list[int]) -> bytes:
    return np.array(ids, dtype="<u4").tobytes()


IMAGES = b"".join(field(6, each) for each in (b"aa", b"bb", b"aa"))
IDS = [1, 127, 128, 151_643, 2**32 - 1]


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [
        pytest.param(
            GENERATE,
            field(1, b"id") + field(3, "grüße".encode()) + field(5, 1),
            ParsedBody("completions", "", "grüße".encode(), 2, framing="vllm"),
            id="text",
        ),
        pytest.param(
            GENERATE,
            field(2, field(1, b"what they stand for") + packed(IDS)),
            ParsedBody("completions", "", words(IDS), 5, framing="vllm"),
            id="token ids",
        ),
        pytest.param(
            GENERATE,
            field(2, b"".join(field(2, each) for each in IDS)),
            ParsedBody("completions", "", words(IDS), 5, framing="vllm"),
            id="token ids, not packed",
        ),
        pytest.param(
            GENERATE,
            field(3, b"text") + field(4, field(3, 40) + field(8, 64)),
            ParsedBody("completions", "", b"text", 1, max_output_tokens=64, framing="vllm"),
            id="a limit on the output",
        ),
        pytest.param(
            GENERATE,
            field(3, b"text") + field(4, field(8, 2**32 - 1)),
            ParsedBody("completions", "", b"text", 1, framing="vllm"),
            id="a limit that is none",
        ),
        pytest.param(
            GENERATE,
            field(3, b"text") + field(7, field(2, b"\x0a\x40" + b"\0" * 64) + IMAGES),
            ParsedBody(
                "completions",
                "",
                b"text",
                1,
                media=(xxh3_64_intdigest(b"aa"), xxh3_64_intdigest(b"bb")),
                framing="vllm",
            ),
            id="images by their hashes",
        ),
        pytest.param(GENERATE, field(3, b""), ParsedBody("completions", "", b"", 0, framing="vllm"), id="no text"),
        pytest.param(
            EMBED,
            field(2, packed(IDS)),
            ParsedBody("embeddings", "", words(IDS), 5, generates=False, framing="vllm"),
            id="embeddings",
        ),
        pytest.param(
            CHAT,
            field(1, b"projects/p")
            + field(
                2,
                field(1, b"application/json")
                + field(
                    2, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 7})
                ),
            ),
            ParsedBody("chat_completions", "m", b"user\nhello", 3, max_output_tokens=7, framing="vertex"),
            id="vertex",
        ),
    ],
)
def test_what_a_message_says(path: str, message: bytes, expected: ParsedBody) -> None:
    assert parsed(path, framed(message)) == expected


def test_of_many_token_ids_the_first_stay_and_all_are_counted() -> None:
    found = parsed(GENERATE, framed(field(2, packed([7] * 300_000))))
    assert found.prompt_tokens == 300_000
    assert found.prompt == words([7] * (1 << 17))


def test_more_images_than_any_engine_takes_are_refused() -> None:
    with pytest.raises(RequestError, match="at most 10000"):
        parsed(GENERATE, framed(field(3, b"text") + field(7, field(6, b"a") * 10_001)))


def test_a_large_document_in_a_message_is_outlined() -> None:
    director = FakeDirector(target_model="other")
    exchange = Exchange(ExchangeSettings(parsers=PARSERS), director, random.Random(1))
    content = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello " * 500_000}]})
    body = framed(field(1, b"projects/p") + field(2, field(2, content)))
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", CHAT.encode()),)))), 0.0)
    exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), 0.0)
    sends: list[Send] = []
    while exchange.pending:
        sends += exchange.go_on(0.0)
    assert b"".join(each.body for each in sends if isinstance(each, BodyReply)) == body
    [request] = director.requests
    assert request.body is not None
    assert (request.body.model, request.body.has_model, request.body.framing) == ("m", False, "vertex")
    assert request.body.prompt_tokens == pytest.approx(750_000, rel=0.01)
    assert len(request.body.prompt) < len(content) // 2


def test_token_ids_share_prefixes_with_those_sent_over_http() -> None:
    http = ParserTable.of(("vllmhttp-parser",)).route("/inference/v1/generate")
    assert http is not None
    over_http = parse_body(http, orjson.dumps({"token_ids": IDS}))
    over_grpc = parsed(GENERATE, framed(field(2, packed(IDS))))
    assert (over_grpc.prompt, over_grpc.prompt_tokens) == (over_http.prompt, over_http.prompt_tokens)


@pytest.mark.parametrize("method", ["HealthCheck", "Abort", "GetModelInfo", "GetServerInfo"])
def test_the_engines_other_methods_are_not_read(method: str) -> None:
    assert parsed(f"/vllm.grpc.engine.VllmEngine/{method}", b"\xff") == ParsedBody("opaque", "", b"", 0)


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        pytest.param(GENERATE, b"", "the body ends within the head of its message", id="empty"),
        pytest.param(GENERATE, b"\0\0\0\0", "the body ends within the head of its message", id="half a head"),
        pytest.param(
            GENERATE, framed(field(3, b"t"), 1), "compressed messages are not read; send them", id="compressed"
        ),
        pytest.param(GENERATE, framed(b"", 7), "compressed messages are not read", id="an unknown flag"),
        pytest.param(
            GENERATE, b"\0\xff\xff\xff\xff\0", "expected one message of 4294967295 bytes, got 1", id="cut off"
        ),
        pytest.param(
            GENERATE, framed(field(3, b"t")) * 2, "expected one message of 3 bytes, got 11", id="two messages"
        ),
        pytest.param(GENERATE, framed(b"\xff" * 20), "the message is no GenerateRequest", id="no protobuf"),
        pytest.param(GENERATE, framed(field(3, b"\xff")), "the message is no GenerateRequest", id="text that is none"),
        pytest.param(GENERATE, framed(b"\x23" * 5000), "the message is no GenerateRequest", id="nested without end"),
        pytest.param(
            GENERATE, framed(field(2, b"\x12\x02\x80\x80")), "the message is no GenerateRequest", id="an id cut off"
        ),
        pytest.param(GENERATE, framed(field(1, b"id")), "must have tokenized or text input", id="no input"),
        pytest.param(EMBED, framed(b"\xff"), "the message is no EmbedRequest", id="embed, no protobuf"),
        pytest.param(
            EMBED, framed(field(1, b"id")), "invalid embed request: must have tokenized input", id="embed, nothing"
        ),
        pytest.param(CHAT, framed(field(1, b"e")), "must have http_body", id="vertex, no body"),
        pytest.param(CHAT, framed(field(2, field(2, b"[]"))), "the body is not a JSON object", id="vertex, no object"),
        pytest.param(CHAT, framed(field(2, b"")), "error unmarshaling request bodyMap", id="vertex, no JSON"),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, body: bytes, problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(path, body)
    assert (caught.value.rejection.status, caught.value.rejection.code) == (400, "BadRequest")
    assert problem in caught.value.rejection.message


def test_more_token_ids_than_any_context_holds_are_refused() -> None:
    message = field(2, field(2, bytes((1 << 24) + 1)))
    with pytest.raises(RequestError, match="at most 16777216 token ids"):
        parsed(GENERATE, framed(message))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([GENERATE, EMBED, CHAT]), st.binary(max_size=64))
@example(GENERATE, field(2, b"\x10\x01"))
def test_any_message_is_read_or_refused(path: str, message: bytes) -> None:
    try:
        found = parsed(path, framed(message))
    except RequestError:
        return
    assert found.prompt_tokens <= len(message)

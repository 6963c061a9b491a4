"""What scheduling learns from request bodies, and how unusable ones are refused."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.errors import RequestError
from picker.parsing import PARSER_TYPES, ParserTable, parse_body, with_model
from picker.parsing.table import DEFAULT_TYPES
from picker.request import ParsedBody

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "conversations": "/v1/conversations",
    "images": "/v1/images/generations",
    "messages": "/v1/messages",
    "vllm": "/inference/v1/generate",
    "sglang": "/generate",
    "opaque": "/v1/audio/transcriptions",
}
PARSERS = ParserTable.of(PARSER_TYPES)


def parsed(kind: str, body: bytes | dict[str, Any]) -> ParsedBody:
    route = PARSERS.route(PATHS[kind])
    assert route is not None
    return parse_body(route, body if isinstance(body, bytes) else orjson.dumps(body))


def refusal(kind: str, body: bytes | dict[str, Any]) -> str:
    with pytest.raises(RequestError) as caught:
        parsed(kind, body)
    assert (caught.value.rejection.status, caught.value.rejection.code) == (400, "BadRequest")
    return caught.value.rejection.message


USER: dict[str, Any] = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("kind", "fields", "prompt"),
    [
        ("chat", {"messages": [{"role": "system", "content": "be brief"}, USER]}, b"system\nbe brief\nuser\nhello"),
        ("chat", {"messages": [USER], "tools": [{"type": "f"}]}, b'[{"type":"f"}]\nuser\nhello'),
        ("chat", {"messages": [{"role": "assistant", "tool_calls": [1]}]}, b"assistant\n\n[1]"),
        ("chat", {"messages": [{"role": "user", "content": [{"text": "a"}]}]}, b'user\n[{"text":"a"}]'),
        ("completions", {"prompt": "hello"}, b"hello"),
        ("completions", {"prompt": ["a", "b"]}, b"a\nb"),
        ("embeddings", {"input": "hello"}, b"hello"),
        ("responses", {"input": "hello", "instructions": "be brief"}, b"be brief\nhello"),
        ("responses", {"input": [USER, {"type": "reasoning"}]}, b'user\nhello\n{"type":"reasoning"}'),
        ("conversations", {"items": [USER]}, b"user\nhello"),
        ("images", {"prompt": "a cat"}, b"a cat"),
        ("messages", {"messages": [USER], "system": "be brief"}, b"be brief\nuser\nhello"),
    ],
)
def test_the_prompt_is_what_engines_share_in_order(kind: str, fields: dict[str, Any], prompt: bytes) -> None:
    body = parsed(kind, {"model": "m", **fields})
    assert body.prompt == prompt
    assert body.prompt_tokens == -(-len(prompt) // 4)
    assert body.model == "m"


PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("kind", "fields", "prompt"),
    [
        pytest.param("embeddings", {"messages": [USER]}, b"user\nhello", id="a conversation to embed"),
        pytest.param("embeddings", {"input": None, "messages": [USER]}, b"user\nhello", id="no input but one"),
        pytest.param(
            "embeddings",
            {"input": [{"text": "a"}, {"image": "x"}]},
            b'{"text":"a"}\n{"image":"x"}',
            id="pairs",
        ),
        pytest.param("embeddings", {"input": [[1], [2]]}, b"\1\0\0\0\2\0\0\0", id="lists of token ids to embed"),
        pytest.param("completions", {"prompt": "a", "prompt_embeds": "x"}, b"a", id="a prompt beside embeddings"),
        pytest.param("completions", {"prompt": ["a", "b"], "n": None, "new": {}}, b"a\nb", id="nulls and new fields"),
        pytest.param("completions", {"prompt": ""}, b"", id="an empty prompt"),
        pytest.param("completions", {"prompt": None, "prompt_embeds": "AAAA"}, b"", id="embeddings instead of null"),
        pytest.param("completions", {"prompt_embeds": ["AAAA", "BBBB"]}, b"", id="embeddings alone"),
        pytest.param("completions", {"prompt": [], "prompt_embeds": ["AAAA"]}, b"", id="beside an empty list"),
        pytest.param("completions", {"prompt": None}, b"", id="null"),
        pytest.param("chat", {"messages": [{"role": "user", "content": None}]}, b"user\n", id="null content"),
        pytest.param("chat", {"messages": [USER], "tools": None, "stop": None}, b"user\nhello", id="null fields"),
        pytest.param(
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]}]},
            b'user\n[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]',
            id="several media",
        ),
        pytest.param("responses", {"input": [], "tools": []}, b"", id="an empty input"),
        pytest.param("responses", {"prompt": {"id": "p"}}, b"", id="a stored prompt"),
        pytest.param("responses", {"input": None, "previous_response_id": "r"}, b"", id="a response to go on from"),
        pytest.param(
            "responses",
            {"input": [{"type": "function_call_output", "output": "3"}, USER]},
            b'{"type":"function_call_output","output":"3"}\nuser\nhello',
            id="items of a response",
        ),
        pytest.param("sglang", {"input_embeds": [[0.1, 0.2]]}, b"", id="embeddings to generate from"),
        pytest.param("sglang", {"text": ["a", "b"], "input_ids": None}, b"a\nb", id="texts to generate from"),
        pytest.param("messages", {"messages": [USER], "system": [{"type": "text", "text": "s"}]}, None, id="parts"),
    ],
)
def test_what_engines_take_is_read_as_far_as_it_can_be(kind: str, fields: dict[str, Any], prompt: bytes | None) -> None:
    body = parsed(kind, {"model": "m", **fields})
    assert body.model == "m"
    if prompt is not None:
        assert (body.prompt, body.prompt_tokens > 0) == (prompt, bool(prompt))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/rerank", "/rerank", "/v2/rerank", "/v1/score", "/score", "/classify", "/pooling", "/tokenize",
        "/detokenize", "/v1/audio/transcriptions", "/v1/audio/speech", "/v2/embed", "/v1/chat/completions/batch",
        "/v1/responses/resp_1/cancel", "/invocations", "/v1/load_lora_adapter",
    ],
)  # fmt: skip
def test_other_paths_of_engines_pass_whatever_their_body_is(path: str) -> None:
    route = ParserTable.of(DEFAULT_TYPES).route(path)
    assert route is not None
    assert parse_body(route, b"\xff anything").api == "opaque"


def test_a_byte_order_mark_is_passed_over() -> None:
    body = b'\xef\xbb\xbf{"model":"m","prompt":"hello"}'
    assert (parsed("completions", body).model, parsed("completions", body).prompt) == ("m", b"hello")
    assert with_model(body, "other", named=True) == body.replace(b'"m"', b'"other"')
    assert orjson.loads(with_model(body.replace(b'"m"', b'"\\u006d"'), "other", named=True)[3:])["model"] == "other"


def test_media_of_a_conversation_to_embed_are_known() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": [PICTURE]}]}
    assert parsed("embeddings", body).media == parsed("chat", body).media != ()


@pytest.mark.parametrize("ids", [[1, 2, 2**32 - 1], [1.0, 2, 4294967295.0], [[1, 2], [4294967295]]])
def test_token_ids_are_counted_exactly(ids: list[Any]) -> None:
    body = parsed("completions", {"model": "m", "prompt": ids})
    assert body.prompt_tokens == 3
    assert body.prompt == np.array([1, 2, 2**32 - 1], dtype="<u4").tobytes()


@pytest.mark.parametrize(
    ("kind", "fields", "prompt", "tokens"),
    [
        ("vllm", {"token_ids": [1, 258]}, b"\x01\0\0\0\x02\x01\0\0", 2),
        ("sglang", {"input_ids": [7]}, b"\x07\0\0\0", 1),
        ("sglang", {"input_ids": [[7], [8]], "text": "unread"}, b"\x07\0\0\0\x08\0\0\0", 2),
        ("sglang", {"text": "hello"}, b"hello", 2),
    ],
)
def test_engines_own_apis_take_token_ids(kind: str, fields: dict[str, Any], prompt: bytes, tokens: int) -> None:
    body = parsed(kind, fields)
    assert (body.prompt, body.prompt_tokens, body.model, body.needs_model) == (prompt, tokens, "", False)
    assert not body.has_model


def test_engines_own_apis_limit_and_salt_under_their_own_names() -> None:
    vllm = parsed("vllm", {"token_ids": [1], "sampling_params": {"max_tokens": 9}, "cache_salt": "a", "model": "m"})
    assert (vllm.max_output_tokens, vllm.cache_salt, vllm.model) == (9, "a", "m")
    sglang = parsed("sglang", {"text": "x", "sampling_params": {"max_new_tokens": 9}, "extra_key": "a"})
    assert (sglang.max_output_tokens, sglang.cache_salt) == (9, "a")
    assert parsed("sglang", {"text": "x", "sampling_params": [{"max_new_tokens": 9}]}).max_output_tokens is None
    assert parsed("vllm", {"token_ids": [1], "max_tokens": 9}).max_output_tokens is None


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("vllm", {}, "invalid generate request: must have non-empty token_ids field"),
        ("vllm", {"token_ids": []}, "invalid generate request: must have non-empty token_ids field"),
        ("vllm", {"token_ids": "hello"}, "token_ids must be a list of token ids"),
        ("vllm", {"token_ids": ["a"]}, "token_ids must be a list of token ids"),
        ("vllm", {"token_ids": [1.5]}, "token_ids must hold token ids that are whole numbers below 2^32"),
        ("sglang", {}, "invalid generate request: must have input_ids or text field"),
        ("sglang", {"input_ids": [-1]}, "input_ids must hold token ids that are whole numbers below 2^32"),
        ("sglang", {"input_ids": []}, "input_ids must be a string or a non-empty list of strings or token ids"),
    ],
)
def test_engines_own_apis_say_what_is_missing(kind: str, fields: dict[str, Any], message: str) -> None:
    assert refusal(kind, fields) == message


def test_an_opaque_body_is_not_read() -> None:
    assert parsed("opaque", b"\xff\x00") == ParsedBody("opaque", "", b"", 0)


@pytest.mark.parametrize(
    ("kind", "fields", "limit"),
    [
        ("chat", {"max_completion_tokens": 5, "max_tokens": 7}, 5),
        ("chat", {"max_tokens": 7}, 7),
        ("chat", {"max_tokens": None}, None),
        ("chat", {"max_tokens": 7.0}, 7),
        ("responses", {"max_output_tokens": 9, "max_tokens": 1}, 9),
        ("embeddings", {"max_tokens": 3}, None),
    ],
)
def test_the_output_limit_has_one_name(kind: str, fields: dict[str, Any], limit: int | None) -> None:
    body = parsed(kind, {"model": "m", "messages": [USER], "input": "x", **fields})
    assert body.max_output_tokens == limit


@pytest.mark.parametrize("fields", [{"model": None}, {"model": ""}], ids=["null", "empty"])
def test_a_missing_model_is_left_to_the_director_which_may_have_a_rewrite(fields: dict[str, object]) -> None:
    body = parsed("completions", {"prompt": "x", **fields})
    assert (body.model, body.needs_model) == ("", True)


@pytest.mark.parametrize(
    "body", [b'{"prompt":"x"}', b'{"model":null,"prompt":"x"}', b'{"prompt":"x","model":""}'], ids=bytes.decode
)
def test_a_rewrite_can_supply_the_missing_model(body: bytes) -> None:
    named = parsed("completions", body).has_model
    assert orjson.loads(with_model(body, "supplied", named=named)) == {"model": "supplied", "prompt": "x"}


@pytest.mark.parametrize(("salt", "kept"), [("s", "s"), (None, ""), (5, "")])
def test_the_salt_is_kept(salt: object, kept: str) -> None:
    assert parsed("chat", {"model": "m", "messages": [USER], "cache_salt": salt}).cache_salt == kept


@pytest.mark.parametrize("limit", ["100", "many", True, -1, 1.5, 2**40, [], 1e300], ids=repr)
def test_a_limit_that_cannot_be_counted_with_is_left_to_the_engine(limit: object) -> None:
    assert parsed("completions", {"model": "m", "prompt": "x", "max_tokens": limit}).max_output_tokens is None


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("completions", {"prompt": "x", "model": 5}, "model must be a string"),
        ("chat", {}, "invalid chat completions request: must have valid messages field"),
        ("chat", {"messages": []}, "invalid chat completions request: must have valid messages field"),
        ("chat", {"messages": ["x"]}, "invalid chat completions request: must have valid messages field"),
        ("completions", {}, "invalid completions request: must have prompt field"),
        ("embeddings", {}, "invalid embeddings request: must have input field"),
        ("responses", {}, "invalid responses request: must have input field"),
        ("responses", {"input": 5}, "invalid responses request: must have input field"),
        ("conversations", {}, "invalid conversations request: must have items field"),
        ("images", {}, "invalid images generations request: must have prompt field"),
        ("completions", {"prompt": []}, "prompt must be a string or a non-empty list of strings or token ids"),
        ("completions", {"prompt": {}}, "prompt must be a string or a non-empty list of strings or token ids"),
        ("completions", {"prompt": ["a", 1]}, "prompt must hold strings only or token ids only"),
        ("completions", {"prompt": [True]}, "prompt must hold strings only or token ids only"),
        ("completions", {"prompt": [[]]}, "prompt must hold strings only or token ids only"),
        ("completions", {"prompt": [1.5]}, "prompt must hold token ids that are whole numbers below 2^32"),
        ("completions", {"prompt": [-1]}, "prompt must hold token ids that are whole numbers below 2^32"),
        ("completions", {"prompt": [2**32]}, "prompt must hold token ids that are whole numbers below 2^32"),
    ],
)
def test_unusable_bodies_are_refused_in_words(kind: str, fields: dict[str, Any], message: str) -> None:
    assert refusal(kind, {"model": "m", **fields}) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model":"\xff"}',
        b'{"model":"\\ud800"}',
        b'{"model":NaN}',
        b'{"a":1e999}',
        b"[" * 100_000,
        b'{"model":' + b"9" * 500 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal("completions", body).startswith("error unmarshaling request bodyMap: ")


def test_nesting_that_decodes_but_does_not_encode_is_refused() -> None:
    content = b"[" * 600 + b"]" * 600
    body = b'{"model":"m","messages":[{"role":"user","content":' + content + b"}]}"
    assert refusal("chat", body) == "error unmarshaling request bodyMap: the body is nested too deeply"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PROMPTS = ["messages", "prompt", "prompt_embeds", "input_embeds", "input", "items"]
FIELDS = ["model", "tools", "system", "instructions", "stream", "max_tokens", *PROMPTS]


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(list(PATHS)), document=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_document_crashes_the_parser(kind: str, document: dict[str, Any]) -> None:
    try:
        body = parsed(kind, document)
    except RequestError:
        return
    assert body.prompt_tokens >= 0
